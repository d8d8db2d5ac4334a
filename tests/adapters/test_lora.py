"""LoRA, DoRA and MiCA: their starts, and what peft computes with the same tensors."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from soma.adapters import (
    DoRAConv2d,
    DoRALinear,
    LoRAConv2d,
    LoRALinear,
    MiCALinear,
    inject_adapter,
    merge_state,
)

PLAIN = [(nn.Linear(12, 8), (5, 12)), (nn.Conv2d(3, 8, 3, stride=2, padding=1), (2, 3, 9, 9))]


@pytest.mark.parametrize('dora', [False, True], ids=['lora', 'dora'])
@pytest.mark.parametrize(('plain', 'shape'), PLAIN, ids=['linear', 'conv'])
def test_output_and_gradients_are_those_of_peft(plain, shape, dora):
    kinds = (DoRALinear, DoRAConv2d) if dora else (LoRALinear, LoRAConv2d)
    layer = kinds[isinstance(plain, nn.Conv2d)].from_plain(copy.deepcopy(plain), 4, alpha=8)
    layer.split_()
    options = dict(r=4, lora_alpha=8, target_modules=['0'], use_dora=dora)
    theirs = get_peft_model(nn.Sequential(copy.deepcopy(plain)), LoraConfig(**options))
    lora = theirs.base_model.model[0]
    pairs = {'A': lora.lora_A['default'].weight, 'B': lora.lora_B['default'].weight}
    if dora:
        pairs['magnitude'] = lora.lora_magnitude_vector['default'].weight
        assert torch.allclose(layer.magnitude, pairs['magnitude'].flatten())
    for name, other in pairs.items():
        own = getattr(layer, name)
        own.data += 0.1 * torch.randn_like(own)
        other.data = own.data.view_as(other).clone()
    x = torch.randn(shape)
    assert torch.allclose(layer(x), theirs(x), atol=1e-5)
    upstream = torch.randn_like(plain(x))
    layer(x).backward(upstream)
    theirs(x).backward(upstream)
    for name, other in pairs.items():
        own = getattr(layer, name).grad
        assert torch.allclose(own, other.grad.view_as(own), atol=1e-4), name
    merged = theirs.merge_and_unload()[0]
    assert torch.allclose(layer.merge().weight, merged.weight, atol=1e-5)


def test_nothing_is_taken_out_of_the_weight():
    layer = LoRALinear.from_plain(nn.Linear(12, 8), 4)
    layer.split_()
    assert layer.A.any() and not layer.B.any()
    assert layer.A0.shape == (0, 12) and layer.B0.shape == (8, 0)
    other = LoRALinear.from_plain(nn.Linear(12, 8), 4)
    other.split_()
    assert not torch.equal(layer.A, other.A)


def test_mica_moves_the_weight_in_its_minor_directions():
    plain = nn.Linear(12, 24)
    layer = MiCALinear.from_plain(plain, 2, groups=3)
    layer.split_()
    assert not layer.A.any() and 'B' in dict(layer.named_buffers())
    layer.A.data.normal_()
    for part, directions, change in zip(
        plain.weight.chunk(3), layer.B.chunk(3), layer.delta().chunk(3), strict=True
    ):
        U, _, _ = torch.linalg.svd(part)
        assert torch.allclose(directions.T @ directions, torch.eye(2), atol=1e-5)
        assert torch.allclose(U[:, :-2].T @ change, torch.zeros(6, 12), atol=1e-5)
        assert (U[:, -2:].T @ change).norm() > 0.1


def test_pissa_and_milora_are_the_two_ends_of_the_spectrum():
    plain = nn.Linear(12, 8)
    U, S, Vh = torch.linalg.svd(plain.weight.detach(), full_matrices=False)
    for kind, part in (('PiSSA', slice(2)), ('MiLoRA', slice(-2, None))):
        model = nn.Sequential(copy.deepcopy(plain))
        inject_adapter(model, dict(type=kind, rank=2, targets='0'))
        expected = (U[:, part] * S[part]) @ Vh[part]
        assert torch.allclose(model[0].B @ model[0].A, expected, atol=1e-5)
        with pytest.raises(ValueError, match=f"unknown options \\['component'\\] of {kind}"):
            inject_adapter(model, dict(type=kind, component='random', targets='0'))


def test_mica_has_directions_where_singular_values_are_zero():
    plain = nn.Linear(12, 8)
    plain.weight.data[:, 6:] = 0  # two of the eight singular values are zero
    layer = MiCALinear.from_plain(plain, 4)
    layer.split_()
    assert torch.allclose(layer.B.T @ layer.B, torch.eye(4), atol=1e-5)
    U, _, _ = torch.linalg.svd(plain.weight.detach())
    assert torch.allclose(U[:, :4].T @ layer.B, torch.zeros(4, 4), atol=1e-5)


@pytest.mark.parametrize(('plain', 'shape'), PLAIN, ids=['linear', 'conv'])
def test_dora_on_rows_of_zeros(plain, shape):
    plain = copy.deepcopy(plain)
    plain.weight.data[2] = 0
    layer = (DoRAConv2d if isinstance(plain, nn.Conv2d) else DoRALinear).from_plain(plain, 2)
    layer.split_()
    x = torch.randn(shape)
    assert torch.equal(layer(x), plain(x))
    layer(x).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.adapter_parameters().values())
    state = {f'net.{name}': value for name, value in layer.state_dict().items()}
    assert torch.equal(merge_state(state)['net.weight'], plain.weight)
