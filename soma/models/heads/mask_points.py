"""Masks at points: what Mask2Former matches and trains on (arXiv 2112.01527, section 3.3).

Pure functions on tensors. A point is ``(x, y)``, 0 to 1 across the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Sample maps ``(n, c, h, w)`` bilinearly at points ``(n, p, 2)``, to ``(n, c, p)``.

    Around the maps are zeros.
    """
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, align_corners=False).squeeze(3)


def class_masks(labels: Tensor, classes: Tensor) -> Tensor:
    """The mask of each class ``(C,)`` in labels ``(H, W)``: 0 or 1, ``(C, H, W)``, float32."""
    return (labels == classes[:, None, None]).float()


def full_masks(embeddings: Tensor, features: Sequence[Tensor], layers: np.ndarray) -> Tensor:
    """Mask logits: the products of embeddings with the mask features of their layers.

    Args:
        embeddings: Shape ``(r, c)``.
        features: One map ``(c, h, w)`` for all layers, or one for each.
        layers: The layer of each embedding, shape ``(r,)``.

    Returns:
        Shape ``(r, 1, h, w)``.
    """
    if len(features) == 1:
        masks = embeddings @ features[0].flatten(1)
    else:
        order = layers.argsort(kind='stable')
        counts = np.bincount(layers, minlength=len(features)).tolist()
        parts = zip(embeddings[order].split(counts), features, strict=True)
        masks = torch.cat([part @ maps.flatten(1) for part, maps in parts])[order.argsort()]
    return masks.view(-1, 1, *features[0].shape[1:])


def match_costs(
    class_logits: Tensor, mask_logits: Tensor, masks: Tensor, weights: tuple, eps: float
) -> Tensor:
    """Costs of taking a query for a class: classification, cross entropy and dice of the masks.

    Args:
        class_logits: Shape ``(r, C + 1)``; the last is "no object".
        mask_logits: At the points, shape ``(r, p)``.
        masks: Of the classes, at the same points, shape ``(C, p)``.
        weights: Of the three.
        eps: Of the dice, added above and below.

    Returns:
        Shape ``(r, C)``.
    """
    probability = class_logits.softmax(-1)[:, :-1]
    # softplus(x) and softplus(-x), the losses of background and foreground, differ by x.
    background = F.softplus(mask_logits).mean(1, keepdim=True)
    cross_entropy = background - mask_logits @ masks.T / masks.shape[1]
    inside = mask_logits.sigmoid()
    overlap, total = inside @ masks.T, inside.sum(1, keepdim=True) + masks.sum(1)
    dice = 1 - (2 * overlap + eps) / (total + eps)
    return weights[1] * cross_entropy + weights[2] * dice - weights[0] * probability


def assign(costs: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Match the queries with the classes that are there, in each layer at least cost.

    Args:
        costs: Shape ``(L, queries, C)``.
        present: Shape ``(C,)``.

    Returns:
        Layers, queries and classes of the matches by rising class, shape ``(3, r)``.
    """
    classes = np.flatnonzero(present)
    costs = np.nan_to_num(costs)  # SciPy refuses a NaN, which shows in the losses anyway
    matches = []
    for layer, cost in enumerate(costs):
        query, column = linear_sum_assignment(cost[:, classes])
        matches.append(np.stack([np.full_like(query, layer), query, classes[column]]))
    matches = np.concatenate(matches, axis=1)
    return matches[:, matches[2].argsort(kind='stable')]


@torch.no_grad()
def uncertain_points(
    masks: Tensor, num_points: int, oversample_ratio: float, importance_ratio: float
) -> Tensor:
    """Draw points, most of them where a mask is undecided (PointRend, arXiv 1912.08193).

    Args:
        masks: Logits, shape ``(r, 1, h, w)``.
        num_points: Number of points per mask.
        oversample_ratio: Times as many are drawn to choose from.
        importance_ratio: Share that is chosen for a logit near 0; the rest is drawn anew.

    Returns:
        Shape ``(r, num_points, 2)``.
    """
    drawn = torch.rand(len(masks), int(num_points * oversample_ratio), 2, device=masks.device)
    chosen = int(num_points * importance_ratio)
    distance = sample(masks, drawn).squeeze(1).abs()
    index = distance.topk(chosen, dim=1, largest=False, sorted=False).indices
    points = drawn.gather(1, index[..., None].expand(-1, -1, 2))
    rest = torch.rand(len(masks), num_points - chosen, 2, device=masks.device)
    return torch.cat([points, rest], dim=1)


def mask_losses(mask_logits: Tensor, masks: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Cross entropy, averaged over the points, and dice loss of each mask, both ``(r,)``.

    Of ``mask_logits (r, p)`` and ``masks (r, p)``, 0 to 1; ``eps`` is added above and below in the
    dice.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(mask_logits, masks, reduction='none')
    inside = mask_logits.sigmoid()
    overlap, total = (inside * masks).sum(1), inside.sum(1) + masks.sum(1)
    return cross_entropy.mean(1), 1 - (2 * overlap + eps) / (total + eps)
