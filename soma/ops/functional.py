"""What the operators share: precision, steps, and gradients by recomputation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor


def upcast(x: Tensor) -> Tensor:
    """Return ``x`` in the precision to compute in: float64 as it is, anything else in float32.

    Half precision lacks kernels on the CPU, and digits where many terms are summed.
    """
    return x if x.dtype == torch.float64 else x.float()


def steps(total: int, size: int) -> Iterator[slice]:
    """Yield the slices of at most ``size`` elements that cover ``range(total)``."""
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def recompute_grads(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], grad_output: Tensor
) -> tuple[Tensor, ...]:
    """Compute the gradients of ``function(*inputs)`` by running it once more.

    ``grad_output`` is that of the output, in its shape; so is the gradient of each input.
    """
    inputs = [x.detach().requires_grad_() for x in inputs]
    with torch.enable_grad():
        output = function(*inputs)
    return torch.autograd.grad(output, inputs, grad_output)
