"""Non-maximum suppression, hard and soft."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision import ops

from soma.ops.functional import upcast

NAIVE, LINEAR, GAUSSIAN = range(3)


@torch.no_grad()
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Keep the boxes that overlap no better box by more than the threshold.

    Args:
        boxes: Corners ``(x1, y1, x2, y2)``, shape ``(N, 4)``.
        scores: Shape ``(N,)``.
        iou_threshold: Largest intersection over union that both boxes survive.
        offset: Added to widths and heights: 1 where the corners are indices of pixels.

    Returns:
        Indices of the kept boxes by falling score, shape ``(K,)``.
    """
    boxes = upcast(boxes)
    boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    # mmcv compares in float32. Against a float64 0.6, an IoU of exactly 3/5 would count as above.
    return ops.nms(boxes, scores.to(boxes.dtype), float(np.float32(iou_threshold)))


@torch.no_grad()
def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Take the best box again and again, each time decaying the scores of those that overlap it.

    This is Soft-NMS (arXiv 1704.04503). A box is dropped once its decayed score is below
    ``min_score``; the first box always stays. Among equal scores the lowest index comes first.

    Args:
        boxes: Corners ``(x1, y1, x2, y2)``, shape ``(N, 4)``.
        scores: Shape ``(N,)``.
        dets: Output, shape ``(N, 5)``: the first K rows become the boxes and their scores.
        iou_threshold: Intersection over union from which ``NAIVE`` and ``LINEAR`` decay.
        sigma: Width of the ``GAUSSIAN`` decay.
        min_score: Lowest score to keep.
        method: ``NAIVE`` decays to 0, ``LINEAR`` by ``1 - iou``, ``GAUSSIAN`` by
            ``exp(-iou^2 / sigma)``.
        offset: Added to widths and heights: 1 where the corners are indices of pixels.

    Returns:
        Indices of the kept boxes in the order they were taken, shape ``(K,)``.

    Raises:
        ValueError: If ``method`` is none of the three.
    """
    if method not in (NAIVE, LINEAR, GAUSSIAN):
        raise ValueError(f'method must be 0 (naive), 1 (linear) or 2 (gaussian), got {method}')
    boxes, scores = upcast(boxes), upcast(scores)
    index = torch.arange(len(boxes), device=boxes.device)
    kept = []
    while len(index):
        best = scores.argmax()
        dets[len(kept), :4] = boxes[best]
        dets[len(kept), 4] = scores[best]
        kept.append(index[best])

        iou = _iou(boxes[best], boxes, offset)
        if method == GAUSSIAN:
            scores = scores * torch.exp(-iou.square() / sigma)
        else:
            decayed = scores * (1 - iou) if method == LINEAR else 0
            scores = torch.where(iou >= iou_threshold, decayed, scores)
        alive = scores >= min_score
        alive[best] = False
        boxes, scores, index = boxes[alive], scores[alive], index[alive]
    return torch.stack(kept) if kept else index


def _iou(box: Tensor, boxes: Tensor, offset: int) -> Tensor:
    """Compute the IoU, shape ``(N,)``, of one box, shape ``(4,)``, with boxes, ``(N, 4)``."""
    overlap = torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2]) + offset
    intersection = overlap.clamp(min=0).prod(dim=1)
    area = (box[2:] - box[:2] + offset).prod()
    areas = (boxes[:, 2:] - boxes[:, :2] + offset).prod(dim=1)
    return (intersection / (area + areas - intersection)).nan_to_num(0)  # two empty boxes: 0 / 0
