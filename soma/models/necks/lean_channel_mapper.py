"""mmdet's channel mapper for a backbone whose maps have one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.models import ChannelMapper
from mmengine.registry import MODELS
from torch import Tensor

from ..pyramid import project_and_resize, resize_map


@MODELS.register_module()
class LeanChannelMapper(ChannelMapper):
    """``ChannelMapper`` that makes the pyramid itself, after the projection.

    A 1 x 1 convolution and bilinear resizing commute, and the projected maps are smaller: the
    outputs and the parameters are those of ``ChannelMapper`` behind a backbone with this
    ``pyramid``, which then has ``(1, 1, 1, 1)``.

    Args:
        *args: As for ``ChannelMapper``.
        pyramid: Factor by which each map is resized.
        **kwargs: As for ``ChannelMapper``.

    Raises:
        ValueError: If the kernel is larger than 1 x 1 or the numbers of maps differ.
    """

    def __init__(
        self, *args: Any, pyramid: Sequence[float] = (4, 2, 1, 0.5), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if len(pyramid) != len(self.convs) or any(c.conv.kernel_size != (1, 1) for c in self.convs):
            raise ValueError(
                f'LeanChannelMapper needs kernel_size=1 and a pyramid factor for each of its '
                f'{len(self.convs)} inputs, got {pyramid}'
            )
        self.pyramid = tuple(pyramid)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Project and resize.

        Args:
            inputs: Maps ``(n, c, h, w)`` of one size.

        Returns:
            Maps ``(n, out_channels, h * factor, w * factor)``, then those of the further
            convolutions, each of half the size.
        """
        levels = zip(self.convs, inputs, self.pyramid, strict=True)
        outs = [project_and_resize(*level) for level in levels]
        last = resize_map(inputs[-1], self.pyramid[-1])
        for module in self.extra_convs or ():
            last = module(last)
            outs.append(last)
        return tuple(outs)
