import itertools
import math

import numpy as np
import pytest
import torch
from bilinear import bilinear
from mmcv.ops import roi_align

ROIS = torch.tensor(
    [[0, 1.0, 2.0, 13.0, 9.5], [1, 0.0, 0.0, 5.2, 15.0], [1, -6.0, 4.0, 7.0, 22.0]],
    dtype=torch.float64,
)
SCALE = 0.5
SIZE = (2, 3)


def reference(x, rois, sampling_ratio, mode, aligned):
    """Mask R-CNN's RoIAlign. The map is continued by its edge for one pixel, then by zero."""
    x, rois = x.numpy(), rois.numpy()
    height, width = x.shape[2:]
    output = np.zeros((len(rois), x.shape[1], *SIZE))
    for k, (image, *box) in enumerate(rois):
        left, top, right, bottom = (c * SCALE - (0.5 if aligned else 0) for c in box)
        extent = np.array([bottom - top, right - left])
        extent = extent if aligned else np.maximum(extent, 1)
        bins = extent / SIZE
        grid = [sampling_ratio or math.ceil(b) for b in bins]
        for c, i, j in itertools.product(range(x.shape[1]), *map(range, SIZE)):
            samples = []
            for u, v in itertools.product(*map(range, grid)):
                y = top + (i + (u + 0.5) / grid[0]) * bins[0]
                z = left + (j + (v + 0.5) / grid[1]) * bins[1]
                inside = -1 <= y <= height and -1 <= z <= width
                y, z = min(max(y, 0), height - 1), min(max(z, 0), width - 1)
                samples.append(bilinear(x[int(image), c], y, z) if inside else 0.0)
            output[k, c, i, j] = max(samples) if mode == 'max' else np.mean(samples)
    return torch.from_numpy(output)


options = pytest.mark.parametrize(
    ('sampling_ratio', 'mode', 'aligned'),
    list(itertools.product([0, 2], ['avg', 'max'], [True, False])),
)


@options
def test_against_the_definition(device, sampling_ratio, mode, aligned):
    x = torch.randn(2, 2, 8, 9, dtype=torch.float64)
    result = roi_align(x.to(device), ROIS.to(device), SIZE, SCALE, sampling_ratio, mode, aligned)
    torch.testing.assert_close(result.cpu(), reference(x, ROIS, sampling_ratio, mode, aligned))


@options
def test_gradient(device, sampling_ratio, mode, aligned):
    x = torch.randn(2, 2, 8, 9, dtype=torch.float64, device=device, requires_grad=True)
    arguments = (ROIS.to(device), SIZE, SCALE, sampling_ratio, mode, aligned)
    torch.autograd.gradcheck(lambda x: roi_align(x, *arguments), x, nondet_tol=1e-12)


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_half_precision(assert_close_in_half, mode):
    def pool(x):
        return roi_align(x, ROIS.to(x.device).float(), SIZE, SCALE, 0, mode, True)

    assert_close_in_half(pool, torch.randn(2, 2, 8, 9))


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_a_region_without_extent_is_a_pixel_unless_aligned(mode):
    x = torch.randn(2, 2, 8, 9, dtype=torch.float64)
    rois = torch.tensor([[1, 4, 5, 4, 5]], dtype=torch.float64)
    result = roi_align(x, rois, SIZE, SCALE, 0, mode, False)
    torch.testing.assert_close(result, reference(x, rois, 0, mode, False))


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_aligned_regions_without_extent_and_no_regions(mode):
    x = torch.randn(1, 2, 8, 9, requires_grad=True)
    for rois in (torch.tensor([[0.0, 4, 4, 4, 4]]), torch.empty(0, 5)):
        pooled = roi_align(x, rois, SIZE, 1.0, 0, mode, True)
        (grad,) = torch.autograd.grad(pooled.sum(), x)
        assert pooled.shape == (len(rois), 2, *SIZE)
        assert pooled.abs().sum() == grad.abs().sum() == 0
