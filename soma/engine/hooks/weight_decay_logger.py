"""Log the weight decay."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class WeightDecayLoggerHook(Hook):
    """Write the weight decay of each optimizer group to the log and to TensorBoard.

    A single group is logged as ``weight_decay``, several as ``weight_decay_<group>``.
    """

    # Before LoggerHook, which reads what the others wrote.
    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Record the values that the coming step uses."""
        # The wrapper's own list ends with a group of mmengine's that holds no parameter.
        groups = runner.optim_wrapper.optimizer.param_groups
        for index, group in enumerate(groups):
            name = 'weight_decay' if len(groups) == 1 else f'weight_decay_{index}'
            runner.message_hub.update_scalar(f'train/{name}', group['weight_decay'])
