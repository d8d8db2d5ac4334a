"""What the scores of a segmentor mean."""

from __future__ import annotations

import torch
from mmseg.models.decode_heads import Mask2FormerHead, MaskFormerHead
from torch import Tensor, nn

from .build import plain_model


def class_probabilities(model: nn.Module, scores: Tensor) -> Tensor:
    """Make probabilities of a segmentor's scores.

    They are the softmax of the scores. The scores of a MaskFormer or Mask2Former are sums over
    masks and no logits: there they are their shares of the sum over classes. A model or a head
    with other scores has a method ``probabilities(scores)``.

    Args:
        model: The segmentor, perhaps in a wrapper.
        scores: As in ``seg_logits`` of its data samples, shape ``(classes, h, w)`` or
            ``(n, classes, h, w)``. A single channel is the probability of the second of two
            classes, as mmseg leaves it there.

    Returns:
        Probabilities in float32, or float64 of such scores, of the same shape; two classes of a
        single channel.
    """
    model = plain_model(model)
    head = getattr(model, 'decode_head', None)
    head = head[-1] if isinstance(head, nn.ModuleList) else head  # the last of a cascade
    scores = scores if scores.dtype == torch.float64 else scores.float()
    for part in (model, head):
        if hasattr(part, 'probabilities'):
            return part.probabilities(scores)
    if scores.shape[-3] == 1:
        return torch.cat([1 - scores, scores], -3)
    if isinstance(head, MaskFormerHead | Mask2FormerHead):
        return shares(scores)
    return scores.softmax(-3)


def shares(scores: Tensor) -> Tensor:
    """Share of each class in the sum of scores that are not negative; of no score the same."""
    scores = scores + torch.finfo(scores.dtype).tiny
    return scores / scores.sum(-3, keepdim=True)
