"""What an adapter makes of a weight: pure functions on its named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .functional import weight_delta
from .svd import low_rank_product, split_components

LOW_RANK = ('A', 'B', 'A0', 'B0')
DORA = (*LOW_RANK, 'magnitude')
SVF = ('S', 'S0')
# A singular value of less than this share of the largest is rounding: it has no direction.
_NO_DIRECTION = 1e-6


class Spectrum(NamedTuple):
    """A whole singular value decomposition ``U diag(S) V`` of stacked matrices.

    Attributes:
        U: Shape ``(out, rank)``; the rows of group g are ``g * out / groups`` onwards. Zero where
            the singular value is zero.
        S: Shape ``(groups * rank,)``, in descending order within a group.
        V: Shape ``(groups * rank, in)``, zero like ``U``.
    """

    U: Tensor
    S: Tensor
    V: Tensor


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
        return weight + spectrum_delta(matrix, tensors['S'], tensors['S0']).view_as(weight)
    A, B, A0, B0 = (tensors[name] for name in LOW_RANK)
    if (len(B), A.shape[1]) != matrix.shape:
        raise ValueError(
            f'the adapter is made for a weight of {[len(B), A.shape[1]]}, '
            f'the base has {list(matrix.shape)}'
        )
    groups = len(A) // B.shape[1]
    folded = weight + weight_delta(A, B, A0, B0, scale, groups).view_as(weight)
    if 'magnitude' in tensors:
        ratio = tensors['magnitude'] / row_norms(folded)
        folded = folded * ratio.view(-1, *[1] * (weight.ndim - 1))
    return folded


def row_norms(weight: Tensor) -> Tensor:
    """Euclidean norm of what makes each output of a weight ``(out, in, ...)``."""
    return torch.linalg.vector_norm(weight.flatten(1), dim=1)


def decompose_matrix(weight: Tensor, ratio: float = 1.0, groups: int = 1) -> Spectrum:
    """Decompose a weight into all or its largest singular components.

    Args:
        weight: Shape ``(out, in)``.
        ratio: Share of the components, at least one of each group.
        groups: Number of matrices of equal size stacked along ``out``.

    Returns:
        The components in the dtype of the weight, computed in float64.

    Raises:
        ValueError: If the weight holds NaN or infinity.
    """
    rank = spectrum_rank(weight.shape, ratio, groups)
    A, B = split_components(weight.double(), rank, 'principal', groups)
    values = torch.linalg.vector_norm(A, dim=1).square().view(groups, rank)
    values, order = values.sort(dim=1, descending=True)
    A = A.view(groups, rank, -1).take_along_dim(order[..., None], 1)
    B = B.view(groups, -1, rank).take_along_dim(order[:, None], 2)
    known = values > _NO_DIRECTION * values[:, :1]
    factor = torch.where(known, values.clamp_min(torch.finfo(values.dtype).tiny).rsqrt(), 0)
    U, V = (B * factor[:, None]).flatten(0, 1), (A * factor[..., None]).flatten(0, 1)
    S = torch.where(known, values, 0).flatten()
    return Spectrum(*(x.to(weight.dtype) for x in (U, S, V)))


def spectrum_rank(shape: tuple[int, int], ratio: float, groups: int = 1) -> int:
    """Number of components of each group of a matrix ``(out, in)`` that make up a share."""
    return max(round(ratio * min(shape[0] // groups, shape[1])), 1)


def spectrum_delta(weight: Tensor, S: Tensor, S0: Tensor) -> Tensor:
    """The change of a weight whose singular values change, ``U diag(S - S0) V``.

    Args:
        weight: Shape ``(out, in)``; it is decomposed.
        S: Shape ``(rank,)``, or ``(groups, rank)`` of stacked matrices.
        S0: The singular values of the weight.

    Returns:
        Shape ``(out, in)``.

    Raises:
        ValueError: If these are not the singular values of the weight.
    """
    groups, rank = (1, *S.shape)[-2:]
    full = min(weight.shape[0] // groups, weight.shape[1])
    parts = decompose_matrix(weight.detach(), rank / full, groups)
    found, start = parts.S, S0.flatten().to(parts.S)
    if found.shape != start.shape or not torch.allclose(
        found, start, rtol=1e-3, atol=1e-4 * start.max().item()
    ):
        raise ValueError('the adapter was trained on a weight with other singular values')
    change = (S - S0).to(parts.V).view(-1, 1)
    return low_rank_product(change * parts.V, parts.U, groups)
