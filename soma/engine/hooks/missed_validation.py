"""What a resumed training has to know of validations: those that were, and the one it missed."""

from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Validate before a resumed training goes on, if the run was stopped before it had done so.

    A checkpoint comes before the validation of its weights. ``AdapterCheckpointHook`` notes in it
    when that is done, and so no validation is left out or done twice. mmengine's
    ``EarlyStoppingHook`` keeps nothing in a checkpoint: it is told the scores of all validations
    before, and stops where an uninterrupted run would have. It is a hook of ``SomaRunner``, after
    all others, which are thus ready.
    """

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Tell of earlier validations; run the one that is due at the iteration to resume from."""
        if runner._resume:
            _tell_scores(runner)
        if runner.val_loop is None or runner.message_hub.get_info('validated', 0) == runner.iter:
            return
        loop = runner.train_loop
        place, last = loop.iter, loop.max_iters
        if isinstance(loop, EpochBasedTrainLoop):
            if loop.iter != loop.epoch * len(loop.dataloader):  # between two validations
                return
            place, last = loop.epoch, loop.max_epochs
        loop._decide_current_val_interval()
        if place >= loop.val_begin and (place % loop.val_interval == 0 or place == last):
            runner.logger.info(f'the validation at iteration {runner.iter} was missed: it is now')
            runner.val_loop.run()


def _tell_scores(runner: Runner) -> None:
    """Give the scores of earlier validations, which the log has, to what stops early."""
    for hook in runner.hooks:
        if isinstance(hook, EarlyStoppingHook):
            history = runner.message_hub.log_scalars.get(f'val/{hook.monitor}')
            for score in history.data[0] if history else ():
                hook.after_val_epoch(runner, {hook.monitor: float(score)})
