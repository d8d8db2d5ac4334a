"""Hooks that have nothing to do outside of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.hooks import EarlyStoppingHook, ProfilerHook
from mmengine.runner import Runner


@contextmanager
def without_training_hooks(runner: Runner) -> Iterator[None]:
    """Leave out those hooks of mmengine that ask for the training, whose data it would build."""
    hooks = runner._hooks
    runner._hooks = [h for h in hooks if not isinstance(h, EarlyStoppingHook | ProfilerHook)]
    try:
        yield
    finally:
        runner._hooks = hooks
