"""Training in bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner.amp import autocast
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Compute in bfloat16, on a GPU or a CPU; parameters, gradients and optimizer stay float32.

    bfloat16 has the range of float32. Without the loss scaling of mmengine's ``AmpOptimWrapper``,
    which is for GPUs only, a step neither waits for the GPU nor leaves an update out. Arguments are
    those of ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast a training step's forward pass."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


def amp_dtype() -> str:
    """Name what mixed precision computes in on this machine: bfloat16, or on older GPUs float16."""
    # GPUs before compute capability 8.0 only emulate bfloat16.
    older = torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0)
    return 'float16' if older else 'bfloat16'


def use_amp(config: Config) -> None:
    """Make a config, in place, train in mixed precision; in float16 with loss scaling."""
    if amp_dtype() == 'bfloat16':
        config.optim_wrapper.type = 'BFloat16OptimWrapper'
        for key in ('dtype', 'loss_scale', 'use_fsdp'):  # of AmpOptimWrapper
            config.optim_wrapper.pop(key, None)
    else:
        config.optim_wrapper.update(type='AmpOptimWrapper', dtype='float16')
