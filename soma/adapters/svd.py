"""From a weight matrix to its singular components: pure functions on tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

COMPONENTS = ('minor', 'principal', 'random')


class Components(NamedTuple):
    """Two factors whose product is a part of a weight.

    Attributes:
        A: Shape ``(groups * rank, in)``; rows ``g * rank`` to ``(g + 1) * rank`` belong to group g.
        B: Shape ``(out, rank)``; the rows of group g are ``g * out / groups`` onwards.
    """

    A: Tensor
    B: Tensor


def split_components(
    weight: Tensor, rank: int, component: str = 'minor', groups: int = 1
) -> Components:
    """Take ``rank`` singular components out of a weight, as two balanced factors.

    With ``W = U S V^T`` the factors are ``B = U_r sqrt(S_r)`` and ``A = sqrt(S_r) V_r^T`` of the
    components asked for (SoMA, arXiv 2412.04077, section 3.2, takes the ones with the smallest
    singular values). All computation is in float64, on the device of the weight.

    Args:
        weight: Shape ``(out, in)``.
        rank: Number of components per group.
        component: ``'minor'`` for the smallest singular values, ``'principal'`` for the largest
            (PiSSA, arXiv 2404.02948) or ``'random'`` for a subset drawn from PyTorch's generator.
        groups: Number of matrices of equal size stacked along ``out`` (3 for a fused qkv); each is
            split on its own.

    Returns:
        The factors ``A`` of shape ``(groups * rank, in)`` and ``B`` of shape ``(out, rank)``, in
        the dtype of the weight. :func:`low_rank_product` multiplies them.

    Raises:
        ValueError: If the weight is no finite matrix, ``groups`` does not divide ``out``, the rank
            is out of range or the component unknown.
    """
    if weight.ndim != 2:
        raise ValueError(f'split_components needs a matrix, got the shape {tuple(weight.shape)}')
    out_features, in_features = weight.shape
    check_rank(rank, out_features, in_features, groups)
    if component not in COMPONENTS:
        raise ValueError(f'component must be one of {COMPONENTS}, got {component!r}')
    if not torch.isfinite(weight).all():
        raise ValueError('cannot split a weight that holds NaN or infinity')

    factors = [
        _split_matrix(part, rank, component) for part in weight.detach().double().chunk(groups)
    ]
    return Components(
        torch.cat([a for a, _ in factors]).to(weight.dtype),
        torch.cat([b for _, b in factors]).to(weight.dtype),
    )


def low_rank_product(A: Tensor, B: Tensor, groups: int = 1) -> Tensor:
    """Multiply the factors of :func:`split_components`, group by group.

    Args:
        A: Shape ``(groups * rank, in)``.
        B: Shape ``(out, rank)``.
        groups: Number of stacked matrices.

    Returns:
        Shape ``(out, in)``.
    """
    if groups == 1:
        return B @ A
    product = torch.bmm(B.view(groups, -1, B.shape[1]), A.view(groups, -1, A.shape[1]))
    return product.view(B.shape[0], A.shape[1])


def check_rank(rank: int, out_features: int, in_features: int, groups: int = 1) -> None:
    """Raise a ``ValueError`` if a matrix has no ``rank`` components in each of its groups."""
    if groups < 1 or out_features % groups:
        raise ValueError(f'{groups} groups do not divide the {out_features} outputs of the weight')
    limit = min(out_features // groups, in_features)
    if not 1 <= rank <= limit:
        raise ValueError(
            f'rank {rank} is out of range for a {out_features // groups} x {in_features} matrix: '
            f'choose 1 to {limit}'
        )


def _split_matrix(weight: Tensor, rank: int, component: str) -> tuple[Tensor, Tensor]:
    """Split one float64 matrix ``(out, in)`` into ``A (rank, in)`` and ``B (out, rank)``."""
    # The eigenvectors of the smaller Gram matrix are all that is needed: the other side follows
    # from one product with the weight. In float64 this is several times faster than an SVD and as
    # exact after rounding to float32.
    if weight.shape[0] < weight.shape[1]:
        b, a = _split_matrix(weight.T, rank, component)
        return a.T, b.T
    _, vectors = torch.linalg.eigh(weight.T @ weight)  # ascending
    size = vectors.shape[1]
    if component == 'minor':
        index = torch.arange(rank)
    elif component == 'principal':
        index = torch.arange(size - rank, size)
    else:
        index = torch.randperm(size)[:rank]
    right = vectors[:, index.to(vectors.device)]
    left = weight @ right  # U S
    root = torch.linalg.vector_norm(left, dim=0).sqrt()
    # A singular value of zero has no direction on the left; its component is zero on both sides.
    return (right * root).T, left / root.clamp_min(torch.finfo(root.dtype).tiny)
