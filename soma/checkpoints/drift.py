"""Singular values of weights, and where training has changed them: pure functions on tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from operator import mul
from typing import NamedTuple

import torch
from torch import Tensor

from .matrices import each_matrix, unmatched
from .subspaces import Learned, effective_rank, learned, mean_learned


class SpectrumSummary(NamedTuple):
    """The singular values of a matrix, and what they say.

    Attributes:
        shape: Rows and columns.
        values: Singular values, the largest first.
        energy: Sum of their squares, the squared Frobenius norm.
        minor: Share of the energy in the components with the smallest values, 0 to 1.
        effective_rank: ``exp(H(p))`` with the entropy H of ``p_i = S_i / sum(S)`` (Roy and
            Vetterli, The effective rank, EUSIPCO 2007); 0 of a matrix of zeros.
        condition: The largest value over the smallest; None if that is zero in float64.
    """

    shape: tuple[int, int]
    values: tuple[float, ...]
    energy: float
    minor: float
    effective_rank: float
    condition: float | None


class Shares(NamedTuple):
    """How the energy ``||D||_F^2`` of a change lies to the components of the base ``U S V^T``.

    Attributes:
        principal: Share that maps principal inputs to principal outputs, ``U_p^T D V_p``.
        minor: Share of ``U_m^T D V_m``.
        between: Share of ``U_p^T D V_m`` and ``U_m^T D V_p``.
        outside: What no component of a matrix that is not square reaches.
    """

    principal: float = 0.0
    minor: float = 0.0
    between: float = 0.0
    outside: float = 0.0


class Drift(NamedTuple):
    """How far a matrix has moved from its base, and where to.

    Attributes:
        energy: ``||W||_F^2`` of the base.
        change: ``||D||_F / ||W||_F``, with D the trained matrix less the base.
        shares: Of the energy of D; all 0 if nothing has changed.
        isotropic: The shares that a change without any direction would have. In a square matrix
            cut in half: 25 % principal, 25 % minor, 50 % between.
        leading: Overlap of the leading singular subspaces before and after, mean of the left and
            the right: ``||V_r^T V'_r||_F^2 / r`` (LoRA, arXiv 2106.09685, section 7.2). 1 if they
            are the same, about r / n for random ones among n components.
        trailing: The same for the components with the smallest values.
        learned: What the change is made of; None if nothing but rounding has changed.
    """

    energy: float
    change: float
    shares: Shares
    isotropic: Shares
    leading: float
    trailing: float
    learned: Learned | None = None


def spectrum(matrix: Tensor, rank: int = 16) -> SpectrumSummary:
    """Compute the singular values of a matrix in float64.

    Args:
        matrix: Shape ``(out, in)``.
        rank: Number of components that count as minor; all of a matrix that has no more.

    Returns:
        The values and what they say.

    Raises:
        ValueError: If the matrix holds NaN or infinity, or ``rank`` is less than 1.
    """
    _check(matrix, rank)
    values = torch.linalg.svdvals(matrix.double())
    energies = values.square()
    energy = energies.sum().item()
    smallest, largest = values[-1].item(), values[0].item()
    regular = smallest > torch.finfo(values.dtype).eps * max(matrix.shape) * largest
    return SpectrumSummary(
        shape=tuple(matrix.shape),
        values=tuple(values.tolist()),
        energy=energy,
        minor=energies[-rank:].sum().item() / energy if energy else 0.0,
        effective_rank=effective_rank(values),
        condition=largest / smallest if regular else None,
    )


def matrix_drift(
    base: Tensor, trained: Tensor, rank: int = 16, nominal: int | None = None
) -> Drift:
    """Find out how far a matrix has moved and to which components of its base.

    Args:
        base: Shape ``(out, in)``.
        trained: The same shape.
        rank: Number of components in the subspaces whose overlap is taken.
        nominal: Rank of the adapter that made the change; None if it is unknown.

    Returns:
        Size and place of the change, all computed in float64.

    Raises:
        ValueError: If a matrix holds NaN or infinity or is zero, the shapes differ, or rank < 1.
    """
    for matrix in (base, trained):
        _check(matrix, rank)
    if base.shape != trained.shape:
        raise ValueError(f'the shapes {list(base.shape)} and {list(trained.shape)} differ')
    base, trained = base.double(), trained.double()
    energy = base.square().sum().item()
    if not energy:
        raise ValueError('the base is zero, so nothing can be said relative to it')
    rows, columns = base.shape
    size = min(rows, columns)
    principal = max(1, round(size / 2))  # the others are the minor ones
    isotropic = _shares(rows * columns, principal * principal, (size - principal) ** 2, size * size)
    change = trained - base
    changed = change.square().sum().item()
    if not changed:  # also saves most of the work on frozen layers
        return Drift(energy, 0.0, Shares(), isotropic, 1.0, 1.0)

    before = torch.linalg.svd(base, full_matrices=False)
    after = torch.linalg.svd(trained, full_matrices=False)
    inside = (before.U.T @ change @ before.Vh.T).square()
    parts = (inside[:principal, :principal], inside[principal:, principal:], inside)
    rank = min(rank, size)
    return Drift(
        energy=energy,
        change=(changed / energy) ** 0.5,
        shares=_shares(changed, *(part.sum().item() for part in parts)),
        isotropic=isotropic,
        leading=_overlap(before, after, slice(rank)),
        trailing=_overlap(before, after, slice(size - rank, None)),
        learned=learned(change, *before, rank, nominal),
    )


def spectra(matrices: Mapping[str, Tensor], rank: int = 16) -> dict[str, SpectrumSummary]:
    """Compute :func:`spectrum` of many matrices side by side; a long work shows its progress."""
    jobs = {name: (matrix,) for name, matrix in matrices.items()}
    return each_matrix(partial(spectrum, rank=rank), jobs, 1, 'singular values')


def drift(
    base: Mapping[str, Tensor],
    trained: Mapping[str, Tensor],
    rank: int = 16,
    nominal: Mapping[str, int] | None = None,
) -> dict[str, Drift]:
    """Compare the matrices of two state dicts that have the same name and shape.

    Args:
        base: As :func:`weight_matrices` makes it.
        trained: Likewise. What cannot be compared is left out, see
            :func:`~soma.checkpoints.matrices.unmatched`.
        rank: As for :func:`matrix_drift`.
        nominal: Likewise, by name; a name may be missing.

    Returns:
        Drifts by name, in the order of ``base``. A long work shows its progress.

    Raises:
        ValueError: If there is nothing to compare; else as :func:`matrix_drift`.
    """
    skipped = unmatched(base, trained)
    ranks = nominal or {}
    jobs = {
        name: (base[name], trained[name], rank, ranks.get(name))
        for name in base
        if name not in skipped
    }
    if not jobs:
        reasons = ', '.join(f'{name} ({reason})' for name, reason in [*skipped.items()][:3])
        raise ValueError(f'no layer can be compared: {reasons} ...')
    return each_matrix(matrix_drift, jobs, 4.5, 'comparing')


def total_drift(drifts: Iterable[Drift]) -> Drift:
    """Add up the drifts of several matrices.

    The change is that of all of them as one vector, the shares are those of its energy, and the
    overlaps and ranks are means over the matrices.

    Raises:
        ValueError: If there are none.
    """
    drifts = list(drifts)
    if not drifts:
        raise ValueError('there is no drift to add up')
    energies = [each.energy * each.change**2 for each in drifts]
    energy, changed = sum(each.energy for each in drifts), sum(energies)
    weights = [each / changed if changed else 0.0 for each in energies]

    def mean(name: str) -> Shares:
        columns = zip(*(getattr(each, name) for each in drifts), strict=True)
        return Shares(*(sum(map(mul, weights, column)) for column in columns))

    return Drift(
        energy=energy,
        change=(changed / energy) ** 0.5,
        shares=mean('shares'),
        isotropic=mean('isotropic'),
        leading=sum(each.leading for each in drifts) / len(drifts),
        trailing=sum(each.trailing for each in drifts) / len(drifts),
        learned=mean_learned(each.learned for each in drifts),
    )


def _overlap(before: NamedTuple, after: NamedTuple, part: slice) -> float:
    """Overlap of the subspaces of some components of two SVDs, 0 to 1."""
    left = before.U[:, part].T @ after.U[:, part]
    right = before.Vh[part] @ after.Vh[part].T
    return (left.square().sum() + right.square().sum()).item() / (2 * len(right))


def _check(matrix: Tensor, rank: int) -> None:
    if rank < 1:
        raise ValueError(f'rank must be at least 1, got {rank}')
    if not torch.isfinite(matrix).all():
        raise ValueError('its weight holds NaN or infinity')


def _shares(total: float, principal: float, minor: float, inside: float) -> Shares:
    """Shares from energies: of all, of three parts, the last of which holds the other two."""
    parts = (principal, minor, inside - principal - minor, total - inside)
    return Shares(*(max(0.0, part) / total for part in parts))  # rounding may leave less than 0
