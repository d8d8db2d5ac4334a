import itertools

import numpy as np
import pytest
import torch
from bilinear import bilinear
from mmcv.ops import multi_scale_deform_attn as mmcv_module
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttention,
    MultiScaleDeformableAttnFunction,
)

from soma.models.build import build_model
from soma.ops.ms_deform_attn import ms_deform_attn

SHAPES = torch.tensor([[4, 6], [2, 3], [1, 1]])
STARTS = torch.tensor([0, 24, 30])


def tensors(num=2, queries=5, heads=2, dim=3, points=4, dtype=torch.float64):
    """Returns value, sampling locations (some outside of the map) and attention weights."""
    levels = len(SHAPES)
    attention = torch.rand(num, queries, heads, levels * points, dtype=dtype).softmax(-1)
    return (
        torch.randn(num, 31, heads, dim, dtype=dtype),
        torch.rand(num, queries, heads, levels, points, 2, dtype=dtype) * 1.6 - 0.3,
        attention.unflatten(-1, (levels, points)),
    )


def attend(value, locations, attention):
    shapes, starts = SHAPES.to(value.device), STARTS.to(value.device)
    return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, attention, 64)


def attend_without_mmcv(value, locations, attention):
    return ms_deform_attn(value, SHAPES.to(value.device), locations, attention)


formula = ms_deform_attn.__wrapped__


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


@pytest.mark.parametrize('function', [attend, attend_without_mmcv])
def test_gradient(device, function):
    inputs = [t.to(device).requires_grad_() for t in tensors(num=1, queries=2, dim=2, points=2)]
    torch.autograd.gradcheck(function, inputs, nondet_tol=1e-12)


@pytest.mark.parametrize('function', [attend, attend_without_mmcv])
def test_the_same_as_the_formula_of_mmcv(device, function):
    inputs = [t.to(device) for t in tensors(dtype=torch.float32)]
    plain = run(lambda v, *t: formula(v, SHAPES.to(device), *t), inputs)
    for a, b in zip(run(function, inputs), plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_mmcv_calls_it_where_its_operator_does_not_go(device, half):
    assert mmcv_module.multi_scale_deformable_attn_pytorch is ms_deform_attn
    layer = MultiScaleDeformableAttention(16, 2, num_levels=3, batch_first=True).to(device)
    query = torch.randn(2, 31, 16, device=device)
    points = torch.rand(2, 31, 3, 2, device=device)
    rest = dict(reference_points=points, spatial_shapes=SHAPES.to(device))
    rest['level_start_index'] = STARTS.to(device)
    with torch.autocast(device, dtype=half):
        layer(query, **rest).sum().backward()
    for parameter in layer.parameters():
        assert parameter.grad.isfinite().all()


def test_the_runner_and_whatever_builds_a_model_use_it(tiny_config, build_runner, monkeypatch):
    for build in (build_runner, build_model):
        monkeypatch.setattr(mmcv_module, 'multi_scale_deformable_attn_pytorch', formula)
        build(tiny_config)
        assert mmcv_module.multi_scale_deformable_attn_pytorch is ms_deform_attn
        assert ms_deform_attn.__wrapped__ is formula


def test_keeps_nothing_but_its_inputs():
    inputs = [t.requires_grad_() for t in tensors(queries=50, points=8)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t), lambda t: t):
        attend_without_mmcv(*inputs)
    assert sum(t.numel() for t in kept) == sum(t.numel() for t in inputs)


def test_points_that_are_not_numbers_add_nothing():
    value, locations, attention = tensors()
    locations[:, 0] = torch.nan
    output = attend_without_mmcv(value, locations, attention)
    assert output[:, 0].abs().sum() == 0 and output.isfinite().all()


@pytest.mark.slow
def test_compiled():
    inputs = tensors()
    compiled = torch.compile(attend_without_mmcv, backend='aot_eager')
    for a, b in zip(run(compiled, inputs), run(attend_without_mmcv, inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_half_precision(assert_close_in_half):
    assert_close_in_half(attend, *tensors())


def test_half_precision_sums_in_float32(half):
    inputs = [t.to(half) for t in tensors(num=1, queries=500, dim=1)]
    grad = run(attend, inputs)[1].float()
    full = run(attend, [t.float() for t in inputs])[1]
    assert (grad - full).norm() < 0.005 * full.norm()


def test_no_queries():
    value, locations, attention = tensors(queries=0)
    output, *grads = run(attend, (value, locations, attention))
    assert output.shape == (2, 0, 6)
    assert grads[0].abs().sum() == 0
