"""One training, from its config to its last checkpoint."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import RUNNERS

from .amp import use_amp
from .hooks.stop import StopHook


def train_config(
    config: Config, stop: StopHook, amp: bool = False, resume: str | None = None
) -> None:
    """Build the runner of a config and train.

    Args:
        config: Changed in place.
        stop: What stops the training; entered around the call.
        amp: Whether to train in mixed precision.
        resume: The checkpoint to go on from; ``'auto'`` for the newest of the work dir, if any.

    Raises:
        InputError: If something is wrong with the config or the checkpoint.
    """
    if amp:
        use_amp(config)
    if resume:
        config.resume = 'auto' if resume == 'auto' else True
        config.load_from = config.get('load_from') if resume == 'auto' else resume
    runner = RUNNERS.build(config)
    runner.register_hook(stop)
    runner.train()
