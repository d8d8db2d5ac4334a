"""Sends mmcv's wrappers to our operators, whatever mmcv was compiled with."""

import importlib

import pytest
import torch

from soma.ops import install_attention, install_ops

install_ops()
install_attention()

WRAPPERS = (
    'nms',
    'roi_align',
    'focal_loss',
    'deform_conv',
    'modulated_deform_conv',
    'multi_scale_deform_attn',
)


@pytest.fixture(autouse=True)
def ours(monkeypatch):
    extension = importlib.import_module('soma.ops.extension')
    for name in WRAPPERS:
        # By its full name: the attribute mmcv.ops.nms is the function.
        wrapper = importlib.import_module(f'mmcv.ops.{name}')
        monkeypatch.setattr(wrapper, 'ext_module', extension)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=['cpu', 'cuda'])
def device(request):
    if request.param == 'cuda' and not torch.cuda.is_available():
        pytest.skip('needs CUDA')
    return request.param


@pytest.fixture(params=[torch.float16, torch.bfloat16], ids=['float16', 'bfloat16'])
def half(request):
    return request.param


@pytest.fixture
def assert_close_in_half(half, device):
    """Compares values and gradients in half precision with those of the same numbers in float32."""

    def run(function, inputs, dtype):
        inputs = [x.to(dtype).detach().requires_grad_(x.is_floating_point()) for x in inputs]
        output = function(*inputs)
        assert output.dtype == dtype
        floats = [x for x in inputs if x.requires_grad]
        grads = torch.autograd.grad(output.float().square().sum(), floats, allow_unused=True)
        return [output, *(g for g in grads if g is not None)]

    def check(function, *inputs):
        rounded = [x.to(device, half) for x in inputs]
        low = run(function, rounded, half)
        full = run(function, rounded, torch.float32)
        for a, b in zip(low, full, strict=True):
            tolerance = 2e-2 * b.abs().max().item()
            torch.testing.assert_close(a.float(), b, rtol=2e-2, atol=tolerance)

    return check
