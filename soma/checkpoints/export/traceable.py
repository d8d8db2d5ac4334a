"""What makes a segmentor's graph hold for images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.utils import Upsample
from timm.layers.pos_embed_sincos import RotaryEmbeddingDinoV3
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_UPSAMPLE = ('scale_factor', 'mode', 'align_corners')


class BicubicAsProducts(TorchFunctionMode):
    """Lets ``F.interpolate`` be products of matrices where it is bicubic.

    They are computed from the sizes, so that these can be free. And TensorRT documents no
    ``Resize`` that is cubic or filters.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call a function of PyTorch, or this one."""
        kwargs = kwargs or {}
        if func is F.interpolate and kwargs.get('mode') == 'bicubic':
            return resize_bicubic(*args, **kwargs)
        return func(*args, **kwargs)


def resize_bicubic(
    x: Tensor,
    size: Sequence[int | Tensor] | None = None,
    scale_factor: Sequence[float | Tensor] | None = None,
    antialias: bool = False,
    align_corners: bool | None = None,
    **unused: Any,
) -> Tensor:
    """Resize ``(1, c, h, w)`` as ``F.interpolate`` does without ``align_corners``.

    Factors that leave both sides as they are change nothing, as in
    :func:`~soma.models.backbones.dinov2_weights.resize_pos_embed`.
    """
    if align_corners:
        raise ValueError('bicubic resizing with align_corners has no export')
    old = x.shape[2:]
    if size is None:
        factors = [torch.as_tensor(factor) for factor in scale_factor]
        size = [(a * f).floor().long() for a, f in zip(old, factors, strict=True)]
        same = (size[0] == old[0]) & (size[1] == old[1])
        steps = [torch.where(same, torch.ones_like(f), 1 / f) for f in factors]
    else:
        size = [torch.as_tensor(side) for side in size]
        steps = [a / b.float() for a, b in zip(old, size, strict=True)]
    rows, columns = (_weights(*sides, antialias) for sides in zip(size, old, steps, strict=True))
    if not antialias:  # beside the border, it repeats
        at = [torch.arange(-2, side + 2).clamp(0, side - 1) for side in old]
        x = x[:, :, at[0]][..., at[1]]
    # No constant is the right factor: int8 would round it.
    return rows @ (x @ columns.T)


def _weights(new: Tensor, old: int, step: Tensor, antialias: bool) -> Tensor:
    """What each new pixel takes of the old ones (and, if not antialiased, of 2 at each border).

    A kernel of cubic convolution (Keys 1981), whose parameter is PyTorch's: ``(new, old)``.
    """
    a, border = (-0.5, 0) if antialias else (-0.75, 2)
    centres = (torch.arange(new).float() + 0.5) * step - 0.5
    distance = (centres[:, None] - torch.arange(-border, old + border).float()).abs()
    if antialias:
        distance = distance / step.clamp(min=1)
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    d = distance.clamp(max=2)
    far = a * (((d - 5) * d + 8) * d - 4)
    weights = torch.where(distance < 1, near, far)
    return weights / weights.sum(1, keepdim=True) if antialias else weights


def free_sizes(model: nn.Module) -> None:
    """Let layers compute with sizes in the graph where they would make numbers of them.

    These are mmseg's ``Upsample``, which then enlarges by its factor, and DINOv3's positions.

    Args:
        model: Changed in place; what it computes stays, where factors are whole.
    """
    for module in model.modules():
        if isinstance(module, Upsample) and not module.size:
            options = {name: getattr(module, name) for name in _UPSAMPLE}
            module.forward = partial(F.interpolate, **options)
        elif isinstance(module, RotaryEmbeddingDinoV3) and module.normalize_coords == 'separate':
            module.get_embed = partial(_rotary_positions, module)


def _rotary_positions(rope: RotaryEmbeddingDinoV3, shape: Sequence[int | Tensor]) -> Tensor:
    """Sines and cosines of the centres of patches, from -1 to 1 in each direction."""
    axes = [2 * (torch.arange(side).float() + 0.5 + rope.grid_offset) / side - 1 for side in shape]
    centres = torch.stack(torch.meshgrid(*axes, indexing=rope.grid_indexing), dim=-1)
    return torch.cat(rope._get_pos_embed_from_coords(centres.flatten(0, 1)), dim=-1)
