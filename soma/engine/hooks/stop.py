"""A training that stops when it is told to, and says how it goes on."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch
from mmengine.dist import all_reduce, is_distributed
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...io.files import InputError
from .adapter_checkpoint import AdapterCheckpointHook

_EVERY = 10  # steps at which several processes ask one another whether to stop


@HOOKS.register_module()
class StopHook(Hook):
    """Stop a training at a signal or after a time, and say in one line how it goes on.

    SIGINT (Ctrl-C) and SIGTERM stop it at once, but a checkpoint that is being written is finished
    first; the exit code is 130 or 143. SIGUSR1 and ``after`` make it finish the step (in an epoch
    loop the epoch), save a checkpoint and end with exit code 0; the run that is resumed from it
    ends as one that was never stopped. A validation is left where it is, if its iteration is saved
    and there is one process.

    Signals are a script's affair: the hook is a context manager around the building of a runner and
    its training, and what goes wrong in there gets the same line.

    Args:
        command: What goes on with the training.
        after: Seconds after which it stops.
    """

    priority = 'LOWEST'
    trained = 0  # models of a set, before this one
    _runner: Runner | None = None  # that trains
    _work_dir: str | None = None
    _main = True
    _signal = 0  # that ends the training at once
    _asked = False  # to save and end
    _begun = _over = False
    _done = 'ended'

    def __init__(self, command: str, after: float | None = None) -> None:
        self.command, self.after = command, after

    def __enter__(self) -> StopHook:
        self._process, self._start = os.getpid(), time.monotonic()
        signals = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1
        self._before = {number: signal.signal(number, self._receive) for number in signals}
        return self

    def __exit__(self, kind, error: BaseException | None, trace) -> None:
        self._over = True
        try:
            if self._signal:  # whatever has become of the exception
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # loaders' workers may have it, too
                reason, code = f'stopped by {signal.Signals(self._signal).name}', self._signal + 128
            elif isinstance(error, SystemExit) and self._begun and self._main:
                reason, code = error.code or self._done, error.code or 0
            else:
                return
            line = f'{reason}; {self._state()}'
            if isinstance(code, str):
                raise SystemExit(line)
            if self._main:
                sys.stderr.write(f'{line}\n')
            raise SystemExit(code)
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def before_run(self, runner: Runner) -> None:
        """Remember what is trained.

        Raises:
            InputError: If it is to stop after a time, but nothing would save it.
        """
        hooks = [hook for hook in runner.hooks if isinstance(hook, AdapterCheckpointHook)]
        if not hooks and self.after is not None:
            raise InputError('--stop-after needs default_hooks.checkpoint: AdapterCheckpointHook')
        self._runner, self._checkpoints = runner, hooks[0] if hooks else None
        self._work_dir, self._main = runner.work_dir, runner.rank == 0
        self._by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)

    def before_train(self, runner: Runner) -> None:
        """From now on errors are followed by what is safe."""
        self._begun = True
        self._obey()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        """Stop after a step of the optimizer, in all processes after the same."""
        self._obey()
        done = runner.iter + 1
        asked = not self._by_epoch and (not is_distributed() or done % _EVERY == 0)
        wrapper = runner.optim_wrapper  # several optimizers have no common step
        if asked and (isinstance(wrapper, OptimWrapperDict) or wrapper.should_update()):
            self._save_and_end(runner, runner.epoch, done)

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop after an epoch, where an epoch loop can be resumed."""
        self._obey()
        if self._by_epoch:
            self._save_and_end(runner, runner.epoch + 1, runner.iter)

    def before_val_epoch(self, runner: Runner) -> None:
        """A validation that was missed comes before the training."""
        self._begun = True

    def after_val_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Stop in a validation that the run will repeat when it is resumed."""
        self._obey()
        saved = self._checkpoints and self._checkpoints.is_saved(runner.iter)
        if saved and not is_distributed():
            self._save_and_end(runner, runner.epoch, runner.iter)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Stop after the checkpoints that a validation brings."""
        self._obey()

    def after_run(self, runner: Runner) -> None:
        """Forget what was trained: it would stay in memory beside the next one."""
        self._runner = self._checkpoints = None

    def _receive(self, number: int, frame) -> None:
        """Note a signal; stop at once, unless a checkpoint is being written."""
        if os.getpid() != self._process:  # a worker that was forked
            if number == signal.SIGTERM:
                os._exit(128 + number)
        elif number == signal.SIGUSR1:
            self._asked = True
        elif not self._over:
            self._signal = self._signal or number
            name = getattr(self._runner, 'checkpoint_name', None)
            if name is None:
                raise SystemExit(128 + number)
            os.write(2, f'{name} is being written: the training stops after it\n'.encode())

    def _obey(self) -> None:
        if self._signal:
            raise SystemExit(128 + self._signal)

    def _save_and_end(self, runner: Runner, epoch: int, iteration: int) -> None:
        """If asked to: save the state unless it is saved, and end with exit code 0."""
        late = self.after is not None and time.monotonic() - self._start > self.after
        asked = torch.tensor(float(self._asked or late))
        all_reduce(asked, 'max')
        if not asked:
            return
        if self._checkpoints is None:
            self._asked = False
            runner.logger.warning(
                'SIGUSR1: only AdapterCheckpointHook can save and stop: it goes on'
            )
            return
        self._checkpoints.save_now(runner, epoch, iteration)
        self._done = f'stopped as asked after iteration {iteration}'
        raise SystemExit(0)

    def _state(self) -> str:
        """What is safe, and how it goes on."""
        pointer = Path(self._work_dir or '', 'last_checkpoint')
        if self._work_dir is None:
            state = 'the training had not begun'
        elif not pointer.is_file():
            state = 'there is no checkpoint yet'
        else:
            return f'the last checkpoint is {pointer.read_text()}, go on with: {self.command}'
        if self.trained:
            state += f'; trained models of the set: {self.trained}, go on with: {self.command}'
        return state
