"""Maps of one size made into a pyramid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from mmcv.cnn import ConvModule


def resize_map(x: Tensor, factor: float) -> Tensor:
    """Resize maps ``(n, c, h, w)`` bilinearly; a factor of 1 leaves them as they are."""
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=factor, mode='bilinear', align_corners=False)


def project_and_resize(module: ConvModule, x: Tensor, factor: float) -> Tensor:
    """Apply a 1 x 1 convolution, resize by a factor, then norm and activation, where there are any.

    The convolution and the resizing commute, and the projected maps are smaller: ``(n, c, h, w)``
    becomes ``(n, c', h * factor, w * factor)``.
    """
    x = resize_map(module.conv(x), factor)
    x = module.norm(x) if module.with_norm else x
    return module.activate(x) if module.with_activation else x
