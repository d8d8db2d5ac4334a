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
    """Tell a sweep each validation; end a training whose best score is worse than the median.

    That is of the trials that have run to their end, at this iteration (optuna's
    ``MedianPruner``), if they are ``after`` or more. ``tools/sweep.py`` gives trainings this hook,
    and a work dir ``trial_NUMBER`` with ``sweep.journal`` beside it; in another one it does
    nothing.
    """

    priority = 'LOW'

    def __init__(self, score: str, after: int) -> None:
        self.score, self.after = score, after

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Report the score; stop if it is bad, in all processes alike."""
        if self.score not in (metrics or {}):
            raise InputError(f'--score {self.score} is none of {", ".join(metrics or {})}')
        stop = [is_main_process() and self._is_worse(metrics[self.score], runner)]
        broadcast_object_list(stop)
        if stop[0]:
            runner.logger.info(f'stopped early: {self.score} is worse than most of the sweep')
            runner.train_loop.stop_training = True

    def _is_worse(self, value: float, runner: Runner) -> bool:
        folder = Path(runner.work_dir).absolute()
        if not (file := folder.with_name('sweep.journal')).exists():
            return False
        import optuna

        journal = optuna.storages.journal.JournalFileBackend(str(file))
        pruner = optuna.pruners.MedianPruner(n_startup_trials=self.after)
        storage = optuna.storages.JournalStorage(journal)
        study = optuna.load_study(study_name='sweep', storage=storage, pruner=pruner)
        for frozen in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            if folder.name == f'trial_{frozen.number}':
                trial = optuna.Trial(study, frozen._trial_id)
                if runner.iter not in frozen.intermediate_values:  # it may be validated again
                    trial.report(value, runner.iter)
                if runner.iter < runner.max_iters and trial.should_prune():
                    trial.set_user_attr('stopped', runner.iter)
                    return True
        return False
