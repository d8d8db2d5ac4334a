import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from soma.adapters import (
    SoMAConv2d,
    SoMALinear,
    adapter_card,
    inject_adapter,
    load_adapter,
    low_rank_product,
    merge_adapter,
    merge_state,
    save_adapter,
    split_components,
)
from soma.adapters.functional import AdaptedLinear
from soma.adapters.low_rank import low_rank_delta
from soma.adapters.state import card_from_tensors
from soma.checkpoints import open_checkpoint
from soma.checkpoints.average import average_files


def adapted(plain, trained=True, **options):
    layer = (SoMALinear if isinstance(plain, nn.Linear) else SoMAConv2d).from_plain(
        copy.deepcopy(plain), **{'rank': 4, **options}
    )
    layer.split_()
    if trained:
        for parameter in layer.adapter_parameters().values():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return layer


LAYERS = [
    (nn.Linear(16, 24), {}, (3, 5, 16)),
    (nn.Linear(16, 48), {'groups': 3, 'alpha': 8}, (3, 5, 16)),
    (nn.Linear(16, 12, bias=False), {'component': 'principal'}, (7, 16)),
    (nn.Conv2d(3, 8, 3, stride=2, padding=1), {}, (2, 3, 9, 11)),
    (nn.Conv2d(4, 6, 2, dilation=2, bias=False), {'alpha': 2}, (2, 4, 9, 11)),
]


@pytest.mark.parametrize(('plain', 'options', 'shape'), LAYERS)
def test_fresh_layer_equals_the_plain_one_bit_for_bit(plain, options, shape):
    x = torch.randn(shape)
    layer = adapted(plain, trained=False, **options)
    assert torch.equal(layer(x), plain(x))
    assert torch.equal(layer.weight, plain.weight)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(layer(x), plain(x))


@pytest.mark.parametrize(('plain', 'options', 'shape'), LAYERS)
def test_output_and_gradients_are_those_of_the_formula(plain, options, shape):
    plain = copy.deepcopy(plain).double()
    layer = adapted(plain, **options)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    change = low_rank_product(layer.A, layer.B, layer.groups) - low_rank_product(
        layer.A0, layer.B0, layer.groups
    )
    weight = plain.weight.detach() + (layer.scale * change).view_as(plain.weight)
    parameters = {'weight': weight} | ({'bias': layer.bias} if layer.bias is not None else {})
    expected = torch.func.functional_call(plain, parameters, (x,))
    assert torch.allclose(layer(x), expected)
    wrt = [x, *layer.adapter_parameters().values()]
    grad = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(layer(x), wrt, grad),
        torch.autograd.grad(expected, wrt, grad),
        strict=True,
    ):
        assert torch.allclose(ours, theirs)


def test_full_gradient_of_the_weight_is_never_formed():
    layer = adapted(nn.Linear(64, 64))
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                sizes.append((str(func), tuple(out.shape)))
            return out

    x = torch.randn(5, 64)  # no gradient wanted, so backward needs no effective weight either
    y = layer(x)
    with Watch():
        y.sum().backward()
    assert layer.A.grad is not None and layer.weight.grad is None
    assert not [entry for entry in sizes if entry[1] == (64, 64)]


@pytest.mark.parametrize(('plain', 'options', 'shape'), LAYERS)
def test_merge_gives_a_plain_layer(plain, options, shape):
    x = torch.randn(shape)
    layer = adapted(plain, **options)
    merged = layer.merge()
    assert type(merged) is type(plain)
    assert torch.allclose(merged(x), layer(x), atol=1e-5)
    assert not torch.allclose(merged(x), plain(x), atol=1e-3)
    assert torch.allclose(layer.weight + layer.delta(), merged.weight)


def test_scale_keeps_the_split_part():
    plain = nn.Linear(16, 16)
    layer = adapted(plain, trained=False, alpha=12)
    reference = adapted(plain, trained=False)
    assert layer.scale == 3
    product = low_rank_product(layer.A0, layer.B0) * layer.scale
    assert torch.allclose(product, low_rank_product(reference.A0, reference.B0), atol=1e-6)


