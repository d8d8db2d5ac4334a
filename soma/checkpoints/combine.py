"""How the values of a tensor in several files become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor

OPERATIONS = ('mean', 'min', 'trimmed')


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
