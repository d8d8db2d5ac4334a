"""Deformable convolution (arXiv 1703.06211), its modulated form (arXiv 1811.11168), gradients."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torchvision import ops

from soma.ops.functional import recompute_grads, steps, upcast

_WINDOW = {'kernel': 'k', 'stride': 'd', 'pad': 'pad', 'dilation': 'dilation'}
_MODULATED_NAME = {f'{s}{x}': f'{name}_{x.lower()}' for name, s in _WINDOW.items() for x in 'WH'}


@torch.no_grad()
def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    im2col_step: int,
    **window: int,
) -> None:
    """Convolve with kernel taps moved by offsets.

    Args:
        input: Shape ``(N, C_in, H, W)``.
        weight: Shape ``(C_out, C_in / group, kH, kW)``.
        offset: ``(y, x)`` of each tap, shape ``(N, 2 * deformable_group * kH * kW, H_out, W_out)``.
        output: Output, shape ``(N, C_out, H_out, W_out)``.
        columns: Scratch space of mmcv, left alone; so is ``ones``.
        ones: As ``columns``.
        im2col_step: Images per step. It need not divide N.
        **window: ``kW, kH, dW, dH`` (the stride), ``padW, padH, dilationW, dilationH, group,
            deformable_group``.

    Raises:
        ValueError: If the groups do not fit the shapes.
    """
    window = _rename(window)
    input, offset, weight = upcast(input), upcast(offset), upcast(weight)
    for rows in steps(len(input), im2col_step):
        output[rows] = _convolve(input[rows], offset[rows], None, weight, **window)


@torch.no_grad()
def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    *,
    im2col_step: int,
    **window: int,
) -> None:
    """Add the gradients of :func:`deform_conv_forward` with respect to input and offset.

    The arguments are those of it, ``grad_output (N, C_out, H_out, W_out)``, and ``grad_input`` and
    ``grad_offset``, to which the gradients are added.
    """
    window = _rename(window)
    input, offset, weight = upcast(input), upcast(offset), upcast(weight)
    grad_output = upcast(grad_output)
    convolve = partial(_convolve, mask=None, weight=weight, **window)
    for rows in steps(len(input), im2col_step):
        moved = _leave_border(offset[rows], **window)
        grads = recompute_grads(convolve, [input[rows], moved], grad_output[rows])
        grad_input[rows] += grads[0]
        grad_offset[rows] += grads[1]


@torch.no_grad()
def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    scale: float,
    im2col_step: int,
    **window: int,
) -> None:
    """Add the gradient of :func:`deform_conv_forward` with respect to the weight, times ``scale``.

    The arguments are those of it, ``grad_output (N, C_out, H_out, W_out)``, and ``grad_weight``, to
    which the gradient is added.
    """
    window = _rename(window)
    input, offset, grad_output = upcast(input), upcast(offset), upcast(grad_output)
    total = input.new_zeros(grad_weight.shape)  # convolution is linear, any weight will do
    weight = torch.zeros_like(total)
    for rows in steps(len(input), im2col_step):
        convolve = partial(_convolve, input[rows], offset[rows], None, **window)
        total += recompute_grads(convolve, [weight], grad_output[rows])[0]
    grad_weight += scale * total


@torch.no_grad()
def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **window: int,
) -> None:
    """Convolve with kernel taps moved by offsets and scaled by a mask.

    Args:
        input: Shape ``(N, C_in, H, W)``.
        weight: Shape ``(C_out, C_in / group, kernel_h, kernel_w)``.
        bias: Shape ``(C_out,)``, used only ``with_bias``.
        ones: Scratch space of mmcv, left alone.
        offset: ``(y, x)`` of each tap,
            shape ``(N, 2 * deformable_group * kernel_h * kernel_w, H_out, W_out)``.
        mask: Shape ``(N, deformable_group * kernel_h * kernel_w, H_out, W_out)``.
        output: Output, shape ``(N, C_out, H_out, W_out)``.
        columns: Scratch space of mmcv, left alone.
        with_bias: Whether to add the bias.
        **window: ``kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w,
            group, deformable_group``.

    Raises:
        ValueError: If the groups do not fit the shapes.
    """
    result = _convolve(upcast(input), upcast(offset), upcast(mask), upcast(weight), **window)
    output.copy_(result + upcast(bias)[:, None, None] if with_bias else result)


@torch.no_grad()
def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **window: int,
) -> None:
    """Add the gradients of :func:`modulated_deform_conv_forward`.

    The arguments are those of it, ``grad_output (N, C_out, H_out, W_out)``, and what the gradients
    are added to, each in the shape of its tensor; ``grad_bias`` only ``with_bias``.
    """
    grad_output = upcast(grad_output)
    offset = _leave_border(upcast(offset), **window)
    inputs = [upcast(input), offset, upcast(mask), upcast(weight)]
    grads = recompute_grads(partial(_convolve, **window), inputs, grad_output)
    for total, grad in zip((grad_input, grad_offset, grad_mask, grad_weight), grads, strict=True):
        total += grad
    if with_bias:
        grad_bias += grad_output.sum(dim=(0, 2, 3))


def _rename(window: dict[str, int]) -> dict[str, int]:
    """Rename the window arguments of deformable convolution to those of its modulated form."""
    return {_MODULATED_NAME.get(name, name): value for name, value in window.items()}


def _leave_border(offset: Tensor, **window: int) -> Tensor:
    """Move taps that lie exactly on -1 to -2, for the gradient.

    The value is zero at both. mmcv's gradient is zero from -1 on; torchvision's is that of the
    inside there, where every tap on a border of padding starts.
    """
    taps = offset.unflatten(1, (-1, window['kernel_h'], window['kernel_w'], 2)).clone()
    for axis, side in enumerate('hw'):
        part = taps.select(4, axis)  # (N, deformable_group, kernel_h, kernel_w, H_out, W_out)
        tap, place = (torch.arange(part.shape[axis + d], device=part.device) for d in (2, 4))
        tap, place = tap * window[f'dilation_{side}'], place * window[f'stride_{side}']
        start = tap[:, None, None] + place - window[f'pad_{side}']
        start = start[..., None] if side == 'h' else start
        part -= (part + start == -1).to(part)
    return taps.flatten(1, 4)


def _convolve(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    *,
    group: int,
    deformable_group: int,
    **window: int,
) -> Tensor:
    """Run torchvision's operator, which infers the groups from the shapes, where they agree."""
    if input.shape[1] != group * weight.shape[1]:
        raise ValueError(
            f'a weight of shape {tuple(weight.shape)} in {group} groups does not fit an input of '
            f'{input.shape[1]} channels'
        )
    kernel, *others = ((window[f'{name}_h'], window[f'{name}_w']) for name in _WINDOW)
    if offset.shape[1] != 2 * deformable_group * kernel[0] * kernel[1]:
        raise ValueError(
            f'{deformable_group} deformable groups of a {kernel[0]} x {kernel[1]} kernel do not '
            f'fit an offset of {offset.shape[1]} channels'
        )
    return ops.deform_conv2d(input, offset, weight, None, *others, mask)  # without a bias
