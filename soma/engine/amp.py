"""Training in bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
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
