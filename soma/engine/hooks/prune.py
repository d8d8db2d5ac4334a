"""A training of a sweep, which ends early if it is worse than the others."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...io.files import InputError


@HOOKS.register_module()
class PruneHook(Hook):
    """Tell a sweep each validation, and end the training when its best score is below the median.

    The median is that of the trials that have ended, at the same iteration (optuna's
    ``MedianPruner``). ``tools/sweep.py`` puts the hook into ``default_hooks``, names the work dir
    ``trial_NUMBER``, and has ``sweep.journal`` beside it. In another work dir it does nothing.

    Args:
        score: Key of what is compared.
        after: How many trials must have ended before one is stopped.
    """

    priority = 'LOW'

    def __init__(self, score: str, after: int) -> None:
        self.score, self.after = score, after

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Report the score, and stop if need be, in all processes alike.

        Raises:
            InputError: If there is no such score.
        """
        if self.score not in (metrics or {}):
            known = ', '.join(metrics or ['none'])
            raise InputError(f'--score {self.score} is none of the scores: {known}')
        stop = [is_main_process() and self._is_worse(metrics[self.score], runner)]
        broadcast_object_list(stop)
        if stop[0]:
            runner.logger.info(f'stopped early: {self.score} is worse than most of the sweep')
            runner.train_loop.stop_training = True

    def _is_worse(self, value: float, runner: Runner) -> bool:
        file = Path(runner.work_dir).absolute().with_name('sweep.journal')
        if not file.exists():
            return False
        import optuna

        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(file))
        )
        pruner = optuna.pruners.MedianPruner(n_startup_trials=self.after)
        study = optuna.load_study(study_name='sweep', storage=storage, pruner=pruner)
        known = {f'trial_{trial.number}': trial for trial in study.trials}
        frozen = known.get(Path(runner.work_dir).name)
        if frozen is None or frozen.state.is_finished():
            return False
        trial = optuna.Trial(study, frozen._trial_id)
        if runner.iter not in frozen.intermediate_values:  # it may be validated again
            trial.report(value, runner.iter)
        if runner.iter >= runner.max_iters or not trial.should_prune():
            return False
        trial.set_user_attr('stopped', runner.iter)
        return True
