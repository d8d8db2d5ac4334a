"""OLoRA, CorDA, LoRA-Null and OSF: their formulas in numpy, and what peft makes of the same."""

import copy

import numpy as np
import pytest
import torch
from peft import LoraConfig, OSFConfig, get_peft_model
from peft.tuners.lora.config import CordaConfig
from peft.tuners.lora.corda import preprocess_corda
from torch import nn

from soma.adapters import (
    OLoRALinear,
    OSFLinear,
    inject_adapter,
    load_adapter,
    save_adapter,
    start_from_data,
)

SHAPES = [(12, 8), (8, 12), (8, 8)]  # inputs, outputs


def in_float64(tensor):
    return tensor.detach().double().numpy()


def split(kind, plain, inputs=(), **options):
    """An adapted copy of a plain layer, with a start."""
    model = nn.ModuleDict({'layer': copy.deepcopy(plain)})
    inject_adapter(model, dict(type=kind, targets='layer', **options))
    start_from_data(model, lambda: [model['layer'](x) for x in inputs])
    return model['layer']


def check_peft(layer, theirs):
    """Both compute the same with the same factors, other ones than at the start."""
    with torch.no_grad():
        for own, module in ((layer.A, theirs.lora_A), (layer.B, theirs.lora_B)):
            value = module['default'].weight
            value += 0.1 * torch.randn_like(value)
            own.copy_(value)
    x = torch.randn(5, layer.in_features)
    assert torch.allclose(layer(x), theirs(x), atol=1e-4)


@pytest.mark.parametrize('shape', SHAPES)
def test_olora_starts_from_a_qr_decomposition_as_in_peft(shape):
    plain = nn.Linear(*shape)
    layer = split('OLoRA', plain, rank=3, alpha=6)
    Q, R = np.linalg.qr(in_float64(plain.weight))
    assert np.allclose(in_float64(layer.B0), Q[:, :3], atol=1e-6)
    assert np.allclose(in_float64(layer.A0), R[:3], atol=1e-6)
    config = LoraConfig(r=3, lora_alpha=6, target_modules=['0'], init_lora_weights='olora')
    theirs = get_peft_model(nn.Sequential(plain), config).base_model.model[0]
    assert torch.allclose(layer.A, theirs.lora_A['default'].weight, atol=1e-5)
    assert torch.allclose(layer.B, theirs.lora_B['default'].weight, atol=1e-5)
    check_peft(layer, theirs)


def test_olora_decomposes_stacked_matrices_each():
    plain = nn.Linear(8, 24)
    layer = OLoRALinear.from_plain(plain, 2, groups=3)
    layer.split_()
    for A, B, weight in zip(layer.A.chunk(3), layer.B.chunk(3), plain.weight.chunk(3), strict=True):
        Q, R = np.linalg.qr(in_float64(weight))
        assert np.allclose(in_float64(B @ A), Q[:, :2] @ R[:2], atol=1e-5)


@pytest.mark.parametrize(('mode', 'part'), [('kpm', slice(-3, None)), ('ipm', slice(3))])
@pytest.mark.parametrize('shape', SHAPES)
def test_corda_orients_components_by_the_inputs_as_in_peft(shape, mode, part):
    inputs = torch.randn(40, shape[0]) * torch.linspace(0.2, 2, shape[0])
    inputs = inputs / inputs.max()  # as peft does by itself
    plain = nn.Linear(*shape)
    # Theirs is the sum over the inputs of a batch, where ours is the mean.
    layer = split('CorDA', plain, [40**0.5 * inputs], rank=3, alpha=6, mode=mode)
    x = in_float64(inputs)
    C = x.T @ x
    C += 0.01 * np.diag(C).mean() * np.eye(len(C))
    U, S, Vh = np.linalg.svd(in_float64(plain.weight) @ C, full_matrices=False)
    expected = (U * S)[:, part] @ (Vh @ np.linalg.inv(C))[part]
    assert np.allclose(2 * in_float64(layer.B0 @ layer.A0), expected, atol=1e-5)

    config = LoraConfig(r=3, lora_alpha=6, target_modules=['0'], init_lora_weights='corda')
    config.corda_config = CordaConfig(corda_method=mode)
    model = nn.Sequential(plain)
    preprocess_corda(model, config, run_model=lambda: model(inputs))
    theirs = get_peft_model(model, config).base_model.model[0]
    A, B = (m['default'].weight.detach() for m in (theirs.lora_A, theirs.lora_B))
    signs = (B * layer.B.flip(1)).sum(0).sign()  # ours are in ascending order
    assert torch.allclose(B, layer.B.flip(1) * signs, atol=1e-4)
    assert torch.allclose(A, layer.A.flip(0) * signs[:, None], atol=1e-3)
    check_peft(layer, theirs)


