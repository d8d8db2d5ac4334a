"""What an adapter makes of a weight: pure functions on its named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .functional import weight_delta
from .spectrum import spectrum_delta

LOW_RANK = ('A', 'B', 'A0', 'B0')
DORA = (*LOW_RANK, 'magnitude')
SVF = ('S', 'S0')
_TINY = 1e-30  # in the place of the norm of a row of zeros


def fold_weight(weight: Tensor, tensors: Mapping[str, Tensor], scale: float = 1.0) -> Tensor:
    """Fold an adapter into the weight that it was trained on.

    Args:
        weight: Shape ``(out, in, ...)``.
        tensors: The adapter's by name: :data:`LOW_RANK`, :data:`DORA` or :data:`SVF`.
        scale: ``s = alpha / rank`` of a low-rank change.

    Returns:
        The weight of the plain layer that computes the same.

    Raises:
        ValueError: If the adapter is made for a weight of another shape.
    """
    matrix = weight.flatten(1)
    if 'S' in tensors:
        own = matrix.to(tensors['S'])
        return weight + spectrum_delta(own, tensors['S'], tensors['S0']).view_as(weight)
    A, B, A0, B0 = (tensors[name] for name in LOW_RANK)
    if (len(B), A.shape[1]) != matrix.shape:
        raise ValueError(
            f'the adapter is made for a weight of {[len(B), A.shape[1]]}, '
            f'the base has {list(matrix.shape)}'
        )
    groups = len(A) // B.shape[1]
    folded = weight + weight_delta(A, B, A0, B0, scale, groups).view_as(weight)
    if 'magnitude' in tensors:
        folded = with_row_norms(folded, tensors['magnitude'])
    return folded


def with_row_norms(weight: Tensor, norms: Tensor) -> Tensor:
    """Give what makes each output of a weight ``(out, in, ...)`` another norm.

    The norm that it has gets no gradient (DoRA, arXiv 2402.09353, section 4.3).
    """
    ratio = norms / row_norms(weight).detach().clamp_min(_TINY)
    return weight * ratio.view(-1, *[1] * (weight.ndim - 1))


def row_norms(weight: Tensor) -> Tensor:
    """Euclidean norm of what makes each output of a weight ``(out, in, ...)``."""
    return torch.linalg.vector_norm(weight.flatten(1), dim=1)
