"""What a learned change of a weight is made of: pure functions on tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ..adapters.svd import decompose_matrix


class Learned(NamedTuple):
    """How many directions a change uses, and how they lie to the components of its base.

    Attributes:
        rank: The nominal one, of the adapter; else the number of singular values above rounding.
            ``B A - B0 A0`` may have up to twice the rank of the adapter.
        effective_rank: As that of a :class:`~soma.checkpoints.drift.SpectrumSummary`.
        principal: Overlap of the leading directions of the change with the principal components
            of the base, ``||U_D^T U_p||_F^2 / k`` of k directions, mean of the left and the right:
            the mean squared cosine of the principal angles. 1 if all lie in their subspace.
        minor: The same with the minor components.
        chance: What random directions would have, ``r / n`` of r components among n.
    """

    rank: float
    effective_rank: float
    principal: float
    minor: float
    chance: float

    @property
    def used(self) -> float:
        """Share of the nominal rank that is effective."""
        return self.effective_rank / self.rank


def effective_rank(values: Tensor) -> float:
    """``exp(H(p))`` with the entropy H of ``p_i = S_i / sum(S)``; 0 of zeros.

    Roy and Vetterli, The effective rank, EUSIPCO 2007.
    """
    total = values.sum()
    return torch.special.entr(values / total).sum().exp().item() if total else 0.0


def learned(
    change: Tensor, left: Tensor, values: Tensor, right: Tensor, rank: int, nominal: int | None
) -> Learned | None:
    """Find out what a change is made of.

    Singular values of the change that rounding the weights to float32 may have made count as zero.

    Args:
        change: Shape ``(out, in)``, float64.
        left: Left singular vectors of the base, shape ``(out, n)``.
        values: Its singular values, shape ``(n,)``, the largest first.
        right: Its right singular vectors, shape ``(n, in)``.
        rank: Number of components that are principal, and minor; of the change as many directions.
        nominal: Rank of the adapter; None if it is unknown.

    Returns:
        What was found; None if all of the change is rounding.
    """
    parts = decompose_matrix(change)
    rounding = torch.finfo(torch.float32).eps * values[0]
    count = int(parts.S.gt(rounding).sum())
    if not count:
        return None
    rank = min(rank, len(values))
    first = slice(min(rank, count))
    across, along = parts.U[:, first].T @ left, right @ parts.V[first].T

    def overlap(part: slice) -> float:
        energy = across[:, part].square().sum() + along[part].square().sum()
        return energy.item() / (2 * len(across))

    return Learned(
        rank=nominal or count,
        effective_rank=effective_rank(parts.S[:count]),
        principal=overlap(slice(rank)),
        minor=overlap(slice(len(values) - rank, None)),
        chance=sum(rank / side for side in change.shape) / 2,
    )


def mean_learned(several: Iterable[Learned | None]) -> Learned | None:
    """The means over several matrices, those that have changed; None if none has."""
    several = [each for each in several if each is not None]
    if not several:
        return None
    return Learned(*(sum(column) / len(several) for column in zip(*several, strict=True)))
