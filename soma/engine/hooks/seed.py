"""Random numbers by the place in the run."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..seeding import seed_samples, seed_step


@HOOKS.register_module()
class SeedHook(Hook):
    """Seed each training step, sample and validation by the seed of the run and its place in it.

    A resumed run thus draws what an uninterrupted one does. It comes before all other hooks, which
    may draw too.
    """

    priority = 'HIGHEST'

    def before_train(self, runner: Runner) -> None:
        """Seed the samples, before the first is loaded."""
        loop = runner.train_loop
        seed_samples(loop.dataloader, runner.seed, runner.rank, lambda: loop.iter)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Seed the coming step."""
        seed_step(runner.seed, runner.rank, runner.iter)

    def before_val_epoch(self, runner: Runner) -> None:
        """Seed the coming validation."""
        seed_step(runner.seed, runner.rank, runner.iter)
