"""Linear and convolution with an adapted weight, whose gradients stay low-rank.

Both compute with ``W_eff = W + s (B A - B0 A0)``. Autograd would form the gradient of ``W_eff``, as
large as the weight; these functions form only those of ``A`` and ``B``.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .svd import low_rank_product


def delta_factors(
    A: Tensor, B: Tensor, A0: Tensor, B0: Tensor, scale: float, groups: int
) -> tuple[Tensor, Tensor]:
    """Write ``s (B A - B0 A0)`` as one product, ``[s (B - B0), s B0] [A; A - A0]``.

    So there is no cancellation, and it is exactly zero as long as ``A = A0`` and ``B = B0``,
    whatever the device and its kernels.

    Args:
        A: Shape ``(groups * rank, in)``, like ``A0``.
        B: Shape ``(out, rank)``, like ``B0``.
        A0: Value of ``A`` at the start, or of shape ``(0, in)`` where nothing is subtracted.
        B0: Value of ``B`` at the start, or of shape ``(out, 0)``.
        scale: ``alpha / rank``.
        groups: Number of stacked matrices.

    Returns:
        The right factor ``(groups * 2 rank, in)`` and the left one ``(out, 2 rank)``; of half the
        rank where nothing is subtracted.
    """
    if not len(A0):
        return A, B * scale
    rows = (groups, -1, A.shape[1])
    right = torch.cat([A.view(rows), (A - A0).view(rows)], dim=1).flatten(0, 1)
    return right, torch.cat([B - B0, B0], dim=1) * scale


def weight_delta(A: Tensor, B: Tensor, A0: Tensor, B0: Tensor, scale: float, groups: int) -> Tensor:
    """Compute ``s (B A - B0 A0)``, shape ``(out, in)``, from what :func:`delta_factors` takes."""
    return low_rank_product(*delta_factors(A, B, A0, B0, scale, groups), groups)


def _effective_weight(weight: Tensor, *adapter) -> Tensor:
    """Add :func:`weight_delta` to a weight ``(out, in, ...)``, in the adapter's precision."""
    # Under autocast the delta would be rounded to bfloat16 before the sum.
    with torch.autocast(weight.device.type, enabled=False):
        right, left = delta_factors(*adapter)
        groups = adapter[-1]
        matrices = weight.flatten(1).to(left.dtype).unflatten(0, (groups, -1))
        left, right = left.unflatten(0, (groups, -1)), right.unflatten(0, (groups, -1))
        return torch.baddbmm(matrices, left, right).view(weight.shape)


class AdaptedLinear(torch.autograd.Function):
    """``y = x W_eff^T + b`` with low-rank gradients.

    For many tokens ``W_eff`` is formed, and formed again in the backward pass, which is cheaper
    than keeping one per layer. For few, thin products beside that with ``W`` are cheaper still. A
    weight of lower precision than its adapter always takes this way: ``W_eff`` would be rounded.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, A, B, A0, B0, scale, groups):
        """Map ``x``, shape ``(..., in)``, to ``(..., out)``.

        ``weight`` is ``(out, in)``, ``A`` ``(groups * rank, in)``, ``B`` ``(out, rank)`` and
        ``bias`` ``(out,)`` or None; ``A0`` and ``B0`` as for :func:`delta_factors`. ``scale`` is
        ``alpha / rank``. ``weight``, ``A0`` and ``B0`` never get a gradient.
        """
        ctx.scale, ctx.groups, ctx.dtype = scale, groups, x.dtype
        x = x.to(_product_dtype(x))  # once, and what is kept is smaller then
        tokens = math.prod(x.shape[:-1])
        if tokens * sum(weight.shape) >= 2 * weight.numel() and weight.dtype == A.dtype:
            ctx.save_for_backward(x, weight, A, B, A0, B0)
            weight = _effective_weight(weight, A, B, A0, B0, scale, groups)
            return _no_view(F.linear(x, weight, bias))
        y = _no_view(F.linear(x, weight.to(x.dtype), bias))
        with torch.autocast(x.device.type, enabled=False):
            right, left = (f.to(y.dtype) for f in delta_factors(A, B, A0, B0, scale, groups))
            inner = x.reshape(tokens, x.shape[-1]) @ right.T  # (tokens, groups * 2 rank)
            _add_product(y.view(tokens, y.shape[-1]), inner, left, groups)
        parts = len(right) // len(A)
        inner = inner.view(tokens, groups, parts, B.shape[1])[:, :, 0].flatten(1).contiguous()
        ctx.save_for_backward(x, weight, A, B, A0, B0, inner)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Gradients of ``x``, the bias, ``A`` and ``B``; the rest is frozen."""
        with torch.autocast(grad.device.type, enabled=False):
            return _linear_gradients(ctx, grad)


def _no_view(y: Tensor) -> Tensor:
    """The same tensor as no view of another, which autograd lets nobody change in place."""
    return torch.ops.aten._unsafe_view(y, y.shape)


