"""Models whose parameters are shared out among processes by PyTorch's ``fully_shard``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def is_sharded(tensor: object) -> bool:
    """Whether this process holds only its part of a tensor: a ``DTensor``."""
    return hasattr(tensor, 'full_tensor')  # its class takes long to import


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor, for which all processes must ask at the same time."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, in the same memory."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def gather(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gather what is sharded (:func:`whole`) on the main process's CPU; others get it empty."""
    gathered = dict(tensors)
    for name, value in tensors.items():
        if is_sharded(value):
            value = whole(value.detach())
            gathered[name] = value.cpu() if is_main() else value.new_empty(0)
    return gathered


def share_like(tensor: Tensor, other: Tensor) -> Tensor:
    """Share out a tensor that all processes have as another one, of as many elements, is."""
    if not is_sharded(other) or is_sharded(tensor):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    tensor = tensor.to(other.device).view(other.shape)
    # No process sends anything.
    return distribute_tensor(tensor, other.device_mesh, other.placements, src_data_rank=None)


def refuse_sharded(model: nn.Module, advice: str) -> None:
    """Raise a ``ValueError``, with the advice, if a model is sharded."""
    if any(is_sharded(value) for value in model.parameters()):
        raise ValueError(f'{type(model).__name__} is sharded (fully_shard): {advice}')


def is_main() -> bool:
    """Whether this process is the only one, or the first."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not distributed or torch.distributed.get_rank() == 0
