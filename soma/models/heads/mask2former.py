"""Mask2Former's head (arXiv 2112.01527) for semantic segmentation, without waste."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.losses import CrossEntropyLoss, DiceLoss
from mmdet.models.task_modules.assigners import (
    ClassificationCost,
    CrossEntropyLossCost,
    DiceCost,
    HungarianAssigner,
)
from mmdet.utils import reduce_mean
from mmengine.registry import MODELS
from mmseg.models.decode_heads import Mask2FormerHead
from mmseg.structures import SegDataSample
from torch import Tensor

from ...io.files import InputError
from .attention import attend
from .mask_points import assign, class_masks, mask_losses, match_costs, sample, uncertain_points


@MODELS.register_module()
class LeanMask2FormerHead(Mask2FormerHead):
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
        self.register_buffer('_class_weight', weights, persistent=False)
        if self.train_cfg:
            _require(type(self.assigner) is HungarianAssigner, self.assigner)
            costs = {type(cost): cost for cost in self.assigner.match_costs}
            kinds = (ClassificationCost, CrossEntropyLossCost, DiceCost)
            _require(costs.keys() == {*kinds}, self.assigner.match_costs)
            dice = costs[DiceCost]
            _require(dice.pred_act and dice.naive_dice, 'this DiceCost')
            self._cost_weights = tuple(costs[kind].weight for kind in kinds)
            self._cost_eps = dice.eps

    def start_queries(self, x: Sequence[Tensor]) -> tuple[Sequence[Tensor], Tensor, Tensor]:
        """The maps, and learned features and positions of the queries, both ``(queries, c)``."""
        return x, self.query_feat.weight, self.query_embed.weight

    def decode(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Run pixel decoder and transformer decoder.

        Args:
            x: Maps of the backbone, from fine to coarse.

        Returns:
            For the queries before the first and after each of L layers, their class scores
            ``(n, queries, C + 1)`` and mask embeddings ``(n, queries, c)``; and the mask features
            ``(n, c, h, w)``.
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
        return list(scores), list(embeddings), features

    def _predict_queries(self, query: Tensor) -> tuple[Tensor, Tensor]:
        query = self.transformer_decoder.post_norm(query)
        return self.cls_embed(query), self.mask_embed(query)

    def forward(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Class scores and full masks ``(n, queries, h, w)`` of every layer, as in the parent."""
        scores, embeddings, features = self.decode(x)
        return scores, [torch.einsum('nqc,nchw->nqhw', e, features) for e in embeddings]

    def predict(
        self, x: Sequence[Tensor], batch_img_metas: Sequence[dict], test_cfg: dict
    ) -> Tensor:
        """Compute the score of each class, shape ``(n, C, H, W)`` in the size of the input."""
        scores, embeddings, features = self.decode(x)
        masks = torch.einsum('nqc,nchw->nqhw', embeddings[-1], features)
        size = batch_img_metas[0].get('pad_shape', batch_img_metas[0]['img_shape'])
        masks = F.interpolate(masks, size=size[:2], mode='bilinear', align_corners=False)
        return torch.einsum('nqk,nqhw->nkhw', scores[-1].softmax(-1)[..., :-1], masks.sigmoid())

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample], train_cfg: dict
    ) -> dict[str, Tensor]:
        """Compute the losses of every layer, under mmdet's names.

        Args:
            x: Maps of the backbone, from fine to coarse.
            batch_data_samples: With ``gt_sem_seg``, labels of one size for all.
            train_cfg: Unused, as in the parent.

        Returns:
            ``loss_cls``, ``loss_mask``, ``loss_dice`` of the last layer, and with a prefix
            ``d0.``, ``d1.``, ... of those before.

        Raises:
            ValueError: If a label is no class and not ``ignore_index``.
        """
        scores, embeddings, features = self.decode(x)
        labels = torch.stack([s.gt_sem_seg.data.squeeze(0) for s in batch_data_samples])
        labels = labels.masked_fill(labels == self.ignore_index, -1).long()
        with torch.autocast(features.device.type, enabled=False):
            losses = self._losses(
                torch.stack(scores).float(),
                torch.stack(embeddings).float(),
                features.float(),
                labels,
            )
        last = len(scores) - 1
        return {
            (name if layer == last else f'd{layer}.{name}'): values[layer]
            for layer in [last, *range(last)]
            for name, values in losses.items()
        }

    def _losses(
        self, scores: Tensor, embeddings: Tensor, features: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Losses of all L layers, each of shape ``(L,)``.

        Of ``scores (L, n, queries, C + 1)``, ``embeddings (L, n, queries, c)``, ``features
        (n, c, h, w)`` and ``labels (n, H, W)``.
        """
        matches = self._match(scores, embeddings, features, labels)
        # An image without a class counts as one with a mask, as in mmdet.
        count = sum(max(matched.shape[1] / len(scores), 1) for matched in matches)
        count = reduce_mean(scores.new_full((1,), count)).clamp_min(1)
        eps = torch.finfo(torch.float32).eps

        targets = torch.full(scores.shape[:3], self.num_classes, device=scores.device)
        by_layer = scores.new_zeros(2, len(scores))
        lengths = [matched.shape[1] for matched in matches]
        index = torch.from_numpy(np.concatenate(matches, axis=1)).to(scores.device)
        for image, (layer, query, kind) in enumerate(index.split(lengths, dim=1)):
            targets[layer, image, query] = kind
            if not len(kind):
                continue
            masks = embeddings[layer, image, query] @ features[image].flatten(1)
            masks = masks.view(-1, 1, *features.shape[2:])
            points = uncertain_points(
                masks, self.num_points, self.oversample_ratio, self.importance_sample_ratio
            )
            # By rising class: where all are matched as often, the points of each are on one mask.
            times = np.unique(matches[image][2], return_counts=True)[1]
            classes = kind[:: times[0]] if (times == times[0]).all() else kind
            target_masks = class_masks(labels[image], classes)[:, None]
            losses = mask_losses(
                sample(masks, points).squeeze(1),
                sample(target_masks, points.view(len(target_masks), -1, 2)).view(len(points), -1),
                self.loss_dice.eps,
            )
            by_layer = by_layer.index_add(1, layer, torch.stack(losses))
        by_layer = by_layer / (count + eps)
        if not by_layer.requires_grad:  # only ignored pixels: still, every parameter takes part
            by_layer = by_layer + 0 * (embeddings.sum() + features.sum())

        class_weight = self._class_weight.float()
        errors = F.cross_entropy(
            scores.flatten(0, 2), targets.flatten(), class_weight, reduction='none'
        )
        weights = class_weight[targets].flatten(1).sum(1)
        return {
            'loss_cls': self.loss_cls.loss_weight
            * errors.view(weights.shape[0], -1).sum(1)
            / (weights + eps),
            'loss_mask': self.loss_mask.loss_weight * by_layer[0],
            'loss_dice': self.loss_dice.loss_weight * by_layer[1],
        }

    @torch.no_grad()
    def _match(
        self, scores: Tensor, embeddings: Tensor, features: Tensor, labels: Tensor
    ) -> list[np.ndarray]:
        """Match queries with the classes of each image, in every layer.

        For each image: layers, queries and classes of the matches by rising class, ``(3, r)``.
        """
        costs, present = [], []
        kinds = torch.arange(self.num_classes, device=labels.device)
        for image, image_labels in enumerate(labels):
            points = torch.rand(1, self.num_points, 2, device=features.device)
            at_points = sample(features[image, None], points)[0]  # (c, p)
            masks = class_masks(image_labels, kinds)
            present.append(masks.any(-1).any(-1))
            masks = sample(masks[None], points)[0]
            for score, embedding in zip(scores[:, image], embeddings[:, image], strict=True):
                mask = embedding @ at_points
                costs.append(match_costs(score, mask, masks, self._cost_weights, self._cost_eps))
        costs = torch.stack(costs).unflatten(0, (len(labels), -1))  # (n, L, queries, C)
        present = torch.stack(present)
        unknown = (labels >= self.num_classes).any().view(1)
        # Everything in one copy, for which the CPU has to wait.
        flags = torch.cat([present.flatten(), unknown]).float()
        copy = torch.cat([costs.flatten(), flags]).cpu().numpy()
        if copy[-1]:
            raise InputError(
                f'a label is neither a class (0 to {self.num_classes - 1}) nor ignore_index '
                f'({self.ignore_index}): convert the labels (tools/convert_datasets) or set '
                'num_classes'
            )
        costs = copy[: costs.numel()].reshape(costs.shape)
        present = copy[costs.size : -1].reshape(present.shape) > 0
        return [assign(*of_image) for of_image in zip(costs, present, strict=True)]


def _require(condition: bool, part: object) -> None:
    if not condition:
        raise ValueError(
            f"LeanMask2FormerHead has Mask2Former's own losses and costs, not {part}: take "
            "mmseg's Mask2FormerHead"
        )
