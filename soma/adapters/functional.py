"""Linear and convolution with an adapted weight, whose gradients stay low-rank.

Both compute with ``W_eff = W + s (B A - B0 A0)`` in one product, as the plain layer does. Autograd
would form the gradient of ``W_eff``, as large as the weight; these functions form only those of
``A`` and ``B``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .svd import low_rank_product


def weight_delta(A: Tensor, B: Tensor, A0: Tensor, B0: Tensor, scale: float, groups: int) -> Tensor:
    """Compute ``s (B A - B0 A0)``.

    It is evaluated as ``[B - B0, B0] [A; A - A0]``: one product, without cancellation, and exactly
    zero as long as ``A = A0`` and ``B = B0``, whatever the device and its kernels.

    Args:
        A: Shape ``(groups * rank, in)``, like ``A0``.
        B: Shape ``(out, rank)``, like ``B0``.
        A0: Value of ``A`` at the start.
        B0: Value of ``B`` at the start.
        scale: ``alpha / rank``.
        groups: Number of stacked matrices.

    Returns:
        Shape ``(out, in)``.
    """
    left = torch.cat([B - B0, B0], dim=1)
    rows = (groups, -1, A.shape[1])
    right = torch.cat([A.view(rows), (A - A0).view(rows)], dim=1).flatten(0, 1)
    return low_rank_product(right, left * scale, groups)


def _effective_weight(weight: Tensor, *adapter) -> Tensor:
    """Add :func:`weight_delta` to a weight ``(out, in, ...)``, in the weight's own precision."""
    # Under autocast the delta would be rounded to bfloat16 before the sum.
    with torch.autocast(weight.device.type, enabled=False):
        return weight + weight_delta(*adapter).view_as(weight)


class AdaptedLinear(torch.autograd.Function):
    """``y = x W_eff^T + b`` with low-rank gradients."""

    @staticmethod
    def forward(ctx, x, weight, bias, A, B, A0, B0, scale, groups):
        """Apply the adapted layer.

        Args:
            ctx: Autograd's.
            x: Shape ``(..., in)``.
            weight: ``W``, shape ``(out, in)``; never gets a gradient.
            bias: Shape ``(out,)`` or None.
            A: Shape ``(groups * rank, in)``.
            B: Shape ``(out, rank)``.
            A0: Value of ``A`` at the start; never gets a gradient.
            B0: Value of ``B`` at the start; never gets a gradient.
            scale: ``s = alpha / rank``.
            groups: Number of matrices that are stacked in ``W``.

        Returns:
            Shape ``(..., out)``.
        """
        ctx.save_for_backward(x, weight, A, B, A0, B0)
        ctx.scale, ctx.groups = scale, groups
        return F.linear(x, _effective_weight(weight, A, B, A0, B0, scale, groups), bias)

    @staticmethod
    def backward(ctx, grad):
        """Gradients of ``x``, the bias, ``A`` and ``B``; the rest is frozen."""
        x, weight, A, B, A0, B0 = ctx.saved_tensors
        scale, groups = ctx.scale, ctx.groups
        grad_x = grad_bias = grad_A = grad_B = None
        if ctx.needs_input_grad[0]:
            # Forming the weight again is cheaper than keeping one per layer until now.
            effective = _effective_weight(weight, A, B, A0, B0, scale, groups)
            grad_x = (grad @ effective.to(grad.dtype)).to(x.dtype)
        rows, cols = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1]).to(grad.dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = rows.sum(0, dtype=A.dtype)
        if ctx.needs_input_grad[3] or ctx.needs_input_grad[4]:
            grad_A, grad_B = _factor_gradients(rows, cols, A, B, scale, groups)
        return grad_x, None, grad_bias, grad_A, grad_B, None, None, None, None


def _factor_gradients(
    grad: Tensor, x: Tensor, A: Tensor, B: Tensor, scale: float, groups: int
) -> tuple[Tensor, Tensor]:
    """Gradients of the factors from ``grad (n, out)`` and ``x (n, in)``."""
    rank = B.shape[1]
    inner = x @ A.to(x.dtype).T  # (n, groups * rank)
    if groups == 1:
        grad_inner = grad @ B.to(grad.dtype)
        grad_B = grad.T @ inner
    else:
        parts = grad.view(len(grad), groups, -1).transpose(0, 1)  # (groups, n, out / groups)
        factors = B.to(grad.dtype).view(groups, -1, rank)
        grad_inner = torch.bmm(parts, factors).transpose(0, 1).reshape(len(grad), -1)
        inner = inner.view(len(grad), groups, rank).transpose(0, 1)
        grad_B = torch.bmm(parts.transpose(1, 2), inner).reshape_as(B)
    return (grad_inner.T @ x).to(A.dtype) * scale, grad_B.to(B.dtype) * scale


class AdaptedConv2d(torch.autograd.Function):
    """Convolution with an adapted kernel, read as a matrix ``(out, in * kh * kw)``."""

    @staticmethod
    def forward(ctx, x, weight, bias, A, B, A0, B0, scale, conv):
        """Apply the adapted layer.

        Args:
            ctx: Autograd's.
            x: Shape ``(n, in, h, w)``.
            weight: ``W``, shape ``(out, in, kh, kw)``; never gets a gradient.
            bias: Shape ``(out,)`` or None.
            A: Shape ``(rank, in * kh * kw)``.
            B: Shape ``(out, rank)``.
            A0: Value of ``A`` at the start; never gets a gradient.
            B0: Value of ``B`` at the start; never gets a gradient.
            scale: ``s = alpha / rank``.
            conv: ``stride``, ``padding`` and ``dilation`` of the convolution.

        Returns:
            Shape ``(n, out, h', w')``.
        """
        ctx.save_for_backward(x, weight, A, B, A0, B0)
        ctx.scale, ctx.conv = scale, conv
        effective = _effective_weight(weight, A, B, A0, B0, scale, 1)
        return F.conv2d(x, effective, bias, **conv)

    @staticmethod
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
