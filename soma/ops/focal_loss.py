"""Sigmoid focal loss (arXiv 1708.02002, section 3.2) and its gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from soma.ops.functional import upcast


@torch.no_grad()
def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Compute ``-alpha (1 - p)^gamma log p`` for the target's class, its mirror for the others.

    The mirror is ``-(1 - alpha) p^gamma log(1 - p)``, with ``p = sigmoid(input)``.

    Args:
        input: Logits, shape ``(N, C)``.
        target: Class of each row, shape ``(N,)``. Rows of class C are background.
        weight: Factor for the rows of each class, shape ``(C,)``, or empty for none. Rows of
            background count once.
        output: Output, shape ``(N, C)``.
        gamma: Exponent of the modulating factor.
        alpha: Weight of the target's class against the others.
    """
    x = upcast(input)
    p, q = x.sigmoid(), (-x).sigmoid()
    positive = -alpha * q**gamma * F.logsigmoid(x)
    negative = (alpha - 1) * p**gamma * F.logsigmoid(-x)
    output.copy_(_select(positive, negative, target, weight))


@torch.no_grad()
def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Compute the derivative of :func:`sigmoid_focal_loss_forward` with respect to each logit.

    The arguments are those of it; ``grad_input (N, C)`` is the output.
    """
    x = upcast(input)
    p, q = x.sigmoid(), (-x).sigmoid()
    positive = alpha * q**gamma * (gamma * p * F.logsigmoid(x) - q)
    negative = (1 - alpha) * p**gamma * (p - gamma * q * F.logsigmoid(-x))
    grad_input.copy_(_select(positive, negative, target, weight))


def _select(positive: Tensor, negative: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Take ``positive`` at the target's class, ``negative`` elsewhere, and weigh the rows."""
    classes = torch.arange(positive.shape[1], device=target.device)
    loss = torch.where(target[:, None] == classes, positive, negative)
    if weight.numel():
        loss = loss * F.pad(weight, (0, 1), value=1)[target][:, None]
    return loss