def test_released_meaning_with_zero_start_is_w_plus_s_b_a():
    layer = adapted(nn.Linear(16, 16), alpha=8)
    layer.A0.zero_()
    layer.B0.zero_()
    weight = layer.weight + 2 * layer.B @ layer.A
    x = torch.randn(3, 16)
    assert torch.allclose(layer(x), nn.functional.linear(x, weight, layer.bias), atol=1e-6)


def test_plain_weights_that_are_loaded_are_split():
    layer, plain = adapted(nn.Linear(16, 16)), nn.Linear(16, 16)
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(3, 16)
    assert torch.equal(layer(x), plain(x))
    fresh = adapted(plain, trained=False)
    assert torch.equal(layer.A, fresh.A) and torch.equal(layer.B0, fresh.B0)


def test_adapted_state_round_trips():
    layer, other = adapted(nn.Linear(16, 48), groups=3), adapted(nn.Linear(16, 48), groups=3)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(3, 16)
    assert torch.equal(layer(x), other(x))


def test_half_an_adapter_is_an_error():
    layer = adapted(nn.Linear(16, 16))
    state = layer.state_dict()
    del state['A0']
    with pytest.raises(RuntimeError, match='A0'):
        layer.load_state_dict(state)


@pytest.mark.parametrize('tokens', [5, 50])  # beside the weight, and summed with it
@pytest.mark.parametrize('groups', [1, 3])
def test_gradcheck(tokens, groups):
    layer = adapted(nn.Linear(6, 12).double(), rank=2, groups=groups)
    x = torch.randn(tokens, 6, dtype=torch.float64, requires_grad=True)
    weights = [layer.weight, layer.bias, layer.A, layer.B, layer.A0, layer.B0]
    weights = [w.detach().requires_grad_(w.requires_grad) for w in weights]
    torch.autograd.gradcheck(lambda *t: AdaptedLinear.apply(*t, 0.7, groups), (x, *weights))


@pytest.mark.parametrize('groups', [1, 3])
def test_no_tokens(groups):
    layer = adapted(nn.Linear(6, 12), rank=2, groups=groups)
    x = torch.randn(2, 0, 6, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == (2, 0, 12) and x.grad.shape == x.shape and not layer.A.grad.any()


@pytest.mark.parametrize('tokens', [5, 50])
def test_second_derivatives_are_refused(tokens):
    layer = adapted(nn.Linear(6, 12), rank=2)
    x = torch.randn(tokens, 6, requires_grad=True)
    (first,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        first.sum().backward()


@pytest.mark.parametrize('tokens', [5, 50])
def test_backward_within_autocast(tokens):
    layer = adapted(nn.Linear(6, 12), rank=2)
    y = layer(torch.randn(tokens, 6, requires_grad=True))
    expected = torch.autograd.grad(y.sum(), layer.A, retain_graph=True)
    with torch.autocast('cpu', torch.bfloat16):
        result = torch.autograd.grad(y.sum(), layer.A)
    torch.testing.assert_close(result, expected)


def test_loads_parameters_too():
    layer = adapted(nn.Linear(6, 12), rank=2)
    weight = nn.Parameter(torch.randn(12, 6))
    layer.load_state_dict({'weight': weight, 'bias': nn.Parameter(torch.zeros(12))})
    assert torch.equal(layer.weight, weight)
    assert torch.equal(layer.delta(), torch.zeros(12, 6))


@pytest.mark.parametrize('tokens', [8, 100])
def test_gradients_under_autocast_and_checkpointing(tokens):
    layer = adapted(nn.Linear(32, 96), groups=3)
    x = torch.randn(tokens, 32, requires_grad=True)
    layer(x).square().mean().backward()
    exact = [p.grad.clone() for p in (x, layer.A, layer.B, layer.bias)]
    for run in (layer, lambda x: checkpoint(layer, x, use_reentrant=False)):
        for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 2e-2)):
            for parameter in (x, layer.A, layer.B, layer.bias):
                parameter.grad = None
            with torch.autocast('cpu', torch.bfloat16, enabled=dtype == torch.bfloat16):
                out = run(x)
            assert out.dtype == dtype
            out.float().square().mean().backward()
            for parameter, expected in zip((x, layer.A, layer.B, layer.bias), exact, strict=True):
                assert parameter.grad.dtype == torch.float32
                assert (parameter.grad - expected).norm() <= tolerance * expected.norm()


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < '2.4', reason='compiles no needs_input_grad')
@pytest.mark.parametrize('tokens', [4, 40])
def test_torch_compile_gives_the_same(tokens):
    layer = adapted(nn.Linear(16, 48), groups=3)
    x = torch.randn(tokens, 16, requires_grad=True)
    expected = torch.autograd.grad(layer(x).square().sum(), [x, layer.A, layer.B])
    compiled = torch.compile(layer, backend='aot_eager', fullgraph=True)
    result = torch.autograd.grad(compiled(x).square().sum(), [x, layer.A, layer.B])
    for ours, theirs in zip(result, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_constructor_gives_a_plain_linear_with_an_idle_adapter():
    layer = SoMALinear(8, 8, rank=2)
    assert not layer.A.any() and layer.A.requires_grad and not layer.weight.requires_grad
    assert 'rank=2' in repr(layer)


@pytest.mark.parametrize(
    ('plain', 'options', 'message'),
    [
        (nn.Linear(8, 8), {'rank': 9}, 'rank 9'),
        (nn.Linear(8, 8), {'alpha': 0}, 'alpha must be positive'),
        (nn.Linear(8, 8), {'groups': 3}, '3 groups'),
        (nn.Conv2d(8, 8, 3, groups=2), {}, 'groups=1'),
        (nn.Conv2d(8, 8, 3, padding='same'), {}, 'padding in numbers'),
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode='reflect'), {}, 'zero padding'),
    ],
)
def test_layers_that_cannot_be_adapted_are_refused(plain, options, message):
    with pytest.raises(ValueError, match=message):
        adapted(plain, **options)


