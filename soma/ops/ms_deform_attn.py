"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159, equation 3), gradients.

The backward pass samples again rather than keep the samples, and both passes go by pieces, one
level and some queries at a time. So memory does not grow with the number of levels and points.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from soma.ops.functional import recompute_grads, steps, upcast

# Small enough for memory, large enough that kernels on a GPU outweigh their launch.
MAX_SAMPLES = 2**22


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
        value: Maps of all levels, shape ``(N, S, M, D)`` with M heads.
        value_spatial_shapes: Height and width of each level, shape ``(L, 2)``.
        value_level_start_index: First of a level's rows among the S, shape ``(L,)``.
        sampling_locations: ``(x, y)``, 0 to 1 across the map, shape ``(N, Q, M, L, P, 2)``.
        attention_weights: Shape ``(N, Q, M, L, P)``.
        im2col_step: Images per step. It need not divide N.

    Returns:
        Shape ``(N, Q, M * D)``.
    """
    num, queries, heads = sampling_locations.shape[:3]
    output = upcast(value).new_zeros(num, queries, heads, value.shape[3])
    levels = _levels(value_spatial_shapes, value_level_start_index)
    for piece in _pieces(value, levels, attention_weights, im2col_step):
        output[piece.queries] += _attend(
            upcast(value[piece.values]),
            upcast(sampling_locations[piece.points]),
            upcast(attention_weights[piece.points]),
            piece.size,
        )
    return output.flatten(2).to(value.dtype)


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

    Args:
        value: Maps of all levels, shape ``(N, S, M, D)`` with M heads.
        value_spatial_shapes: Height and width of each level, shape ``(L, 2)``.
        value_level_start_index: First of a level's rows among the S, shape ``(L,)``.
        sampling_locations: ``(x, y)``, 0 to 1 across the map, shape ``(N, Q, M, L, P, 2)``.
        attention_weights: Shape ``(N, Q, M, L, P)``.
        grad_output: Shape ``(N, Q, M * D)``.
        grad_value: Output, in the shape of ``value``.
        grad_sampling_loc: Output, in the shape of ``sampling_locations``.
        grad_attn_weight: Output, in the shape of ``attention_weights``.
        im2col_step: Images per step. It need not divide N.
    """
    grad_output = grad_output.unflatten(2, value.shape[2:])
    total_value = torch.zeros_like(upcast(grad_value))  # many queries add to one value
    levels = _levels(value_spatial_shapes, value_level_start_index)
    for piece in _pieces(value, levels, attention_weights, im2col_step):
        inputs = (
            upcast(value[piece.values]),
            upcast(sampling_locations[piece.points]),
            upcast(attention_weights[piece.points]),
        )
        grads = recompute_grads(
            partial(_attend, size=piece.size), inputs, upcast(grad_output[piece.queries])
        )
        total_value[piece.values] += grads[0]
        grad_sampling_loc[piece.points] += grads[1]
        grad_attn_weight[piece.points] += grads[2]
    grad_value += total_value


class _Piece(NamedTuple):
    """Some queries of some images on one level, as indices.

    Attributes:
        size: Height and width of the level.
        values: Index into the values, to shape ``(n, height * width, M, D)``.
        queries: Index into the output, to shape ``(n, q, ...)``.
        points: Index into locations and attention, to shape ``(n, q, M, P, ...)``.
    """

    size: tuple[int, int]
    values: tuple
    queries: tuple
    points: tuple


def _levels(shapes: Tensor, starts: Tensor) -> list[tuple[int, int, int]]:
    """List height, width and first row of each level."""
    return torch.cat([shapes, starts[:, None]], dim=1).tolist()  # one wait for the GPU


def _pieces(
    value: Tensor,
    levels: list[tuple[int, int, int]],
    attention_weights: Tensor,
    im2col_step: int,
) -> Iterator[_Piece]:
    """Cut the work into pieces of about ``MAX_SAMPLES`` sampled numbers."""
    num, queries, heads, _, points = attention_weights.shape
    images_per_step = max(1, min(num, im2col_step))
    samples_per_query = images_per_step * heads * value.shape[3] * points
    queries_per_step = max(1, MAX_SAMPLES // samples_per_query)
    for level, (height, width, start) in enumerate(levels):
        for images in steps(num, images_per_step):
            for some in steps(queries, queries_per_step):
                yield _Piece(
                    size=(height, width),
                    values=(images, slice(start, start + height * width)),
                    queries=(images, some),
                    points=(images, some, slice(None), level),
                )


def _attend(value: Tensor, locations: Tensor, weights: Tensor, size: tuple[int, int]) -> Tensor:
    """Attend to one level.

    Args:
        value: Shape ``(N, height * width, M, D)``.
        locations: Shape ``(N, Q, M, P, 2)``.
        weights: Shape ``(N, Q, M, P)``.
        size: Height and width of the level.

    Returns:
        Shape ``(N, Q, M, D)``.
    """
    maps = value.permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, size)  # (N M, D, height, width)
    grid = (2 * locations - 1).permute(0, 2, 3, 1, 4).flatten(0, 1)  # (N M, P, Q, 2)
    weights = weights.permute(0, 2, 3, 1).flatten(0, 1)  # (N M, P, Q)
    samples = F.grid_sample(maps, grid, align_corners=False)  # (N M, D, P, Q)
    attended = (samples * weights[:, None]).sum(dim=2)  # (N M, D, Q)
    return attended.unflatten(0, (len(value), -1)).permute(0, 3, 1, 2)
