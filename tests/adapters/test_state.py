import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from soma.adapters import (
    Card,
    SoMAConv2d,
    SoMALinear,
    base_hash,
    card_from_tensors,
    from_release,
    merge_state,
)
from soma.adapters.card import check_tensors
from soma.io.files import CheckpointError


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


def soma_state(layers=('a', 'b'), rank=2, groups=1):
    """A SoMA in layers of 6 x 4 weights."""
    shapes = {'weight': (6, 4), 'A': (groups * rank, 4), 'B': (6, rank)}
    shapes |= {'A0': shapes['A'], 'B0': shapes['B']}
    return {f'{n}.{leaf}': torch.randn(shape) for n in layers for leaf, shape in shapes.items()}


@pytest.mark.parametrize(
    ('name', 'shape', 'message'),
    [
        ('a.A', (3, 4), r'tensors of a do not belong together: A \[3, 4\], B \[6, 2\]'),
        ('a.A', (10, 4), 'tensors of a do not belong together'),  # 5 groups of 6 rows
        ('a.A0', (2, 5), 'tensors of a do not belong together'),
        ('a.B0', (5, 2), 'tensors of a do not belong together'),
        ('a.B', (6, 0), 'tensors of a do not belong together'),
        ('a.B', (6,), 'adapter of a is no pair of matrices'),
    ],
)
def test_no_rank_and_no_group_is_guessed_from_shapes_that_do_not_fit(name, shape, message):
    state = {**soma_state(), name: torch.zeros(shape)}
    with pytest.raises(ValueError, match=message):
        card_from_tensors(state)
    card = card_from_tensors(soma_state())
    with pytest.raises(CheckpointError, match=f'^x.pth: the {message}'):
        check_tensors(card, state, 'x.pth')


def test_each_tensor_of_an_adapter_belongs_to_the_card():
    card = card_from_tensors(soma_state(['a']))
    check_tensors(card, soma_state(['a']), 'x.pth')
    check_tensors(card, {**soma_state(['a']), 'head.A': torch.ones(1)}, 'x.pth')  # of anything
    message = r'^x\.pth: its card names 1 layers with SoMA, and of its tensors not {} \.\.\. \({}\)'
    with pytest.raises(CheckpointError, match=message.format('b.A', 8)):
        check_tensors(card, soma_state(['a', 'b', 'c']), 'x.pth')
    with pytest.raises(CheckpointError, match=message.format('a.magnitude', 1)):
        check_tensors(card, {**soma_state(['a']), 'a.magnitude': torch.ones(6)}, 'x.pth')
    with pytest.raises(CheckpointError, match=message.format('b.S', 2)):
        other = {'b.S': torch.ones(4), 'b.S0': torch.ones(4)}
        check_tensors(card, {**soma_state(['a']), **other}, 'x.pth')


@pytest.mark.parametrize(('alpha', 'message'), [(math.nan, 'got nan'), (0.0, 'got 0.0')])
def test_an_alpha_that_is_none_is_refused(alpha, message):
    with pytest.raises(ValueError, match=f'alpha must be positive, .* {message}'):
        card_from_tensors(soma_state(), alpha)


def test_an_alpha_that_is_of_no_use_is_refused():
    assert card_from_tensors(soma_state(), 4).settings['alpha'] == 4.0
    with pytest.raises(ValueError, match='no adapter that has an alpha: leave alpha'):
        card_from_tensors({'weight': torch.ones(1)}, 4)


def test_singular_values_and_their_start_belong_together():
    card = Card(method='SVF', settings={'ratio': 1.0}, targets=['a'])
    state = {'a.weight': torch.randn(6, 4), 'a.S': torch.ones(4), 'a.S0': torch.ones(3)}
    with pytest.raises(CheckpointError, match=r'not belong together: S \[4\], S0 \[3\]'):
        check_tensors(card, state, 'x.pth')


def test_a_magnitude_of_another_weight_is_refused():
    state = {**soma_state(['a']), 'a.magnitude': torch.ones(5)}
    card = Card(method='DoRA', settings={'rank': 2, 'alpha': 2.0}, targets=['a'])
    with pytest.raises(ValueError, match=r'a: the magnitude \[5\] is made for another weight'):
        merge_state(state, card)


def test_query_key_and_value_of_a_release_have_one_shape():
    layer = 'backbone.model.blocks.0.attn'
    state = {}
    for part, rank in zip('qkv', (2, 2, 3), strict=True):
        state[f'{layer}.{part}.lora_A.default.weight'] = torch.zeros(rank, 4)
        state[f'{layer}.{part}.lora_B.default.weight'] = torch.zeros(4, rank)
    with pytest.raises(ValueError, match=r'attn\.v\.A one is missing or of another shape'):
        from_release(state)
