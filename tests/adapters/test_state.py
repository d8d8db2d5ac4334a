import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from soma.adapters import (
    SoMAConv2d,
    SoMALinear,
    base_hash,
    card_from_tensors,
    from_release,
    merge_state,
)


@st.composite
def layers(draw):
    """An adapted layer after some training, and an input of it."""
    groups = draw(st.integers(1, 3))
    inputs, rows = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    rank = draw(st.integers(1, min(inputs, rows)))
    alpha = draw(st.floats(0.1, 40))
    dtype = draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
    bias, train_bias = draw(st.booleans()), draw(st.booleans())
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    if draw(st.booleans()):
        plain = nn.Linear(inputs, groups * rows, bias)
        x = torch.randn(3, inputs, generator=generator)
        kind = SoMALinear
    else:
        plain, groups = nn.Conv2d(inputs, rows, draw(st.sampled_from([1, 3])), bias=bias), 1
        x = torch.randn(2, inputs, 5, 4, generator=generator)
        kind = SoMAConv2d
    options = dict(groups=groups) if kind is SoMALinear else {}
    layer = kind.from_plain(plain.to(dtype), rank, alpha, train_bias=train_bias, **options)
    layer.split_()
    with torch.no_grad():
        for parameter in layer.adapter_parameters().values():
            parameter += torch.randn(parameter.shape, generator=generator).to(dtype) / 4
    return layer, x.to(dtype), alpha


@settings(max_examples=60, deadline=None)
@given(layers())
def test_a_merged_state_computes_what_the_layer_did(made):
    layer, x, alpha = made
    state = {f'net.{name}': value for name, value in layer.state_dict().items()}
    card = card_from_tensors(state, alpha)
    assert card.targets == ('net',)
    plain = merge_state(state, card)
    assert plain.keys() == {f'net.{n}' for n in ('weight', 'bias')} & state.keys()
    assert plain['net.weight'].dtype == layer.weight.dtype
    live = layer._plain().to_empty(device='cpu').to(x.dtype)
    live.load_state_dict({name.removeprefix('net.'): value for name, value in plain.items()})
    # by hand, in float64
    A, B, A0, B0 = (getattr(layer, n).detach().double() for n in ('A', 'B', 'A0', 'B0'))
    by_hand = [
        b @ a - b0 @ a0
        for a, b, a0, b0 in zip(*(t.chunk(layer.groups) for t in (A, B, A0, B0)), strict=True)
    ]
    by_hand = layer.weight.double() + layer.scale * torch.cat(by_hand).view_as(layer.weight)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.05}[x.dtype]
    scale = 1 + by_hand.abs().max().item() + layer.scale
    assert (plain['net.weight'].double() - by_hand).abs().max() <= tolerance * scale
    # and run
    size = scale * x.abs().amax().item() * x[0].numel()
    torch.testing.assert_close(live(x), layer(x), rtol=tolerance, atol=tolerance * size)


def test_a_state_that_is_no_whole_adapter_is_refused():
    layer = SoMALinear(4, 4, rank=2)
    state = {f'net.{name}': value for name, value in layer.state_dict().items()}
    for name, message in (('B', 'adapter of net lacks B'), ('weight', 'net has an adapter but no')):
        broken = {key: value for key, value in state.items() if key != f'net.{name}'}
        with pytest.raises(ValueError, match=message):
            merge_state(broken)
    state['net.weight'] = torch.zeros(5, 4)
    with pytest.raises(ValueError, match=r'made for a weight of \[4, 4\], the base has \[5, 4\]'):
        merge_state(state)


def test_names_like_an_adapters_are_no_adapter():
    state = {'ssm.A': torch.ones(2), 'ssm.B': torch.ones(2)}
    assert card_from_tensors(state).method is None and merge_state(state) == state


def test_the_hash_names_the_values():
    base = {'b': torch.randn(3), 'a': torch.randn(2, 2), 'pos_embed': torch.randn(1, 5, 2)}
    found = base_hash(base)
    assert len(found) == 64
    assert base_hash(dict(reversed(base.items()))) == found
    assert base_hash({**base, 'b': base['b'].double()}) == found
    # resized on another machine
    resized = {**base, 'pos_embed': base['pos_embed'] + 1e-6}
    assert base_hash(resized) == found
    assert base_hash(resized, exact=True) != base_hash(base, exact=True)
    for name, value in (('b', base['b'] + 1e-6), ('a', base['a'].view(4)), ('c', torch.ones(1))):
        assert base_hash({**base, name: value}) != found
    assert base_hash({**base, 'pos_embed': torch.randn(1, 10, 2)}) != found


def test_the_releases_names():
    names = [f'backbone.model.blocks.2.attn.{part}' for part in 'qkv']
    state = {f'{name}.lora_A.weight': torch.randn(2, 4) for name in names}
    state |= {f'{name}.lora_B.weight': torch.randn(4, 2) for name in names}
    state |= {f'{name}.bias': torch.randn(4) for name in names}
    state |= {'backbone.model.mask_token': torch.zeros(1, 4), 'decode_head.w': torch.ones(1)}
    renamed = from_release(state)
    qkv = 'backbone.blocks.2.attn.qkv'
    assert renamed.keys() == {f'{qkv}.{n}' for n in ('A', 'B', 'A0', 'B0', 'bias')} | {
        'decode_head.w'
    }
    factors = [torch.cat([state[f'{n}.lora_{f}.weight'] for n in names]) for f in 'AB']
    assert torch.equal(renamed[f'{qkv}.A'], factors[0])
    assert torch.equal(renamed[f'{qkv}.B'], factors[1])
    assert not renamed[f'{qkv}.A0'].any() and not renamed[f'{qkv}.B0'].any()
    assert torch.equal(renamed[f'{qkv}.bias'], torch.cat([state[f'{n}.bias'] for n in names]))
    assert from_release(renamed) == renamed
    for broken, message in (('lora_B', r'attn\.v\.B'), ('lora_A', r'attn\.v\.A')):
        part = {k: v for k, v in state.items() if k != f'{names[2]}.{broken}.weight'}
        with pytest.raises(ValueError, match=message):
            from_release(part)
