"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159, equation 3), gradients.

A bilinear sample is a weighted sum of four pixels, and attention a weighted sum of samples: both
at once are what ``embedding_bag`` sums, so that no sample is ever stored. The maps of all levels
lie in one table with a border of zeros, where the four neighbours of a point are the same steps
apart on every level. The gradient of the value is a bag for each pixel, over the points that fall
beside it. The backward pass keeps nothing but the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from soma.ops.functional import upcast


@torch.no_grad()
def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Sum bilinear samples of all levels, weighted by the attention.

    Args:
        value: Maps of all levels, one after the other, shape ``(N, S, M, D)`` with M heads.
        value_spatial_shapes: Height and width of each level, shape ``(L, 2)``.
        value_level_start_index: Of mmcv's operator; it follows from the shapes.
        sampling_locations: ``(x, y)``, 0 to 1 across the map, shape ``(N, Q, M, L, P, 2)``.
        attention_weights: Shape ``(N, Q, M, L, P)``.
        im2col_step: Of mmcv's operator; nothing here goes by steps.

    Returns:
        Shape ``(N, Q, M * D)``.
    """
    levels = value_spatial_shapes.tolist()  # one wait for the GPU
    return _forward(value, levels, sampling_locations, attention_weights)


@torch.no_grad()
def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Add the gradients of :func:`ms_deform_attn_forward`.

    The arguments are those of it, ``grad_output (N, Q, M * D)``, and what the gradients are added
    to, each in the shape of its tensor.
    """
    levels = value_spatial_shapes.tolist()
    grads = _backward(value, levels, sampling_locations, attention_weights, grad_output)
    for total, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads, strict=True):
        total += grad


