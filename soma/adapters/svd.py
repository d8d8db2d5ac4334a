"""From a weight matrix to its singular components: pure functions on tensors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .base import is_count

COMPONENTS = ('minor', 'principal', 'random')
# The iteration ends when this is reached: rounding the factors to float32 costs as much.
_TOLERANCE = 1e-7
# Further vectors that the iteration carries along: the more, the faster each step converges.
_GUARD = 48
# A singular value of less than this share of the largest is rounding: it has no direction.
_NO_DIRECTION = 1e-6


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
    singular values). All computation is in float64, on the device of the weight. Of a large matrix
    only the wanted components are computed, by an iteration whose error is bounded; where the
    bound is not met, and for ``'random'``, a full SVD is taken.

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
    check_component(component)
    check_finite(weight)

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


def check_finite(weight: Tensor) -> None:
    """Raise a ``ValueError`` if a weight has no singular components."""
    if not torch.isfinite(weight).all():
        raise ValueError('cannot split a weight that holds NaN or infinity')


def check_component(component: str) -> None:
    """Raise a ``ValueError`` if there is no such choice of components."""
    if component not in COMPONENTS:
        raise ValueError(f'component must be one of {COMPONENTS}, got {component!r}')


def check_rank(
    rank: int, out_features: int, in_features: int, groups: int = 1, name: str = 'rank'
) -> None:
    """Raise a ``ValueError`` if a matrix has no ``rank`` components in each of its groups."""
    if groups < 1 or out_features % groups:
        raise ValueError(f'{groups} groups do not divide the {out_features} outputs of the weight')
    limit = min(out_features // groups, in_features)
    if not is_count(rank) or rank > limit:
        shape = f'{out_features // groups} x {in_features}'
        raise ValueError(
            f'{name} {rank!r} is out of range for a {shape} matrix: choose 1 to {limit}'
        )


def _split_matrix(weight: Tensor, rank: int, component: str) -> tuple[Tensor, Tensor]:
    """Split one float64 matrix ``(out, in)`` into ``A (rank, in)`` and ``B (out, rank)``."""
    if weight.shape[0] < weight.shape[1]:
        b, a = _split_matrix(weight.T, rank, component)
        return a.T, b.T
    right = None
    if component != 'random' and 4 * (rank + _GUARD) <= weight.shape[1]:
        right = _extreme_vectors(weight, rank, smallest=component == 'minor')
    if right is None:
        vectors = torch.linalg.svd(weight, full_matrices=False).Vh.flip(0)  # ascending
        size = len(vectors)
        index = {'minor': torch.arange(rank), 'principal': torch.arange(size - rank, size)}
        index = index[component] if component in index else torch.randperm(size)[:rank]
        right = vectors[index.to(vectors.device)].T
    left = weight @ right  # U S
    root = torch.linalg.vector_norm(left, dim=0).sqrt()
    # A singular value of zero has no direction on the left; its component is zero on both sides.
    return (right * root).T, left / root.clamp_min(torch.finfo(root.dtype).tiny)


def _extreme_vectors(weight: Tensor, rank: int, smallest: bool) -> Tensor | None:
    """Find the right singular vectors of the smallest or largest singular values.

    Shift-and-invert subspace iteration on the Gram matrix, with Rayleigh-Ritz (Parlett, The
    Symmetric Eigenvalue Problem, chapters 4 and 14). Unlike a whole decomposition, nearly all of
    it is products and triangular solves, which stay fast on busy cores.

    Args:
        weight: Shape ``(out, in)``, float64, ``out >= in``.
        rank: Number of vectors.
        smallest: Whether the smallest are wanted.

    Returns:
        Orthonormal vectors of shape ``(in, rank)``, or None if they could not be proven to give
        the component to the tolerance, as where two singular values nearly coincide at the cut.
    """
    # The wanted eigenvalues are the lowest of `matrix` in both cases.
    matrix = gram(weight) if smallest else gram(weight).neg_()
    # Not from PyTorch's own generator: equal weights must give equal bits, whatever was drawn.
    generator = torch.Generator(weight.device).manual_seed(0)
    x = torch.randn(
        len(matrix), rank + _GUARD, generator=generator, dtype=weight.dtype, device=weight.device
    )
    if smallest:
        shift = -1e-14 * matrix.trace().item()  # just below them all
    else:
        for _ in range(6):
            x = torch.linalg.qr(matrix @ (matrix @ x)).Q
        shift = 1.1 * (x * (matrix @ x)).sum(0).min().item()
    # What forming the Gram matrix loses counts as a residual too.
    floor = torch.finfo(weight.dtype).eps * matrix.norm().item()
    factors, steps, done = None, 3, 0
    while done < 60:
        if factors is None:
            shifted = matrix.clone()
            shifted.diagonal().sub_(shift)
            *factors, singular = torch.linalg.lu_factor_ex(shifted)
            if singular.item():
                return None
        for _ in range(steps):
            x = torch.linalg.qr(torch.linalg.lu_solve(*factors, x)).Q
        done += steps
        if not torch.isfinite(x).all():
            return None
        image = matrix @ x
        ritz, turn = torch.linalg.eigh(x.T @ image)
        x = x @ turn
        residual = image @ turn[:, :rank] - x[:, :rank] * ritz[:rank]
        values = ritz.tolist()
        first, last, following = values[0], values[rank - 1], values[rank]
        gap, part = following - last, math.sqrt(sum(map(abs, values[:rank])))
        if gap <= 0 or part == 0:
            return None
        # Davis-Kahan, for the product of weight and projector, relative to the component's norm.
        amplification = math.sqrt(max(abs(last), abs(following))) / gap / part
        error = amplification * max(residual.norm().item(), floor)
        if error < _TOLERANCE:
            break
        if error > 1e30:  # the component is zero but for rounding
            return None
        # Inside the wanted range a shift converges fastest, but only once that range is known.
        better = (first + last) / 2 if error < 1 else first - (last - first) / 4
        remaining = _steps_to_go(values, rank, shift, error)
        if _steps_to_go(values, rank, better, error) + 10 < remaining:  # a factorisation costs 10
            shift, factors = better, None
            remaining = _steps_to_go(values, rank, shift, error)
        steps = max(2, min(remaining, 8 if error < 1e-2 else 4))
    else:
        return None
    # The bound assumes that no eigenvalue up to the middle of the gap was overlooked. This is
    # proven by a Cholesky decomposition: with the found ones lifted, none may be left below it.
    vectors = x[:, :rank]
    matrix.diagonal().sub_(last + gap / 2)
    lifted = matrix.addmm_(vectors, vectors.T, alpha=2 * (following - first))
    return None if torch.linalg.cholesky_ex(lifted).info.item() else vectors


def _steps_to_go(values: list[float], rank: int, shift: float, error: float) -> int:
    """Predict how many iterations with a shift are left, from the Ritz values so far."""
    distance = max(abs(values[0] - shift), abs(values[rank - 1] - shift))
    rate = distance / max(abs(values[-1] - shift), 1e-300)
    return math.ceil(math.log(_TOLERANCE / 10 / error) / math.log(rate)) if 0 < rate < 1 else 60


def gram(weight: Tensor) -> Tensor:
    """``weight.T @ weight``, of which only one half is computed and the other copied."""
    size = weight.shape[1]
    gram = weight.new_empty(size, size)
    for start in range(0, size, 256):
        stop = start + 256
        gram[start:, start:stop] = weight[:, start:].T @ weight[:, start:stop]
        gram[start:stop, stop:] = gram[stop:, start:stop].T
    return gram


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


def decompose_matrix(
    weight: Tensor, ratio: float = 1.0, groups: int = 1, rank: int | None = None
) -> Spectrum:
    """Decompose a weight into all or its largest singular components.

    The eigenvectors of the Gram matrix are computed in float64, which takes a third of the time of
    a singular value decomposition.

    Args:
        weight: Shape ``(out, in)``.
        ratio: Share of the components, at least one of each group.
        groups: Number of matrices of equal size stacked along ``out``.
        rank: Number of the components of each group, in the place of their share.

    Returns:
        The components in the dtype of the weight.

    Raises:
        ValueError: If the weight holds NaN or infinity, or ``groups`` does not divide ``out``.
    """
    rank = spectrum_rank(weight.shape, ratio, groups) if rank is None else rank
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


def spectrum_rank(
    shape: tuple[int, int], ratio: float, groups: int = 1, multiple: int | None = None
) -> int:
    """Number of components of each group of a matrix ``(out, in)`` that make up a share.

    It is the nearest one, or the next lower ``multiple``; at least 1.
    """
    count = ratio * min(shape[0] // groups, shape[1])
    return max(round(count) if multiple is None else int(count) // multiple * multiple, 1)