def _linear_gradients(ctx, grad: Tensor) -> tuple:
    """The backward pass of :class:`AdaptedLinear`."""
    x, weight, A, B, A0, B0, *inner = ctx.saved_tensors
    scale, groups = ctx.scale, ctx.groups
    grad_x = grad_bias = grad_A = grad_B = None
    dtype = grad.dtype
    tokens = math.prod(x.shape[:-1])
    rows, cols = grad.reshape(tokens, grad.shape[-1]), x.reshape(tokens, x.shape[-1])
    if inner:  # beside W
        (inner,) = inner
        right, left = (f.to(dtype) for f in delta_factors(A, B, A0, B0, scale, groups))
        grad_inner = _group_products(rows, left, groups)  # (tokens, groups * 2 rank)
        if ctx.needs_input_grad[0]:
            grad_x = (rows @ weight.to(dtype)).addmm_(grad_inner, right)
        parts = len(right) // len(A)
        grad_inner = grad_inner.view(tokens, groups, parts, B.shape[1]).sum(2).flatten(1)
    else:
        if ctx.needs_input_grad[0]:
            grad_x = rows @ _effective_weight(weight, A, B, A0, B0, scale, groups).to(dtype)
        inner = cols @ A.to(dtype).T
        grad_inner = _group_products(rows, (B * scale).to(dtype), groups)
    if grad_x is not None:
        grad_x = grad_x.view(x.shape).to(ctx.dtype)
    if ctx.needs_input_grad[2]:
        grad_bias = rows.sum(0).to(A.dtype)
    if ctx.needs_input_grad[3]:
        grad_A = (grad_inner.T @ cols).to(A.dtype)
    if ctx.needs_input_grad[4]:
        parts = zip(rows.chunk(groups, 1), inner.chunk(groups, 1), strict=True)
        # As part.T @ inputs it takes up to thirty times as long on some CPUs.
        grad_B = torch.cat([(inputs.T @ part).T for part, inputs in parts]).to(B.dtype) * scale
    return grad_x, None, grad_bias, grad_A, grad_B, None, None, None, None


def _product_dtype(x: Tensor) -> torch.dtype:
    """The dtype of a product with ``x``, which autocast decides."""
    return torch.mm(x.new_empty(0, 0), x.new_empty(0, 0)).dtype


def _add_product(y: Tensor, inner: Tensor, left: Tensor, groups: int) -> None:
    """Add to ``y (n, out)``, group by group, ``inner (n, groups * r)`` times ``left^T``."""
    parts = (y.chunk(groups, 1), inner.chunk(groups, 1), left.chunk(groups))
    for out, inputs, factor in zip(*parts, strict=True):
        out.addmm_(inputs, factor.T)


def _group_products(rows: Tensor, left: Tensor, groups: int) -> Tensor:
    """Multiply ``rows (n, out)``, group by group, with ``left (out, r)``: ``(n, groups * r)``."""
    parts = zip(rows.chunk(groups, 1), left.chunk(groups), strict=True)
    return torch.cat([part @ factor for part, factor in parts], dim=1)


class AdaptedConv2d(torch.autograd.Function):
    """Convolution with an adapted kernel, read as a matrix ``(out, in * kh * kw)``."""

    @staticmethod
    def forward(ctx, x, weight, bias, A, B, A0, B0, scale, conv):
        """Map ``x``, shape ``(n, in, h, w)``, to ``(n, out, h', w')``.

        ``weight`` is ``(out, in, kh, kw)``, ``A`` ``(rank, in * kh * kw)``, ``B`` ``(out, rank)``
        and ``bias`` ``(out,)`` or None; ``conv`` holds stride, padding and dilation. ``weight``,
        ``A0`` and ``B0`` never get a gradient.
        """
        ctx.save_for_backward(x, weight, A, B, A0, B0)
        ctx.scale, ctx.conv = scale, conv
        effective = _effective_weight(weight, A, B, A0, B0, scale, 1)
        return F.conv2d(x, effective, bias, **conv)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Gradients of ``x``, the bias, ``A`` and ``B``; the rest is frozen."""
        x, weight, A, B, A0, B0 = ctx.saved_tensors
        conv = ctx.conv
        grad_x = grad_bias = grad_A = grad_B = None
        cols = x.to(grad.dtype)
        if ctx.needs_input_grad[0]:
            effective = _effective_weight(weight, A, B, A0, B0, ctx.scale, 1).to(grad.dtype)
            grad_x = torch.nn.grad.conv2d_input(x.shape, effective, grad, **conv).to(x.dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = grad.sum((0, 2, 3), dtype=A.dtype)
        if ctx.needs_input_grad[3] or ctx.needs_input_grad[4]:
            # B A is a convolution with r kernels, then one of 1 x 1.
            kernels = A.to(grad.dtype).view(-1, *weight.shape[1:])
            inner = F.conv2d(cols, kernels, **conv)
            grad_B = torch.einsum('nohw,nrhw->or', grad, inner).to(B.dtype) * ctx.scale
            grad_inner = torch.einsum('nohw,or->nrhw', grad, B.to(grad.dtype))
            grad_A = torch.nn.grad.conv2d_weight(cols, kernels.shape, grad_inner, **conv)
            grad_A = grad_A.flatten(1).to(A.dtype) * ctx.scale
        return grad_x, None, grad_bias, grad_A, grad_B, None, None, None, None
