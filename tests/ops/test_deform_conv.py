import itertools

import numpy as np
import pytest
import torch
from bilinear import bilinear
from mmcv.ops import deform_conv2d, modulated_deform_conv2d

# stride, padding, dilation, groups, deformable groups
WINDOWS = [
    ((1, 1), (1, 1), (1, 1), 1, 1),
    ((2, 1), (2, 0), (1, 2), 2, 1),
    ((1, 2), (0, 2), (2, 1), 1, 2),
    ((1, 1), (1, 1), (1, 1), 4, 4),
]
windows = pytest.mark.parametrize('window', WINDOWS)


def tensors(window, kernel=(3, 2), num=2, dtype=torch.float64):
    """Returns input, offset, mask, weight and bias for a window."""
    stride, padding, dilation, groups, deform_groups = window
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, s, p, d, k in zip((6, 5), stride, padding, dilation, kernel, strict=True)
    ]
    taps = deform_groups * kernel[0] * kernel[1]
    return (
        torch.randn(num, 4, 6, 5, dtype=dtype),
        torch.randn(num, 2 * taps, *size, dtype=dtype),
        torch.rand(num, taps, *size, dtype=dtype),
        torch.randn(8, 4 // groups, *kernel, dtype=dtype),
        torch.randn(8, dtype=dtype),
    )


def reference(x, offset, mask, weight, bias, window):
    stride, padding, dilation, groups, deform_groups = window
    x, offset, mask, weight, bias = (t.numpy() for t in (x, offset, mask, weight, bias))
    channels, (height, width) = weight.shape[1], weight.shape[2:]
    output = np.zeros((len(x), len(weight), *offset.shape[2:]))
    for n, o, i, j in itertools.product(*map(range, output.shape)):
        output[n, o, i, j] = bias[o]
        first = o // (len(weight) // groups) * channels
        for c, u, v in itertools.product(range(channels), range(height), range(width)):
            group = (first + c) // (x.shape[1] // deform_groups)
            tap = (group * height + u) * width + v
            y = i * stride[0] - padding[0] + u * dilation[0] + offset[n, 2 * tap, i, j]
            z = j * stride[1] - padding[1] + v * dilation[1] + offset[n, 2 * tap + 1, i, j]
            sample = bilinear(x[n, first + c], y, z)
            output[n, o, i, j] += weight[o, c, u, v] * mask[n, tap, i, j] * sample
    return torch.from_numpy(output)


@windows
def test_against_the_definition(device, window):
    x, offset, mask, weight, _ = tensors(window)
    inputs = [t.to(device) for t in (x, offset, weight)]
    expected = reference(x, offset, torch.ones_like(mask), weight, torch.zeros(8), window)
    torch.testing.assert_close(deform_conv2d(*inputs, *window).cpu(), expected)


@windows
@pytest.mark.parametrize('with_bias', [True, False])
def test_modulated_against_the_definition(device, window, with_bias):
    *inputs, bias = tensors(window)
    bias = bias if with_bias else torch.zeros_like(bias)
    result = modulated_deform_conv2d(
        *(t.to(device) for t in inputs), bias.to(device) if with_bias else None, *window
    )
    torch.testing.assert_close(result.cpu(), reference(*inputs, bias, window))


@windows
def test_gradient(device, window):
    x, offset, _, weight, _ = (t.to(device).requires_grad_() for t in tensors(window, (2, 1), 1))
    torch.autograd.gradcheck(
        lambda *t: deform_conv2d(*t, *window), (x, offset, weight), nondet_tol=1e-12, fast_mode=True
    )


@windows
@pytest.mark.parametrize('with_bias', [True, False])
def test_modulated_gradient(device, window, with_bias):
    *inputs, bias = (t.to(device).requires_grad_() for t in tensors(window, (2, 1), 1))
    inputs = (*inputs, bias) if with_bias else inputs

    def convolve(*t):
        return modulated_deform_conv2d(*t, *([] if with_bias else [None]), *window)

    torch.autograd.gradcheck(convolve, inputs, nondet_tol=1e-12, fast_mode=True)


@pytest.mark.parametrize('im2col_step', [1, 2, 4])
def test_steps_change_nothing(im2col_step):
    x, offset, _, weight, _ = (t.requires_grad_() for t in tensors(WINDOWS[0], num=4))

    def run(step):
        output = deform_conv2d(x, offset, weight, *WINDOWS[0], False, step)
        grads = torch.autograd.grad(output.square().sum(), (x, offset, weight))
        return output, *grads

    for a, b in zip(run(im2col_step), run(32), strict=True):
        torch.testing.assert_close(a, b)


def test_half_precision(assert_close_in_half):
    x, offset, mask, weight, bias = tensors(WINDOWS[2])
    assert_close_in_half(lambda *t: deform_conv2d(*t, *WINDOWS[2]), x, offset, weight)
    assert_close_in_half(
        lambda *t: modulated_deform_conv2d(*t, *WINDOWS[2]), x, offset, mask, weight, bias
    )


@pytest.mark.parametrize(('groups', 'deform_groups'), [(2, 1), (1, 2)])
def test_groups_that_do_not_fit_the_shapes(groups, deform_groups):
    x, offset, _, weight, _ = tensors(WINDOWS[0])
    with pytest.raises(ValueError, match='groups'):
        deform_conv2d(x, offset, weight, 1, 1, 1, groups, deform_groups)


@pytest.mark.parametrize('modulated', [False, True])
@pytest.mark.parametrize('window', WINDOWS)
def test_the_gradient_of_a_point_on_the_border_is_that_of_mmcv(device, window, modulated):
    """At exactly -1, and at exactly the height or width, a point contributes nothing.

    With offsets of zero, every tap on a border of padding lies there. A little further inside the
    gradient is that of the bilinear sample.
    """
    x, offset, mask, weight, _ = tensors(window)
    stride, padding, dilation = window[:3]
    kernel, places = weight.shape[2:], offset.shape[2:]
    position = torch.zeros(kernel[0], kernel[1], 2, *places, dtype=torch.long)
    for u, v, i, j in itertools.product(*map(range, (*kernel, *places))):
        position[u, v, 0, i, j] = i * stride[0] - padding[0] + u * dilation[0]
        position[u, v, 1, i, j] = j * stride[1] - padding[1] + v * dilation[1]
    size = torch.tensor(x.shape[2:]).view(2, 1, 1)
    outside = ((position <= -1) | (position >= size)).any(dim=2, keepdim=True)
    outside = outside.expand_as(position).flatten(0, 2).repeat(window[4], 1, 1)
    assert outside.any()

    def gradient(start):
        start = torch.full_like(offset, start).to(device).requires_grad_()
        more = [mask.to(device)] if modulated else []
        convolve = modulated_deform_conv2d if modulated else deform_conv2d
        bias = [None] if modulated else []
        output = convolve(x.to(device), start, *more, weight.to(device), *bias, *window)
        return torch.autograd.grad(output.sum(), start)[0].cpu()

    at_zero, inside = gradient(0.0), gradient(1e-9)
    assert not at_zero[:, outside].any()
    torch.testing.assert_close(at_zero[:, ~outside], inside[:, ~outside], rtol=1e-6, atol=1e-6)
    assert inside[:, outside].any()
