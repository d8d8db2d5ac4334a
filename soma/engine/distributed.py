"""Several processes, on GPUs or CPUs."""

from __future__ import annotations

import atexit
import gc
import sys

import torch
from mmengine.device import get_device
from mmengine.model import convert_sync_batchnorm
from torch import nn


def join_group() -> None:
    """Meet the other processes, through gloo, until Python ends."""
    torch.distributed.init_process_group('gloo')
    atexit.register(_leave_group)


def _leave_group() -> None:
    """End gloo's threads; one that still drops a tensor when Python ends aborts the process."""
    failed = hasattr(sys, 'last_value')  # then the others may never answer
    if torch.distributed.is_initialized() and not failed:
        torch.distributed.destroy_process_group()
        gc.collect()  # the wrapped model holds the group too


def unwrapped(model: nn.Module, sync_bn: str | None) -> nn.Module:
    """A model on the device of its process, as mmengine has it before it is wrapped."""
    model = model.to(get_device())
    return model if sync_bn is None else convert_sync_batchnorm(model, sync_bn)
