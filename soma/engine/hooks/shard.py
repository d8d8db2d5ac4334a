"""A training whose parameters are shared out among the processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import AmpOptimWrapper, ApexOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from ...io.files import InputError
from ..distributed import held_mb, shard


@HOOKS.register_module()
class ShardHook(Hook):
    """Share out parameters, gradients and optimizer of a training, before its first step.

    What reads whole weights comes before: loading, splitting, the start from data, the card. In a
    validation each process holds the whole model, since images of several sizes need it at other
    times. It is a hook of ``SomaRunner`` if the config has a ``strategy``.
    """

    priority = 'HIGH'
    _units: Sequence[nn.Module] = ()

    def before_run(self, runner: Runner) -> None:
        """Check that the training can be sharded.

        Raises:
            InputError: If it cannot.
        """
        if torch.__version__ < '2.7':
            raise InputError(f'strategy: needs PyTorch 2.7, this is {torch.__version__}')
        if any(isinstance(w, AmpOptimWrapper | ApexOptimWrapper) for w in _wrappers(runner)):
            raise InputError('strategy: losses cannot be scaled: take BFloat16OptimWrapper (--amp)')
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise InputError('strategy: EMAHook copies the model: take TrainableEMAHook')

    def before_train(self, runner: Runner) -> None:
        """Share out."""
        if not runner.distributed:
            runner.logger.warning('strategy: one process has nothing to share out (--launcher)')
            return
        _ = runner.card  # which has the hash of the base
        whole = held_mb(runner.model)[0]
        self._units = shard(runner.model, [w.optimizer for w in _wrappers(runner)])
        held = ', '.join(f'{size:.2f}' for size in held_mb(runner.model))
        runner.logger.info(f'processes hold {held} MB of {whole:.2f} MB of parameters and buffers')

    def before_val_epoch(self, runner: Runner) -> None:
        """Gather the whole model in each process, until :meth:`after_val_epoch`."""
        for unit in self._units:
            unit.unshard()
            if unit is not runner.model:
                unit.set_reshard_after_forward(False, recurse=False)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Share it out again."""
        for unit in self._units:
            unit.reshard()
            if unit is not runner.model:
                unit.set_reshard_after_forward(True, recurse=False)


def _wrappers(runner: Runner) -> list[OptimWrapper]:
    """Those of all optimizers."""
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]
