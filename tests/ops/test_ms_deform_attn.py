import itertools

import numpy as np
import pytest
import torch
from bilinear import bilinear
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)

from soma.ops import ms_deform_attn

SHAPES = torch.tensor([[4, 6], [2, 3], [1, 1]])
STARTS = torch.tensor([0, 24, 30])
STEP = 64


def tensors(num=2, queries=5, heads=2, dim=3, points=4, dtype=torch.float64):
    """Returns value, sampling locations (some outside of the map) and attention weights."""
    levels = len(SHAPES)
    attention = torch.rand(num, queries, heads, levels * points, dtype=dtype).softmax(-1)
    return (
        torch.randn(num, 31, heads, dim, dtype=dtype),
        torch.rand(num, queries, heads, levels, points, 2, dtype=dtype) * 1.6 - 0.3,
        attention.unflatten(-1, (levels, points)),
    )


def attend(value, locations, attention, step=STEP):
    shapes, starts = SHAPES.to(value.device), STARTS.to(value.device)
    return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, attention, step)


def run(function, inputs):
    inputs = [x.detach().requires_grad_() for x in inputs]
    output = function(*inputs)
    return output, *torch.autograd.grad(output.square().sum(), inputs)


def reference(value, locations, attention):
    value, locations, attention = (t.numpy() for t in (value, locations, attention))
    num, queries, heads, levels, points = attention.shape
    output = np.zeros((num, queries, heads, value.shape[3]))
    for n, q, m, d in itertools.product(*map(range, output.shape)):
        for level, p in itertools.product(range(levels), range(points)):
            (height, width), start = SHAPES[level].tolist(), STARTS[level].item()
            image = value[n, start : start + height * width, m, d].reshape(height, width)
            x, y = locations[n, q, m, level, p]
            sample = bilinear(image, y * height - 0.5, x * width - 0.5)
            output[n, q, m, d] += attention[n, q, m, level, p] * sample
    return torch.from_numpy(output).flatten(2)


def test_against_the_definition(device):
    inputs = tensors()
    result = attend(*(t.to(device) for t in inputs))
    torch.testing.assert_close(result.cpu(), reference(*inputs))


def test_gradient(device):
    inputs = [t.to(device).requires_grad_() for t in tensors(num=1, queries=2, dim=2, points=2)]
    torch.autograd.gradcheck(attend, inputs, nondet_tol=1e-12)


def test_the_same_as_the_formula_of_mmcv(device):
    inputs = [t.to(device) for t in tensors(dtype=torch.float32)]
    shapes = SHAPES.to(device)
    formula = run(lambda v, *t: multi_scale_deformable_attn_pytorch(v, shapes, *t), inputs)
    for a, b in zip(run(attend, inputs), formula, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('samples', [1, 60])
@pytest.mark.parametrize('step', [1, 2])
def test_pieces_change_nothing(monkeypatch, samples, step):
    inputs = tensors(num=3)
    whole = run(attend, inputs)
    monkeypatch.setattr(ms_deform_attn, 'MAX_SAMPLES', samples)
    for a, b in zip(run(lambda *t: attend(*t, step), inputs), whole, strict=True):
        torch.testing.assert_close(a, b)


def test_half_precision(assert_close_in_half):
    assert_close_in_half(attend, *tensors())


def test_half_precision_sums_in_float32(half, monkeypatch):
    monkeypatch.setattr(ms_deform_attn, 'MAX_SAMPLES', 1)  # one query a piece
    inputs = [t.to(half) for t in tensors(num=1, queries=500, dim=1)]
    grad = run(attend, inputs)[1].float()
    full = run(attend, [t.float() for t in inputs])[1]
    assert (grad - full).norm() < 0.005 * full.norm()


def test_no_queries():
    value, locations, attention = tensors(queries=0)
    output, *grads = run(attend, (value, locations, attention))
    assert output.shape == (2, 0, 6)
    assert grads[0].abs().sum() == 0
