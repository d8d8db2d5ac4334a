"""RoIAlign (Mask R-CNN, arXiv 1703.06870, section 3), average and max, and its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torchvision import ops

from soma.ops.functional import recompute_grads, upcast

MAX, AVERAGE = range(2)


@torch.no_grad()
def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Pool bilinear samples of each region's bins.

    Args:
        input: Shape ``(N, C, H, W)``.
        rois: Rows ``(index into N, x1, y1, x2, y2)``, shape ``(K, 5)``.
        output: Output, shape ``(K, C, aligned_height, aligned_width)``.
        argmax_y: Output if ``pool_mode`` is ``MAX``, same shape: the row of the greatest sample
            among those of its bin, -1 in an empty bin. mmcv has its coordinate here, which half
            precision rounds to another sample.
        argmax_x: As ``argmax_y``, the column.
        aligned_height: Bins of a region, vertically.
        aligned_width: Bins of a region, horizontally.
        spatial_scale: Pixels of ``input`` per unit of ``rois``.
        sampling_ratio: Samples of a bin in each direction; 0 for one per pixel.
        pool_mode: ``MAX`` or ``AVERAGE``.
        aligned: Whether pixel centres are at half-integers; else regions are at least one pixel.
    """
    x, rois = upcast(input), rois.to(upcast(input).dtype)
    size = (aligned_height, aligned_width)
    if pool_mode == AVERAGE:
        output.copy_(ops.roi_align(x, rois, size, spatial_scale, sampling_ratio, aligned))
        return
    output.zero_()
    argmax_y.fill_(-1)
    argmax_x.fill_(-1)
    for rows, grid in _grids(rois, size, spatial_scale, sampling_ratio, aligned):
        samples = _sample(x, rois[rows], size, grid, spatial_scale, aligned)
        greatest, index = samples.flatten(4).max(dim=4)
        output[rows] = greatest.to(output.dtype)
        argmax_y[rows] = (index // grid[1]).to(argmax_y.dtype)
        argmax_x[rows] = (index % grid[1]).to(argmax_x.dtype)


@torch.no_grad()
def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Spread the gradient of each bin over the pixels that it came from.

    The arguments are those of :func:`roi_align_forward`, which has filled ``argmax_y`` and
    ``argmax_x``; ``grad_output (K, C, aligned_height, aligned_width)``; and ``grad_input
    (N, C, H, W)``, to which the gradient is added.
    """
    grad, rois = upcast(grad_output), rois.to(upcast(grad_output).dtype)
    size = (aligned_height, aligned_width)
    x = grad.new_zeros(grad_input.shape)  # pooling is linear, so any input has this gradient
    if pool_mode == AVERAGE:
        pool = partial(
            ops.roi_align,
            boxes=rois,
            output_size=size,
            spatial_scale=spatial_scale,
            sampling_ratio=sampling_ratio,
            aligned=aligned,
        )
        grad_input += recompute_grads(pool, [x], grad)[0]
        return
    total = torch.zeros_like(x)
    for rows, grid in _grids(rois, size, spatial_scale, sampling_ratio, aligned):
        sample = partial(
            _sample, rois=rois[rows], size=size, grid=grid, scale=spatial_scale, aligned=aligned
        )
        index = argmax_y[rows].long() * grid[1] + argmax_x[rows].long()
        grad_samples = grad.new_zeros(*index.shape, grid[0] * grid[1])
        grad_samples.scatter_(4, index[..., None], grad[rows][..., None])
        total += recompute_grads(sample, [x], grad_samples.unflatten(4, grid))[0]
    grad_input += total


def _grids(
    rois: Tensor, size: tuple[int, int], scale: float, sampling_ratio: int, aligned: bool
) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Yield the rows of regions that share a grid of samples per bin, and that grid.

    Regions without extent get no samples at ``sampling_ratio`` 0 and are left out.
    """
    if sampling_ratio > 0:
        grids = rois.new_full((len(rois), 2), sampling_ratio, dtype=torch.long)
    else:
        corners = rois[:, 1:] * scale - (0.5 if aligned else 0)
        extent = (corners[:, 2:] - corners[:, :2]).flip(1)  # height, width
        extent = extent if aligned else extent.clamp(min=1)
        grids = (extent / extent.new_tensor(size)).ceil().long()
    for grid in grids.unique(dim=0):
        if grid.min() > 0:
            yield (grids == grid).all(dim=1).nonzero().squeeze(1), tuple(grid.tolist())


def _sample(
    x: Tensor,
    rois: Tensor,
    size: tuple[int, int],
    grid: tuple[int, int],
    scale: float,
    aligned: bool,
) -> Tensor:
    """Sample each bin on a grid, to shape ``(K, C, *size, *grid)``.

    A sample is the average over a bin that holds one sample, so a finer RoIAlign yields them.
    """
    fine = (size[0] * grid[0], size[1] * grid[1])
    samples = ops.roi_align(x, rois, fine, scale, sampling_ratio=1, aligned=aligned)
    samples = samples.unflatten(3, (size[1], grid[1])).unflatten(2, (size[0], grid[0]))
    return samples.transpose(3, 4)