def ms_deform_attn(
    value: Tensor,
    value_spatial_shapes: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Compute what mmcv's ``multi_scale_deformable_attn_pytorch`` does, with its arguments.

    mmcv calls that one where its compiled operator does not go: on CPUs, and in bfloat16. The
    arguments are those of :func:`ms_deform_attn_forward`; so is the result ``(N, Q, M * D)``, in
    the dtype of ``value``.
    """
    if torch.onnx.is_in_onnx_export():  # mmcv's formula is made of what ONNX has
        formula = ms_deform_attn.__wrapped__
        return formula(value, value_spatial_shapes, sampling_locations, attention_weights)
    levels = torch.as_tensor(value_spatial_shapes).tolist()
    return _Attention.apply(value, levels, sampling_locations, attention_weights)


class _Attention(torch.autograd.Function):
    """:func:`ms_deform_attn` with its gradient."""

    @staticmethod
    def forward(ctx, value, levels, locations, attention):
        ctx.save_for_backward(value, locations, attention)
        ctx.levels = levels
        return _forward(value, levels, locations, attention)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        value, locations, attention = ctx.saved_tensors
        grads = _backward(value, ctx.levels, locations, attention, grad)
        return grads[0], None, *grads[1:]


class _Points(NamedTuple):
    """Where the samples are taken: B bags (image, query, head) of K points (level, point).

    Attributes:
        index: Row of a point's upper left pixel in the table, shape ``(B, K)``.
        x: How far it is from there to the right pixel, 0 to 1, shape ``(B, K)``.
        y: The same to the lower pixel.
        inside: Whether a point touches its map, shape ``(B, K)``.
        size: Width and height of a point's map, each of shape ``(K,)``.
        steps: Rows from the upper left pixel to itself, the right, the lower and the last one.
    """

    index: Tensor
    x: Tensor
    y: Tensor
    inside: Tensor
    size: tuple[Tensor, Tensor]
    steps: tuple[int, int, int, int]

    def corners(self, attention: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield step and weight ``(B, K)`` of each of the four pixels."""
        lower = attention * self.y
        upper = attention - lower
        right = (upper * self.x, lower * self.x)
        weights = (upper - right[0], right[0], lower - right[1], right[1])
        return zip(self.steps, weights, strict=True)


def _forward(value: Tensor, levels: list, locations: Tensor, attention: Tensor) -> Tensor:
    table = _pack(upcast(value), levels)
    points = _locate(upcast(locations), levels, table)
    rows = table.flatten(0, 3)
    output = 0
    for step, weight in points.corners(upcast(attention).reshape_as(points.x)):
        output += F.embedding_bag(points.index, rows[step:], mode='sum', per_sample_weights=weight)
    return output.view(*locations.shape[:2], value.shape[2] * value.shape[3]).to(value.dtype)


def _backward(
    value: Tensor, levels: list, locations: Tensor, attention: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and attention, each in its shape and dtype."""
    table = _pack(upcast(value), levels)
    points = _locate(upcast(locations), levels, table)
    rows, weights = table.flatten(0, 3), upcast(attention).reshape_as(points.x)
    grad = upcast(grad).reshape(len(points.x), value.shape[3])

    a, b, c, d = (_products(grad, rows[step:], points.index) for step in points.steps)
    upper, lower = torch.lerp(a, b, points.x), torch.lerp(c, d, points.x)
    grad_attention = torch.lerp(upper, lower, points.y)
    slope_x = torch.lerp(b - a, d - c, points.y)
    weights = weights * points.inside
    width, height = points.size
    grad_locations = torch.stack(
        [slope_x * width * weights, (lower - upper) * height * weights], dim=-1
    )

    index, order = points.index.flatten().sort()
    bags = order // points.index.shape[1]
    ends = torch.bincount(index, minlength=len(rows)).cumsum(0)
    starts = F.pad(ends, (1, 0))[:-1]
    grad_rows = torch.zeros_like(rows)
    for step, weight in points.corners(upcast(attention).reshape_as(points.x)):
        weight = weight.flatten()[order]
        sums = F.embedding_bag(bags, grad, starts, mode='sum', per_sample_weights=weight)
        grad_rows[step:] += sums[: len(rows) - step]
    return (
        _unpack(grad_rows.view_as(table), levels).to(value.dtype),
        grad_locations.view(locations.shape).to(locations.dtype),
        grad_attention.view(attention.shape).to(attention.dtype),
    )


def _products(grad: Tensor, rows: Tensor, index: Tensor) -> Tensor:
    """Multiply the gradient of each bag ``(B, D)`` with its rows; returns ``(B, K)``."""
    weights = rows.new_ones(index.shape).requires_grad_()
    with torch.enable_grad():
        output = F.embedding_bag(index, rows, mode='sum', per_sample_weights=weights)
    return torch.autograd.grad(output, weights, grad)[0]


def _pack(value: Tensor, levels: list) -> Tensor:
    """Lay maps ``(N, S, M, D)`` into a table ``(N, height, width, M, D)``, zeros around each."""
    num, _, *rest = value.shape
    height = sum(h + 2 for h, _ in levels)
    table = value.new_zeros(num, height, max(w for _, w in levels) + 2, *rest)
    parts = value.split([h * w for h, w in levels], dim=1)
    for place, part in zip(_places(table, levels), parts, strict=True):
        place.copy_(part.unflatten(1, place.shape[1:3]))
    return table


def _unpack(table: Tensor, levels: list) -> Tensor:
    """Take the maps out of a table again."""
    return torch.cat([place.flatten(1, 2) for place in _places(table, levels)], dim=1)


def _places(table: Tensor, levels: list) -> Iterator[Tensor]:
    """The parts of a table that are maps."""
    top = 1
    for height, width in levels:
        yield table[:, top : top + height, 1 : width + 1]
        top += height + 2


def _locate(locations: Tensor, levels: list, table: Tensor) -> _Points:
    """Find the pixels around each point ``(N, Q, M, L, P, 2)`` in a table of :func:`_pack`."""
    num, queries, heads, _, points, _ = locations.shape
    rows, columns = table.shape[1:3]
    tops = [sum(h + 2 for h, _ in levels[:index]) for index in range(len(levels))]
    constants = locations.new_tensor([[w, h, t] for (h, w), t in zip(levels, tops, strict=True)])
    width, height, top = constants.repeat_interleave(points, dim=0).T.contiguous()  # (K,) each

    flat = locations.reshape(num * queries * heads, len(width), 2)
    x, y = flat[..., 0] * width - 0.5, flat[..., 1] * height - 0.5
    # A point further out, or nowhere (NaN), goes to the border: nothing is there.
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    x, y = x.where(inside, -1), y.where(inside, -1)
    left, upper = x.floor(), y.floor()
    cell = (upper + top + 1).int() * columns + (left + 1).int()
    image = torch.arange(num, device=table.device, dtype=torch.int32) * (rows * columns)
    head = torch.arange(heads, device=table.device, dtype=torch.int32)
    cell = cell.view(num, queries, heads, len(width)) + image.view(-1, 1, 1, 1)
    index = (cell * heads + head[:, None]).view(x.shape)
    steps = (0, heads, columns * heads, (columns + 1) * heads)
    return _Points(index, x - left, y - upper, inside, (width, height), steps)