@pytest.mark.parametrize('freeze_a', [False, True])
@pytest.mark.parametrize('shape', SHAPES)
def test_lora_null_takes_over_the_null_space_of_the_inputs(shape, freeze_a):
    inputs = torch.randn(40, shape[0])
    inputs[:, :2] = inputs[:, 2:4] - inputs[:, 4:6]  # two directions without any energy
    plain = nn.Linear(*shape)
    layer = split('LoRANull', plain, [inputs], rank=2, alpha=4, freeze_a=freeze_a)
    W, x = in_float64(plain.weight), in_float64(inputs)
    null = np.linalg.svd(x)[2][-2:].T
    assert np.allclose(2 * in_float64(layer.B0 @ layer.A0), W @ null @ null.T, atol=1e-5)
    norms = [np.linalg.norm(in_float64(m), axis=axis) for m, axis in ((layer.A, 1), (layer.B, 0))]
    assert np.allclose(*norms, atol=1e-5)  # balanced
    trained = {name for name, p in layer.named_parameters() if p.requires_grad}
    assert trained == ({'B'} if freeze_a else {'A', 'B'})
    with torch.no_grad():
        layer.B += torch.randn_like(layer.B)
    assert layer.delta().norm() > 0.1  # and still nothing changes for these inputs
    assert torch.allclose(layer(inputs), plain(inputs), atol=1e-4)


def test_lora_null_that_freezes_a_comes_back_from_a_file(tmp_path):
    plain = nn.ModuleDict({'layer': nn.Linear(8, 8)})
    model = copy.deepcopy(plain)
    inject_adapter(model, dict(type='LoRANull', rank=2, freeze_a=True, targets='layer'))
    start_from_data(model, lambda: model['layer'](torch.randn(30, 8)))
    model['layer'].B.data += 1
    save_adapter(model, tmp_path / 'a.safetensors')
    load_adapter(plain, tmp_path / 'a.safetensors')
    assert not plain['layer'].A.requires_grad and plain['layer'].B.requires_grad
    x = torch.randn(3, 8)
    assert torch.equal(plain['layer'](x), model['layer'](x))


@pytest.mark.parametrize('shape', SHAPES)
def test_osf_has_the_function_and_the_gradients_of_peft(shape):
    plain = nn.Linear(*shape)
    layer = split('OSF', plain)
    config = OSFConfig(target_modules=['0'])
    theirs = get_peft_model(nn.Sequential(plain), config).base_model.model[0]
    other = theirs.osf_svd_params['default']
    pairs = [(layer.U, other.U_low), (layer.S, other.S_low), (layer.V, other.V_low)]
    assert [a.shape for a, _ in pairs] == [b.shape for _, b in pairs]
    assert torch.allclose(layer.S, other.S_low, atol=1e-5)
    x, upstream = torch.randn(5, shape[0]), torch.randn(5, shape[1])
    with torch.no_grad():  # other signs do not matter
        for own, value in pairs:
            own.copy_(value)
    assert torch.allclose(layer(x), theirs(x), atol=1e-5)
    layer(x).backward(upstream)
    theirs(x).backward(upstream)
    for own, value in pairs:
        assert torch.allclose(own.grad, value.grad, atol=1e-4)
        with torch.no_grad():  # such a gradient is a change that theirs keeps orthogonal
            own += 0.1 * value.grad
            value += 0.1 * value.grad
    assert torch.allclose(layer(x), theirs(x), atol=1e-4)


@pytest.mark.parametrize('groups', [1, 3])
def test_osf_leaves_the_principal_components_alone_under_adamw(groups):
    plain = nn.Linear(8, 8 * groups)
    layer = OSFLinear.from_plain(plain, 0.4, groups=groups)
    layer.split_()
    optimizer = torch.optim.AdamW([layer.U, layer.S, layer.V], lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        layer(torch.randn(20, 8)).square().mean().backward()
        optimizer.step()
    changed = layer.effective_weight()
    for before, after in zip(plain.weight.chunk(groups), changed.chunk(groups), strict=True):
        U, S, Vh = np.linalg.svd(in_float64(before))
        after = in_float64(after)
        assert np.allclose(U[:, :3].T @ after, S[:3, None] * Vh[:3], atol=1e-5)
        assert np.allclose(after @ Vh[:3].T, U[:, :3] * S[:3], atol=1e-5)
        assert np.abs(after - in_float64(before)).max() > 0.1


def test_an_osf_file_of_another_size_is_refused():
    layer = split('OSF', nn.Linear(8, 8))
    with pytest.raises(
        ValueError, match=r'is made for a weight of \[8, 8\], the base has \[8, 9\]'
    ):
        layer.fold(torch.randn(8, 9), layer.adapter_tensors(), layer.settings())