@pytest.mark.parametrize(
    'plain', [nn.Linear(24, 60), nn.Linear(20, 48, bias=False), nn.Conv2d(4, 30, 2)]
)
def test_start_of_the_release_is_a_split_of_a_new_layer(plain):
    """Its ``B A`` are the minor components of what ``nn.Linear`` draws, whatever ``W`` is."""
    groups = 3 if plain.weight.shape == (48, 20) else 1
    torch.manual_seed(3)
    layer = adapted(
        plain, False, component='release', alpha=8, **({'groups': 3} if groups > 1 else {})
    )
    rows, columns = plain.weight.flatten(1).shape
    torch.manual_seed(3)
    drawn = nn.Linear(columns, rows).weight.detach().double().numpy()
    expected = []
    for part in np.split(drawn, groups):
        U, S, V = np.linalg.svd(part, full_matrices=False)
        expected.append(U[:, -4:] * S[-4:] @ V[-4:])
    delta = layer.delta().flatten(1)
    np.testing.assert_allclose(delta.detach().numpy(), np.concatenate(expected), atol=1e-6)
    assert torch.equal(layer.weight, plain.weight) and layer.A0.shape == layer.A.shape
    assert not layer.A0.any() and not layer.B0.any() and layer.cache_key is None
    assert torch.allclose(layer.merge().weight, plain.weight + layer.delta(), atol=1e-6)


def blocks(count=1, width=64):
    """The linear layers of a transformer."""
    net = nn.Module()
    net.blocks = nn.ModuleList()
    for _ in range(count):
        block = nn.Module()
        block.attn, block.mlp = nn.Module(), nn.Module()
        block.attn.qkv, block.attn.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        block.mlp.fc1, block.mlp.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        net.blocks.append(block)
    return net


