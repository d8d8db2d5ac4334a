"""Mask2Former's head (arXiv 2112.01527) for semantic segmentation, without waste."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.losses import CrossEntropyLoss, DiceLoss
from mmdet.models.task_modules.assigners import (
    ClassificationCost,
    CrossEntropyLossCost,
    DiceCost,
    HungarianAssigner,
)
from mmengine.registry import MODELS
from mmseg.models.decode_heads import Mask2FormerHead
from torch import Tensor

from .attention import attend
from .mask_head import MaskHead


@MODELS.register_module()
class LeanMask2FormerHead(MaskHead, Mask2FormerHead):
    """mmseg's ``Mask2FormerHead``: the same parameters, outputs and losses, for less.

    - A mask is the product of a query with the mask features. It is computed in full for the
      queries that are matched, for the others at the points of the matching; and of the last layer
      alone in testing.
    - Attention masks are made from mask features of their own size, since resizing is linear.
    - Matching needs one copy to the CPU a step: costs of all layers and classes, and which classes
      there are.
    - Matching and losses are in float32 whatever the rest is in.

    The points at which masks are matched are drawn once for an image, not for each layer. The
    settings are those of mmseg, with Mask2Former's losses and costs, and no others.

    Args:
        num_classes: Number of classes.
        **kwargs: As in the parent class.

    Raises:
        ValueError: If a loss or a cost is another than Mask2Former's.
    """

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes=num_classes, **kwargs)
        loss_cls, loss_mask, loss_dice = losses = self.loss_cls, self.loss_mask, self.loss_dice
        for loss, kind in zip(losses, (CrossEntropyLoss, CrossEntropyLoss, DiceLoss), strict=True):
            _require(type(loss) is kind and loss.reduction == 'mean', loss)
        _require(self.class_weight is not None, 'loss_cls without class_weight')
        _require(not loss_cls.use_sigmoid and loss_cls.ignore_index is None, 'this loss_cls')
        _require(loss_mask.use_sigmoid and loss_mask.class_weight is None, 'this loss_mask')
        usual_dice = loss_dice.naive_dice and loss_dice.activate and loss_dice.use_sigmoid
        _require(usual_dice, 'this loss_dice')
        weights = torch.tensor(self.class_weight, dtype=torch.float32)
        self.register_buffer('class_weights', weights, persistent=False)
        self.loss_weights = tuple(loss.loss_weight for loss in losses)
        self.dice_eps = loss_dice.eps
        if self.train_cfg:
            _require(type(self.assigner) is HungarianAssigner, self.assigner)
            costs = {type(cost): cost for cost in self.assigner.match_costs}
            kinds = (ClassificationCost, CrossEntropyLossCost, DiceCost)
            _require(costs.keys() == {*kinds}, self.assigner.match_costs)
            dice = costs[DiceCost]
            _require(dice.pred_act and dice.naive_dice, 'this DiceCost')
            self.cost_weights = tuple(costs[kind].weight for kind in kinds)
            self.cost_eps = dice.eps

    def start_queries(self, x: Sequence[Tensor]) -> tuple[Sequence[Tensor], Tensor, Tensor]:
        """The maps, and learned features and positions of the queries, both ``(queries, c)``."""
        return x, self.query_feat.weight, self.query_embed.weight

    def decode(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Run pixel decoder and transformer decoder.

        Args:
            x: Maps of the backbone, from fine to coarse.

        Returns:
            For the queries before the first and after each of L layers, their class scores
            ``(n, queries, C + 1)`` and mask embeddings ``(n, queries, c)``; and the one map of mask
            features ``(n, c, h, w)`` of all of them.
        """
        x, query, position = self.start_queries(x)
        features, memories = self.pixel_decoder(x)
        with torch.no_grad():
            coarse = [
                F.interpolate(features, m.shape[2:], mode='bilinear', align_corners=False)
                for m in memories
            ]
        values, keys = [], []
        for memory, project, level in zip(
            memories, self.decoder_input_projs, self.level_embed.weight, strict=True
        ):
            no_padding = memory.new_zeros((1, *memory.shape[2:]), dtype=torch.bool)
            place = self.decoder_positional_encoding(no_padding).flatten(2).transpose(1, 2)
            values.append(project(memory).flatten(2).transpose(1, 2) + level)
            keys.append(values[-1] + place)
        query = query.expand(len(features), -1, -1)
        outputs = [self._predict_queries(query)]
        for index, layer in enumerate(self.transformer_decoder.layers):
            level = index % self.num_transformer_feat_level
            with torch.no_grad():
                seen = outputs[-1][1] @ coarse[level].flatten(2) >= 0  # (n, queries, h * w)
                seen = seen | ~seen.any(-1, keepdim=True)  # a query that sees nothing sees all
            attended = attend(
                layer.cross_attn, query + position, keys[level], values[level], seen[:, None]
            )
            query = layer.norms[0](query + attended)
            attended = attend(layer.self_attn, query + position, query + position, query)
            query = layer.norms[1](query + attended)
            query = layer.norms[2](layer.ffn(query))
            outputs.append(self._predict_queries(query))
        scores, embeddings = zip(*outputs, strict=True)
        return list(scores), list(embeddings), [features]

    def _predict_queries(self, query: Tensor) -> tuple[Tensor, Tensor]:
        query = self.transformer_decoder.post_norm(query)
        return self.cls_embed(query), self.mask_embed(query)


def _require(condition: bool, part: object) -> None:
    if not condition:
        raise ValueError(
            f"LeanMask2FormerHead has Mask2Former's own losses and costs, not {part}: take "
            "mmseg's Mask2FormerHead"
        )
