"""Column-pivoted QR decomposition of a weight, in blocks: pure functions on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .svd import check_finite, gram

_BLOCK = 96  # pivots between two products with the whole matrix
_CANDIDATES = 192  # of which the next pivots are chosen without a look at the other columns
# The squared norm of a column that is left over is rounding below this share of the whole matrix.
_ZERO = 1e-28


class PivotedQR(NamedTuple):
    """``W P = Q R``, its pivots and signs those of LAPACK's ``geqp3``.

    Attributes:
        pivots: The columns of ``W`` in the order of ``P``, shape ``(min(out, in),)``.
        reflectors: What ``Q`` is made of, as ``torch.geqrf`` returns it.
        tau: Likewise.
    """

    pivots: Tensor
    reflectors: Tensor
    tau: Tensor

    def columns(self, index: Sequence[int]) -> Tensor:
        """Columns of ``Q``, shape ``(out, len(index))``, float64."""
        unit = self.reflectors.new_zeros(len(self.reflectors), len(index))
        unit[index, range(len(index))] = 1
        return torch.ormqr(self.reflectors, self.tau, unit)


def pivoted_qr(weight: Tensor) -> PivotedQR:
    """Decompose a weight by QR with column pivoting (Golub and Van Loan, section 5.4.2).

    Each pivot is the column of which the most is left, less what the pivots before it reach.
    LAPACK finds one after the other, at the speed of the memory. Here the pivots of a tall matrix
    come from the Cholesky decomposition of its Gram matrix, which loses digits: they are checked
    with R, and chosen anew from R where they were wrong. All in float64, on the weight's device.

    Args:
        weight: Shape ``(out, in)``.

    Returns:
        The decomposition. Where nothing but rounding is left, pivots are any.

    Raises:
        ValueError: If the weight holds NaN or infinity.
    """
    check_finite(weight)
    weight = weight.detach().double()
    rows, columns = weight.shape
    if rows < columns:
        order = _choose(weight)
    else:
        order = _cholesky(gram(weight))[0]
        factors = torch.geqrf(_chosen(weight, order))
        R = factors[0][:columns].triu()
        if _is_pivoted(R):
            return PivotedQR(order, *factors)
        order = order[_choose(R)]
    return PivotedQR(order, *torch.geqrf(_chosen(weight, order)))


def _chosen(matrix: Tensor, order: Tensor) -> Tensor:
    """Columns of a matrix, each in one piece, as LAPACK wants them."""
    return matrix.T.contiguous()[order].T


def _choose(matrix: Tensor) -> Tensor:
    """Choose the pivots of a matrix ``(m, n)``, ``m <= n``, block by block.

    What is left of a column only gets less. So, among some that have the most left, pivots can be
    chosen by themselves for as long as the best one has more left than any other column had.
    """
    left = matrix.T.contiguous()  # (n, m), turned so that the first pivots lie in the first entries
    squares = left.square().sum(1)
    zero, known = _ZERO * squares.sum(), squares.max()
    order = squares.new_empty(0, dtype=torch.long)
    while missing := len(matrix) - len(order):
        others = len(left) - len(order)
        best, index = squares.topk(min(_CANDIDATES + 1, others))
        if best[0] <= zero:
            return torch.cat([order, squares.topk(missing).indices])
        index = index[:_CANDIDATES]
        least = 1e-6 * best[0].item()  # below, the Gram matrix has lost digits
        if others > len(index):
            least = max(least, best[-1].item())
        pivots, count = _cholesky(left[index] @ left[index].T, least)
        index = index[pivots[: max(1, min(count, missing))]]
        inside = _reflect(left, left[index].T)
        squares -= inside.square().sum(1)
        left = left[:, len(index) :]
        if squares.max() < 1e-3 * known:  # differences lose digits
            squares = left.square().sum(1)
            known = squares.max()
        order = torch.cat([order, index])
        squares[order] = -torch.inf
    return order


def _reflect(rows: Tensor, block: Tensor) -> Tensor:
    """Turn rows ``(n, m)``, in place, by the reflections that make ``block (m, k)`` triangular.

    Returns:
        The first k entries of each.
    """
    V, tau = torch.geqrf(block)
    V = V.tril(-1)
    V.diagonal().fill_(1)
    T = (V.T @ V).triu(1)  # inverted: the compact WY form
    T.diagonal().copy_(1 / tau)
    products = torch.linalg.solve_triangular(T, rows @ V, upper=True, left=False)
    rows.addmm_(products, V.T, alpha=-1)
    return rows[:, : len(tau)]


def _cholesky(matrix: Tensor, least: float = 0.0) -> tuple[Tensor, int]:
    """Pivots of a Gram matrix ``(n, n)``, and how many of them have more than ``least`` left.

    Golub and Van Loan, section 4.2.8: a block of pivots at a time, then the rest at once. LAPACK is
    faster where the matrix is small; where it is large, its threads stand in each other's way.
    """
    if len(matrix) <= 2 * _CANDIDATES:
        from scipy.linalg.lapack import dpstrf  # here, since it takes its time

        _, pivots, count, _ = dpstrf(matrix.cpu().numpy(), tol=least)
        return torch.from_numpy(pivots - 1).long().to(matrix.device), count
    rest, left = matrix, matrix.diagonal().clone()
    index, order = torch.arange(len(matrix), device=matrix.device), []
    while len(index):
        block, chosen = rest.new_zeros(min(_BLOCK, len(index)), len(index)), []
        for step, row in enumerate(block):
            pivot = int(left.argmax())
            if not (most := left[pivot].item()) > least:
                left[chosen] = torch.inf
                others = index[left < torch.inf]
                return torch.cat([*order, index[chosen], others]), sum(map(len, order)) + step
            torch.addmv(rest[pivot], block[:step].T, block[:step, pivot], alpha=-1, out=row)
            row.mul_(most**-0.5)
            left.addcmul_(row, row, value=-1)
            left[pivot] = -torch.inf
            chosen.append(pivot)
        order.append(index[chosen])
        keep = (left > -torch.inf).nonzero()[:, 0]
        block, left, index = block[:, keep], left[keep], index[keep]
        rest = rest[keep][:, keep].addmm_(block.T, block, alpha=-1)
    return torch.cat(order), len(matrix)


def _is_pivoted(R: Tensor) -> bool:
    """Whether each pivot had the most left, up to rounding."""
    left = R.square().flip(0).cumsum(0).flip(0)  # (step, column)
    best = left.triu().amax(1) * (1 - 1e-12) - _ZERO * left[0].sum()
    return bool((left.diagonal() >= best).all())
