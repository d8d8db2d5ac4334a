"""The moving average of the trainable parameters."""

from __future__ import annotations

import logging

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from ...adapters.sharded import gather, local, share_like
from ...io.checkpoint_files import CheckpointError
from ...models.build import plain_model


@HOOKS.register_module()
class TrainableEMAHook(Hook):
    """Keep an exponential moving average of the trainable parameters, and no copy of the others.

    The average is that of mmengine's ``EMAHook``, bit for bit on a CPU, and so are the files: the
    average is validated and is the ``state_dict`` of a checkpoint, ``ema_state_dict`` is what the
    optimizer works on. Training resumes from the files of either hook.

    Args:
        momentum: Weight of the new values, ``average += momentum * (new - average)``.
        begin_iter: Iterations before which the average is the newest values.
        interval: Number of the optimizer's steps between two updates.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, momentum: float = 0.0002, begin_iter: int = 0, interval: int = 1) -> None:
        if not 0 < momentum < 1:
            raise ValueError(f'momentum must be between 0 and 1, got {momentum}')
        if begin_iter < 0 or interval < 1:
            raise ValueError(f'begin_iter={begin_iter} must be >= 0, interval={interval} >= 1')
        self.momentum, self.begin_iter, self.interval = momentum, begin_iter, interval
        self.steps = 0
        self.average: dict[str, Tensor] = {}

    def before_train(self, runner: Runner) -> None:
        """Start with the present values, unless the average was resumed."""
        self._trainable = _trainable(runner)
        average = self.average or {n: value.clone() for n, value in self._trainable.items()}
        self.average = {n: share_like(average[n], value) for n, value in self._trainable.items()}

    @torch.no_grad()
    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        """Update the average, if the optimizer has made a step (``accumulative_counts``)."""
        if not runner.optim_wrapper.should_update():
            return
        average, new = self._held()
        started = runner.iter + 1 >= self.begin_iter
        if not (started and self.steps):
            torch._foreach_copy_(average, new)
        elif self.steps % self.interval == 0:
            torch._foreach_lerp_(average, new, self.momentum)
        self.steps += started

    def before_val(self, runner: Runner) -> None:
        """Put the average into the model, before others read it (``ShardHook``)."""
        self._swap()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Put back what the optimizer works on."""
        self._swap()

    before_test, after_test_epoch = before_val, after_val_epoch

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write the average as the state of the model, beside what the optimizer works on."""
        state = checkpoint['state_dict']
        newest = {f'module.{name}': state[name] for name in self.average}
        checkpoint['ema_state_dict'] = {**newest, 'steps': torch.tensor(self.steps)}
        for name, value in gather(self.average).items():  # empty but in the main process
            state[name] = value.cpu().view(state[name].shape) if value.numel() else value

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the average from a checkpoint to resume from.

        Raises:
            CheckpointError: If the average there is of another model.
        """
        if not runner._resume:
            return
        if 'ema_state_dict' not in checkpoint:
            print_log(
                'The checkpoint has no average: it starts with the present values.',
                logger='current',
                level=logging.WARNING,
            )
            return
        state, newest = checkpoint['state_dict'], checkpoint['ema_state_dict']
        trainable = _trainable(runner)
        missing = [n for n in trainable if n not in state or f'module.{n}' not in newest]
        if missing:
            raise CheckpointError(f'the average in the checkpoint lacks {missing[:3]}')
        self.steps = int(newest['steps'])
        self.average = {name: state[name].to(value) for name, value in trainable.items()}
        state.update({name: newest[f'module.{name}'] for name in trainable})

    @torch.no_grad()
    def _swap(self) -> None:
        if not self.average:  # no training in this run
            return
        average, values = self._held()
        before = [value.clone() for value in values]
        torch._foreach_copy_(values, average)
        torch._foreach_copy_(average, before)

    def _held(self) -> tuple[list[Tensor], list[Tensor]]:
        """The average and the values, as far as this process holds them."""
        return [*map(local, self.average.values())], [*map(local, self._trainable.values())]


def _trainable(runner: Runner) -> dict[str, Tensor]:
    # Under each of its names: a file holds a parameter that layers share more than once.
    parameters = plain_model(runner.model).named_parameters(remove_duplicate=False)
    return {name: value.detach() for name, value in parameters if value.requires_grad}
