"""Column-pivoted QR decomposition of a weight, in blocks: pure functions on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .svd import check_finite, gram

_BLOCK = 96  # pivots between two products with the whole matrix
_CANDIDATES = 192  # of which the next pivots are chosen without a look at the other columns
# The squared norm of a column that is left over is rounding below this share of the whole matrix.
_ZERO = 1e-28
_PANEL = 32  # columns that are eliminated one after the other
_ROUNDING = 2e-15  # of an entry of a Gram matrix, to the norms of the two columns
_ACCURACY = 1e-8  # of an entry of Q; float32 has 6e-8


class PivotedQR(NamedTuple):
    """``W P = Q R``, its pivots and signs those of LAPACK's ``geqp3``.

    Attributes:
        pivots: The columns of ``W`` in the order of ``P``, shape ``(min(out, in),)``.
        columns: Those of ``Q`` that were asked for, shape ``(out, len(index))``, float64.
    """

    pivots: Tensor
    columns: Tensor


def pivoted_qr(weight: Tensor, index: Sequence[int]) -> PivotedQR:
    """Decompose a weight by QR with column pivoting (Golub and Van Loan, section 5.4.2).

    Each pivot is the column of which the most is left, less what the pivots before it reach.
    LAPACK finds one after the other, at the speed of the memory. Here those of a tall matrix come
    from the Cholesky decomposition of its Gram matrix. That loses digits: where a bound does not
    show that enough are left, the matrix itself is decomposed, the pivots are checked with its R,
    and chosen anew from R where they were wrong. All in float64, on the weight's device.

    Args:
        weight: Shape ``(out, in)``.
        index: Which columns of ``Q``, counted from 0.

    Returns:
        The decomposition. Where nothing but rounding is left, pivots are any.

    Raises:
        ValueError: If the weight holds NaN or infinity.
    """
    check_finite(weight)
    weight = weight.detach().double()
    rows, columns = weight.shape
    if rows < columns:
        return _by_reflections(weight, _choose(weight), index)[0]
    matrix = gram(weight)
    order = _cholesky(matrix)[0]
    if rows > columns:
        Q = _by_gram(weight, matrix, order, index)
        if Q is not None:
            return PivotedQR(order, Q)
    qr, R = _by_reflections(weight, order, index)
    if _is_pivoted(R):
        return qr
    return _by_reflections(weight, order[_choose(R)], index)[0]


def _by_reflections(
    weight: Tensor, order: Tensor, index: Sequence[int]
) -> tuple[PivotedQR, Tensor]:
    """The decomposition by LAPACK with pivots that are known, and its square R."""
    reflectors, tau = torch.geqrf(weight[:, order].T.contiguous().T)  # columns each in one piece
    unit = weight.new_zeros(len(weight), len(index))
    unit[index, range(len(index))] = 1
    return PivotedQR(order, torch.ormqr(reflectors, tau, unit)), reflectors[: len(order)].triu()


def _by_gram(weight: Tensor, matrix: Tensor, order: Tensor, index: Sequence[int]) -> Tensor | None:
    """Columns of Q as ``W P R^-1``, or None if they or the pivots are in doubt.

    What is left of a column after k pivots is ``w - W_k x``, ``|x| <= |R_k^-1| |w|``. The rounding
    of the Gram matrix is in its squared norm at most ``1 + |x|^2`` times.

    Args:
        weight: Shape ``(out, in)``, ``out > in``.
        matrix: Its Gram matrix.
        order: The pivots.
        index: Which columns.
    """
    matrix = matrix[order][:, order]
    R, failed = torch.linalg.cholesky_ex(matrix, upper=True)
    if failed:
        return None
    inverse = torch.linalg.solve_triangular(R, torch.eye(len(R)).to(R), upper=True)
    inverse_norms = inverse.square().sum(0).cumsum(0)  # squared, of each R_k
    rounding = _ROUNDING * matrix.trace()
    left = _left(R)
    margin = left.diagonal() - left.triu(1).amax(1)
    doubt = 2 * rounding * (1 + inverse_norms * matrix.diagonal().max())
    if (margin[:-1] < doubt[:-1]).any() or rounding * inverse_norms[-1] > _ACCURACY:
        return None
    signs = _signs(weight[: len(R), order], R)
    if signs is None:
        return None
    factors = inverse.new_empty(len(R), len(index))
    factors[order] = inverse[:, index] * signs[index]
    return weight @ factors


def _signs(top: Tensor, R: Tensor) -> Tensor | None:
    """What LAPACK makes the signs of R's diagonal, or None if rounding decides.

    It takes the sign that is not the entry's, once reflected. Less the signed R, the first rows of
    the matrix are a lower times an upper triangular one, so that elimination gives the entries
    (Ballard et al., Reconstructing Householder vectors from TSQR, IPDPS 2014, section 4).

    Args:
        top: The first rows of the matrix in the order of the pivots, shape ``(n, n)``.
        R: With a positive diagonal, shape ``(n, n)``.
    """
    R = R.cpu()
    left = top.T.contiguous().cpu()  # its rows are columns
    signs = R.new_empty(len(R))
    for start in range(0, len(R), _PANEL):
        now = slice(start, min(start + _PANEL, len(R)))
        later = slice(now.stop, None)
        panel, block = left[now, start:].numpy(), R[now, now].numpy()  # few rows: numpy is faster
        for k, column in enumerate(panel):
            if not 1e-8 < abs(column[k]) / block[k, k] < 1 - 1e-8:
                return None
            signs[start + k] = sign = -1.0 if column[k] > 0 else 1.0
            panel[k:, k] -= sign * block[k, k:]
            column[k + 1 :] /= column[k]
            panel[k + 1 :, k + 1 :] -= panel[k + 1 :, k, None] * column[k + 1 :]
        upper = left[later, now] - R[now, later].T * signs[now]
        upper = torch.linalg.solve_triangular(
            left[now, now], upper, upper=True, left=False, unitriangular=True
        )
        left[later, later].addmm_(upper, left[now, later], alpha=-1)
    return signs.to(top.device)


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
        candidates = left[index]
        pivots, count = _cholesky(candidates @ candidates.T, least)
        pivots = pivots[: max(1, min(count, missing))]
        index = index[pivots]
        inside = _reflect(left, candidates[pivots].T)
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
    faster where the matrix is small; where it is large, its threads stand in each other's way. On
    the CPU in any case: each pivot is looked at before the next one.
    """
    device, matrix, size = matrix.device, matrix.cpu(), len(matrix)
    if len(matrix) <= 2 * _CANDIDATES:
        from scipy.linalg.lapack import dpstrf  # here, since it takes its time

        _, pivots, count, _ = dpstrf(matrix.numpy(), tol=least)
        return torch.from_numpy(pivots - 1).long().to(device), count
    index, order = np.arange(len(matrix)), []
    left = matrix.diagonal().numpy().copy()
    while len(index):
        block, rest, chosen = np.zeros((min(_BLOCK, len(index)), len(index))), matrix.numpy(), []
        for step, row in enumerate(block):  # numpy: its calls cost less
            pivot = int(left.argmax())
            if not (most := left[pivot]) > least:
                left[chosen] = np.inf
                order += [index[chosen], index[left < np.inf]]
                return torch.from_numpy(np.concatenate(order)).to(device), size - len(index) + step
            np.subtract(rest[pivot], block[:step, pivot] @ block[:step], out=row)
            row *= most**-0.5
            left -= row * row
            left[pivot] = -np.inf
            chosen.append(pivot)
        order.append(index[chosen])
        keep = (left > -np.inf).nonzero()[0]
        left, index = left[keep], index[keep]
        block = torch.from_numpy(block[:, keep])
        matrix = matrix[keep][:, keep].addmm_(block.T, block, alpha=-1)
    return torch.from_numpy(np.concatenate(order)).to(device), size


def _is_pivoted(R: Tensor) -> bool:
    """Whether each pivot had the most left, up to rounding."""
    left = _left(R)
    best = left.triu().amax(1) * (1 - 1e-12) - _ZERO * left[0].sum()
    return bool((left.diagonal() >= best).all())


def _left(R: Tensor) -> Tensor:
    """The squared norm that is left of each column ``(n,)`` at each step ``(n,)``."""
    return R.square().flip(0).cumsum(0).flip(0)
