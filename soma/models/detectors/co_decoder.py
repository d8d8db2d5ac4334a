"""The decoder that Co-DETR was published with."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.layers import (
    MLP,
    DinoTransformerDecoder,
    coordinate_to_encoding,
    inverse_sigmoid,
)
from mmengine.model import BaseModule
from torch import Tensor, nn


class CoDecoder(BaseModule):
    """mmdet's decoder of DINO, with a box code of a size of its own (arXiv 2203.03605, section 3).

    Each layer's positional query is an MLP of the sine code of the boxes that it starts from. DINO,
    Co-DETR and mmdet 3.3.0 code each of x, y, w and h with 128 features for queries of 256
    channels, onedl-mmdetection 3.5.1 with 256.

    Args:
        decoder: mmdet's, whose layers and norm it takes.
        num_feats: Features of each of x, y, w and h.

    Raises:
        ValueError: If ``decoder`` is to return the last layer alone.
    """

    def __init__(self, decoder: DinoTransformerDecoder, num_feats: int) -> None:
        super().__init__()
        if not decoder.return_intermediate:
            raise ValueError('CoDETR: decoder: return_intermediate must be True with num_feats')
        self.layers, self.norm = decoder.layers, decoder.norm
        self.num_layers, self.num_feats = decoder.num_layers, num_feats
        dims = decoder.embed_dims
        self.ref_point_head = MLP(4 * num_feats, dims, dims, 2)

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        valid_ratios: Tensor,
        reg_branches: nn.ModuleList,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Refine queries and boxes, layer by layer.

        Args:
            query: Shape ``(n, queries, c)``.
            reference_points: Boxes ``(cx, cy, w, h)`` from 0 to 1, shape ``(n, queries, 4)``.
            valid_ratios: Width and height of each level that is no padding, from 0 to 1, shape
                ``(n, levels, 2)``.
            reg_branches: What changes the boxes behind each layer.
            **kwargs: What the layers take besides.

        Returns:
            Normalised queries behind each layer ``(layers, n, queries, c)``, and the boxes that
            each layer starts from, then the last ones ``(layers + 1, n, queries, 4)``.
        """
        ratios = valid_ratios.repeat(1, 1, 2)[:, None]  # (n, 1, levels, 4)
        states, boxes = [], [reference_points]
        for layer, branch in zip(self.layers, reg_branches, strict=False):  # one more: proposals
            scaled = reference_points[:, :, None] * ratios
            code = coordinate_to_encoding(scaled[:, :, 0], self.num_feats)
            query = layer(
                query,
                query_pos=self.ref_point_head(code),
                reference_points=scaled,
                valid_ratios=valid_ratios,
                **kwargs,
            )
            refined = (branch(query) + inverse_sigmoid(reference_points, eps=1e-3)).sigmoid()
            states.append(self.norm(query))
            boxes.append(refined)
            reference_points = refined.detach()
        return torch.stack(states), torch.stack(boxes)
