"""How the values of a tensor in several files become one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor

OPERATIONS = ('mean', 'min', 'trimmed', 'trimean')


def check_average(
    count: int,
    weights_filter: str = '',
    operation: str = 'mean',
    factors: Sequence[float] | None = None,
    rank: int | None = None,
) -> re.Pattern:
    """Check what can be checked of an average before its files are there.

    Args:
        count: Number of files.
        weights_filter: As for :func:`~soma.checkpoints.average_files`.
        operation: As there.
        factors: As there.
        rank: As there.

    Returns:
        The filter.

    Raises:
        ValueError: If an argument makes no sense.
    """
    if count < 2:
        raise ValueError(f'an average needs two files or more, got {count}')
    if rank is not None and not (isinstance(rank, int) and rank > 0):
        raise ValueError(f'rank {rank!r} is out of range: name a whole number above 0')
    if operation not in OPERATIONS:
        raise ValueError(f'operation must be one of {OPERATIONS}, got {operation!r}')
    if operation == 'trimmed' and count < 3:
        raise ValueError('a trimmed mean needs three files or more: two of them are left out')
    if factors is not None:
        if operation != 'mean':
            raise ValueError(f'factors belong to the mean, not to {operation!r}')
        if len(factors) != count or not 0 < abs(sum(factors)) < float('inf'):  # nor NaN
            raise ValueError(f'{count} files need as many factors with a sum, got {list(factors)}')
    try:
        return re.compile(weights_filter)
    except re.error as error:
        raise ValueError(f'{weights_filter!r} is no regular expression: {error}') from error


def combiner(
    operation: str, factors: Sequence[float] | None, count: int
) -> Callable[[list[Tensor]], Tensor]:
    """Make the function that makes one float64 tensor of many.

    Args:
        operation: One of :data:`OPERATIONS`.
        factors: Weight of each tensor in the mean; equal if None.
        count: Number of tensors.
    """
    if operation == 'min':
        return lambda values: reduce(torch.minimum, values).double()
    if operation == 'trimmed':
        return _trimmed_mean
    if operation == 'trimean':
        return _trimean
    weights = [1.0] * count if factors is None else list(factors)
    total = sum(weights)
    # The sum of equal float32 values is exact in float64: frozen weights stay what they are.
    return lambda values: (
        sum(weight * value.double() for weight, value in zip(weights, values, strict=True)) / total
    )


def _trimmed_mean(values: list[Tensor]) -> Tensor:
    """The mean of each entry without its smallest and its largest value."""
    low, high = values[0], values[0]
    lowest = torch.zeros(low.shape, dtype=torch.long, device=low.device)
    highest = torch.zeros_like(lowest)
    for index, value in enumerate(values):
        lowest[value < low] = index
        highest[value >= high] = index  # the last of equals, so that it is not the lowest too
        low, high = torch.minimum(low, value), torch.maximum(high, value)
    kept = sum(
        value.double().masked_fill((lowest == index) | (highest == index), 0)
        for index, value in enumerate(values)
    )
    return kept / (len(values) - 2)


def _trimean(values: list[Tensor]) -> Tensor:
    """Tukey's trimean of each entry: ``(Q1 + 2 Q2 + Q3) / 4`` of its quartiles.

    Where a quartile lies between two values, it is on the line between them, as in numpy.
    """
    ordered = torch.stack([value.double() for value in values]).sort(0).values
    places = (len(values) - 1) * torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    low, share = places.long(), places.frac()
    high = (low + 1).clamp_max(len(values) - 1)
    first, median, third = (
        torch.lerp(ordered[i], ordered[j], float(part))
        for i, j, part in zip(low, high, share, strict=True)
    )
    return (first + 2 * median + third) / 4
