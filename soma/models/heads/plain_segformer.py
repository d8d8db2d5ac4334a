"""SegFormer's head as it was published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.registry import MODELS
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from torch import Tensor, nn


class _Projection(nn.Module):
    """A linear layer on the pixels of a map, named as there."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """From a map ``(n, in_channels, h, w)`` to one ``(n, channels, h, w)``."""
        return self.proj(features.movedim(1, -1)).movedim(-1, 1)


@MODELS.register_module()
class PlainSegformerHead(BaseDecodeHead):
    """SegFormer's head of linear projections (arXiv 2105.15203, section 3.2).

    mmseg's ``SegformerHead`` has a norm and a ReLU after each projection, which the published code,
    and ReVT's (arXiv 2308.13331), have not. The parameters are named as there.

    Args:
        channels: Width of the projections, ``embed_dim`` there: 256 for B0 and B1, else 768.
        **kwargs: As for mmseg's ``BaseDecodeHead``.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(
            channels=channels, input_transform='multiple_select', init_cfg=None, **kwargs
        )
        for stage, width in enumerate(self.in_channels, 1):
            self.add_module(f'linear_c{stage}', _Projection(width, channels))
        stages = len(self.in_channels)
        self.linear_fuse = ConvModule(stages * channels, channels, 1, norm_cfg=self.norm_cfg)
        self.linear_pred = self.conv_seg
        del self.conv_seg

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Score the pixels of the finest map.

        Args:
            inputs: Maps of the stages, the finest first, shapes ``(n, c_i, h_i, w_i)``.

        Returns:
            Scores, shape ``(n, classes, h_1, w_1)``.
        """
        maps = self._transform_inputs(inputs)
        size = maps[0].shape[2:]
        projected = []
        for stage, features in enumerate(maps, 1):
            features = self.get_submodule(f'linear_c{stage}')(features)
            projected.append(resize(features, size, None, 'bilinear', self.align_corners))
        features = self.linear_fuse(torch.cat(projected[::-1], dim=1))  # the coarsest first
        if self.dropout is not None:
            features = self.dropout(features)
        return self.linear_pred(features)