def test_start_of_the_release_in_files(tmp_path):
    """||B A|| is about 0.2 ||W|| on a small model, and averages are those of the changes."""
    base, nets = blocks(), []
    config = dict(type='SoMA', component='release')
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        nets.append(copy.deepcopy(base))
        inject_adapter(nets[-1], config)
        save_adapter(nets[-1], tmp_path / f'{len(nets)}.pth')
    first, other, again = (
        {n: m for n, m in net.named_modules() if isinstance(m, SoMALinear)} for net in nets
    )
    shares = [(m.delta().norm() / m.weight.norm()).item() for m in first.values()]
    assert 0.1 < sum(shares) / len(shares) < 0.3
    assert all(torch.equal(layer.A, again[name].A) for name, layer in first.items())
    assert not any(torch.equal(layer.A, other[name].A) for name, layer in first.items())
    loaded = copy.deepcopy(base)
    load_adapter(loaded, tmp_path / '1.pth')
    average_files([tmp_path / '1.pth', tmp_path / '2.pth'], tmp_path / 'mean.pth', rank=32)
    mean = open_checkpoint(tmp_path / 'mean.pth')
    assert mean.card.settings['component'] == 'release'
    for name, layer in first.items():
        assert torch.equal(loaded.get_submodule(name).delta(), layer.delta())
        change = low_rank_delta(mean.layers[name], mean.card.settings)
        expected = (layer.delta() + other[name].delta()) / 2
        assert torch.allclose(change, expected, atol=1e-6)
    merged = copy.deepcopy(nets[0])
    assert merge_adapter(merged) == 4
    state = merge_state(nets[0].state_dict(), adapter_card(nets[0]))
    for name, layer in first.items():
        weight = base.get_parameter(f'{name}.weight') + layer.delta()
        assert torch.allclose(merged.get_parameter(f'{name}.weight'), weight, atol=1e-6)
        assert torch.allclose(state[f'{name}.weight'], weight, atol=1e-6)


RAMP = dict(type='SoMA', rank=1, alpha=2, rank_ramp=True, start_block=11)


def test_ranks_rise_with_depth_as_in_the_release(tmp_path):
    base = blocks(21, 8)
    net = copy.deepcopy(base)
    inject_adapter(net, RAMP)
    expected = {11: 1, 12: 2, 15: 2, 16: 4, 19: 4, 20: 8}
    for block, rank in expected.items():
        layer = net.blocks[block].mlp.fc1
        A, B = split_components(layer.weight, rank)
        assert layer.rank == rank and layer.scale == 2 / rank
        assert torch.allclose(low_rank_product(layer.A0, layer.B0) * layer.scale, B @ A, atol=1e-6)
        layer.B.data += 1
        torch.testing.assert_close(layer.delta(), layer.scale * (layer.A.sum(0).expand(16, 8)))
    save_adapter(net, tmp_path / 'ramp.pth')
    checkpoint = open_checkpoint(tmp_path / 'ramp.pth')
    settings = {'rank': 1, 'alpha': 2.0, 'component': 'minor', 'rank_ramp': True}
    assert checkpoint.card.settings == settings
    loaded = copy.deepcopy(base)
    load_adapter(loaded, tmp_path / 'ramp.pth')
    folded = merge_state(net.state_dict(), checkpoint.card)
    # without a card, as in the release's files; alpha is the first rank there
    recognised = card_from_tensors(net.state_dict(), alpha=2)
    assert recognised.settings == settings
    average_files([tmp_path / 'ramp.pth'] * 2, tmp_path / 'mean.pth')
    mean = open_checkpoint(tmp_path / 'mean.pth')
    assert mean.card.settings == {'rank': 8, 'alpha': 8.0, 'component': 'minor'}
    for name, layer in net.named_modules():
        if isinstance(layer, SoMALinear):
            assert torch.equal(loaded.get_submodule(name).delta(), layer.delta())
            assert torch.allclose(folded[f'{name}.weight'], layer.effective_weight(), atol=1e-6)
            change = low_rank_delta(mean.layers[name], mean.card.settings)
            assert torch.allclose(change, layer.delta(), atol=1e-5)
    tensors = {**net.state_dict(), 'blocks.16.mlp.fc1.B': torch.ones(16, 3)}
    with pytest.raises(ValueError, match=r'blocks\.16\.mlp\.fc1 do not belong together'):
        card_from_tensors(tensors)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(lora_dropout=0.0), 'lora_dropout of SoMA: .* never applies: leave it out'),
        (dict(type='PiSSA', lora_dropout=0.0), r"unknown options \['lora_dropout'\] of PiSSA"),
        (dict(rank_ramp=True, rank=1), 'rank_ramp raises the ranks from block 12 on'),
        (dict(rank_ramp=1), 'rank_ramp must be True or False'),
        (dict(component='released'), "component must be one of .*'release'"),
    ],
)
def test_options_without_a_meaning_say_why(options, message):
    with pytest.raises(ValueError, match=message) as error:
        inject_adapter(blocks(width=8), {'type': 'SoMA', **options})
    assert '\n' not in str(error.value)
