"""Predictions and losses of heads whose queries have a class and a mask (arXiv 2112.01527)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from mmseg.structures import SegDataSample
from torch import Tensor

from ...io.files import InputError
from ..probabilities import shares
from .mask_points import (
    assign,
    class_masks,
    full_masks,
    mask_losses,
    match_costs,
    sample,
    uncertain_points,
)


class MaskHead:
    """The part of a head that makes predictions and losses of what :meth:`decode` returns.

    Attributes:
        num_classes: Number of classes.
        ignore_index: Label of pixels that do not count.
        num_points: Number of points at which masks are matched, and trained.
        oversample_ratio: Of :func:`~.mask_points.uncertain_points`, like the next one.
        importance_sample_ratio: As there.
        loss_weights: Of the losses of class, mask (cross entropy) and dice.
        dice_eps: Of the dice loss.
        cost_weights: As ``loss_weights``, of the matching.
        cost_eps: Of the matching's dice.
        class_weights: Of the classes and of no object, shape ``(C + 1,)``.
    """

    def forward(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Class scores and full masks ``(n, queries, h, w)`` of every layer."""
        scores, embeddings, features = self.decode(x)
        pairs = zip(embeddings, _each(features, len(embeddings)), strict=True)
        return scores, [torch.einsum('nqc,nchw->nqhw', *pair) for pair in pairs]

    def predict(
        self, x: Sequence[Tensor], batch_img_metas: Sequence[dict], test_cfg: dict
    ) -> Tensor:
        """Compute the score of each class, shape ``(n, C, H, W)`` in the size of the input."""
        scores, embeddings, features = self.decode(x)
        masks = torch.einsum('nqc,nchw->nqhw', embeddings[-1], features[-1])
        size = batch_img_metas[0].get('pad_shape', batch_img_metas[0]['img_shape'])
        masks = F.interpolate(masks, size=size[:2], mode='bilinear', align_corners=False)
        return torch.einsum('nqk,nqhw->nkhw', scores[-1].softmax(-1)[..., :-1], masks.sigmoid())

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample], train_cfg: dict
    ) -> dict[str, Tensor]:
        """Compute the losses of every layer, under mmdet's names.

        Args:
            x: What the segmentor's features are, as for :meth:`decode`.
            batch_data_samples: With ``gt_sem_seg``, labels of one size for all.
            train_cfg: Unused, as in mmseg's head.

        Returns:
            ``loss_cls``, ``loss_mask``, ``loss_dice`` of the last layer, and with a prefix
            ``d0.``, ``d1.``, ... of those before.

        Raises:
            ValueError: If a label is no class and not ``ignore_index``.
        """
        scores, embeddings, features = self.decode(x)
        labels = torch.stack([s.gt_sem_seg.data.squeeze(0) for s in batch_data_samples])
        labels = labels.masked_fill(labels == self.ignore_index, -1).long()
        with torch.autocast(labels.device.type, enabled=False):
            losses = self._losses(
                torch.stack(scores).float(),
                torch.stack(embeddings).float(),
                [part.float() for part in features],
                labels,
            )
        last = len(scores) - 1
        return {
            (name if layer == last else f'd{layer}.{name}'): values[layer]
            for layer in [last, *range(last)]
            for name, values in losses.items()
        }

    def _losses(
        self, scores: Tensor, embeddings: Tensor, features: Sequence[Tensor], labels: Tensor
    ) -> dict[str, Tensor]:
        """Losses of all L layers, each of shape ``(L,)``.

        Of ``scores (L, n, queries, C + 1)``, ``embeddings (L, n, queries, c)``, one or L
        ``features (n, c, h, w)`` and ``labels (n, H, W)``.
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
            masks = full_masks(
                embeddings[layer, image, query], [f[image] for f in features], matches[image][0]
            )
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
                self.dice_eps,
            )
            by_layer = by_layer.index_add(1, layer, torch.stack(losses))
        by_layer = by_layer / (count + eps)
        if not by_layer.requires_grad:  # only ignored pixels: still, every parameter takes part
            by_layer = by_layer + 0 * (embeddings.sum() + sum(f.sum() for f in features))

        class_weight = self.class_weights.float()
        errors = F.cross_entropy(
            scores.flatten(0, 2), targets.flatten(), class_weight, reduction='none'
        )
        weights = class_weight[targets].flatten(1).sum(1)
        return {
            'loss_cls': self.loss_weights[0]
            * errors.view(weights.shape[0], -1).sum(1)
            / (weights + eps),
            'loss_mask': self.loss_weights[1] * by_layer[0],
            'loss_dice': self.loss_weights[2] * by_layer[1],
        }

    @torch.no_grad()
    def _match(
        self, scores: Tensor, embeddings: Tensor, features: Sequence[Tensor], labels: Tensor
    ) -> list[np.ndarray]:
        """Match queries with the classes of each image, in every layer.

        For each image: layers, queries and classes of the matches by rising class, ``(3, r)``.
        """
        costs, present = [], []
        kinds = torch.arange(self.num_classes, device=labels.device)
        for image, image_labels in enumerate(labels):
            points = torch.rand(1, self.num_points, 2, device=labels.device)
            at_points = [sample(f[image, None], points)[0] for f in features]  # (c, p)
            masks = class_masks(image_labels, kinds)
            present.append(masks.any(-1).any(-1))
            masks = sample(masks[None], points)[0]
            layers = zip(
                scores[:, image], embeddings[:, image], _each(at_points, len(scores)), strict=True
            )
            for score, embedding, at_point in layers:
                mask = embedding @ at_point
                costs.append(match_costs(score, mask, masks, self.cost_weights, self.cost_eps))
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

    def probabilities(self, scores: Tensor) -> Tensor:
        """Probabilities of scores ``(..., C, h, w)``, which are sums over masks."""
        return shares(scores)


def _each(parts: Sequence[Tensor], layers: int) -> list[Tensor]:
    """What each of the layers has; one part is that of all."""
    return [*parts] * (layers // len(parts))
