"""From a weight matrix to all of its singular components: pure functions on tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .svd import check_finite, check_rank, gram, low_rank_product

# A singular value of less than this share of the largest is rounding: it has no direction.
_NO_DIRECTION = 1e-6


class Spectrum(NamedTuple):
    """A singular value decomposition ``U diag(S) V`` of stacked matrices.

    Attributes:
        U: Shape ``(out, rank)``; the rows of group g are ``g * out / groups`` onwards. Zero where
            the singular value is zero.
        S: Shape ``(groups * rank,)``, in descending order within a group.
        V: Shape ``(groups * rank, in)``, zero like ``U``.
    """

    U: Tensor
    S: Tensor
    V: Tensor


def decompose_matrix(weight: Tensor, ratio: float = 1.0, groups: int = 1) -> Spectrum:
    """Decompose a weight into all or its largest singular components.

    The eigenvectors of the Gram matrix are computed in float64, which takes a third of the time of
    a singular value decomposition.

    Args:
        weight: Shape ``(out, in)``.
        ratio: Share of the components, at least one of each group.
        groups: Number of matrices of equal size stacked along ``out``.

    Returns:
        The components in the dtype of the weight.

    Raises:
        ValueError: If the weight holds NaN or infinity, or ``groups`` does not divide ``out``.
    """
    rank = spectrum_rank(weight.shape, ratio, groups)
    check_rank(rank, *weight.shape, groups)
    check_finite(weight)
    parts = [_largest(part, rank) for part in weight.detach().double().chunk(groups)]
    return Spectrum(*(torch.cat(x).to(weight.dtype) for x in zip(*parts, strict=True)))


def _largest(weight: Tensor, rank: int) -> Spectrum:
    """The largest components of one float64 matrix."""
    if weight.shape[0] < weight.shape[1]:
        U, S, V = _largest(weight.T, rank)
        return Spectrum(V.T, S, U.T)
    right = torch.linalg.eigh(gram(weight)).eigenvectors.flip(1)[:, :rank]
    left = weight @ right  # U S
    values = torch.linalg.vector_norm(left, dim=0)
    known = values > _NO_DIRECTION * values.max()
    S = torch.where(known, values, 0)
    return Spectrum(left * known / values.clamp_min(1e-300), S, (right * known).T)


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
