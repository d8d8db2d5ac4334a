"""A training whose parameters are shared out among the processes."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks import EMAHook, Hook
from mmengine.optim import AmpOptimWrapper, ApexOptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from ...io.files import InputError
from ..sharding import held_mb, shard


@HOOKS.register_module()
class ShardHook(Hook):
    """Share out parameters, gradients and optimizer of a training, before its first step.

    All that reads the weights as a whole comes before: loading, splitting, the start from data, the
    card. Checkpoints are those of a training that is not sharded. In a validation each process
    holds the whole model, since images of several sizes need it at different times. It is a hook of
    ``SomaRunner`` if the config has a ``strategy``.
    """

    priority = 'HIGH'
    _units: Sequence[nn.Module] = ()

    def before_run(self, runner: Runner) -> None:
        """Check that the training can be sharded.

        Raises:
            InputError: If it cannot.
        """
        wrapper = runner.optim_wrapper
        if isinstance(wrapper, AmpOptimWrapper | ApexOptimWrapper):
            raise InputError(
                f"strategy: {type(wrapper).__name__} scales losses, which is not for shards: take "
                "optim_wrapper.type='BFloat16OptimWrapper' (--amp)"
            )
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise InputError('strategy: EMAHook copies the model: take TrainableEMAHook')

    def before_train(self, runner: Runner) -> None:
        """Share out."""
        if not runner.distributed:
            runner.logger.warning('strategy: one process has nothing to share out (--launcher)')
            return
        _ = runner.card  # which has the hash of the base
        wrappers = runner.optim_wrapper
        wrappers = wrappers.values() if isinstance(wrappers, OptimWrapperDict) else [wrappers]
        whole = held_mb(runner.model)
        self._units = shard(runner.model, [wrapper.optimizer for wrapper in wrappers])
        held = ', '.join(f'{size:.1f}' for size in held_mb(runner.model))
        runner.logger.info(
            f'sharded: {len(self._units) - 1} blocks of the backbone and the rest; the processes '
            f'hold {held} MB of {whole[0]:.1f} MB of parameters and buffers'
        )

    def before_val_epoch(self, runner: Runner) -> None:
        """Gather the whole model in each process, until :meth:`after_val_epoch`."""
        for unit in self._units:
            unit.unshard()
        for block in self._units[:-1]:
            block.set_reshard_after_forward(False, recurse=False)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Share it out again."""
        for unit in self._units:
            unit.reshard()
        for block in self._units[:-1]:
            block.set_reshard_after_forward(True, recurse=False)
