"""RecycleLoRA and its QR against scipy's, and the layer against the formula in float64."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

import soma.adapters.qr
from soma.adapters import (
    RecycleLoRAConv2d,
    RecycleLoRALinear,
    adapter_card,
    inject_adapter,
    load_adapter,
    parameter_groups,
    pivoted_qr,
    save_adapter,
)
from soma.adapters.split import split_layers
from soma.checkpoints import average_files
from soma.io.checkpoint_files import CheckpointError

LAYER = dict(type='RecycleLoRA', targets='0', rank=3, sub_rank=2)


def weight_of(rows, columns, digits=0):
    """A random matrix whose singular values fall by so many digits."""
    U, _, V = torch.linalg.svd(torch.randn(rows, columns).double(), full_matrices=False)
    return (U * torch.logspace(0, -digits, len(V))) @ V


@pytest.mark.parametrize('shape', [(60, 40), (200, 40), (40, 40), (40, 60), (40, 300)])
@pytest.mark.parametrize('digits', [0, 4, 7])
def test_pivots_and_columns_are_scipys(shape, digits, monkeypatch):
    monkeypatch.setattr(soma.adapters.qr, '_CANDIDATES', 12)  # several blocks
    weight = weight_of(*shape, digits).float()
    Q, _, P = scipy.linalg.qr(weight.double().numpy(), pivoting=True, mode='economic')
    index = [0, 1, 38, 39]
    pivots, columns = pivoted_qr(weight, index)
    assert pivots.tolist() == P[:40].tolist()
    np.testing.assert_allclose(columns, Q[:, index], atol=1e-15 * 10 ** (digits + 2))


@pytest.fixture
def ways(monkeypatch):
    """Shapes of what the steps that are not always taken were called with."""
    calls = []
    for name in ('_by_reflections', '_choose'):
        real = getattr(soma.adapters.qr, name)
        monkeypatch.setattr(
            soma.adapters.qr,
            name,
            lambda matrix, *rest, name=name, real=real: (
                calls.append((name, *matrix.shape)) or real(matrix, *rest)
            ),
        )
    return calls


@pytest.mark.parametrize(
    ('digits', 'steps'),
    [
        (2, []),
        (5, [('_by_reflections', 60, 40)]),
        (10, [('_by_reflections', 60, 40), ('_choose', 40, 40), ('_by_reflections', 60, 40)]),
    ],
)
def test_lost_digits_are_noticed(digits, steps, ways):
    """The Gram matrix of 5 digits has too few left for Q, of 10 none for the pivots; R tells."""
    weight = weight_of(60, 40, digits)
    Q, _, P = scipy.linalg.qr(weight.numpy(), pivoting=True, mode='economic')
    pivots, columns = pivoted_qr(weight, range(40))
    assert pivots.tolist() == P.tolist() and ways == steps
    np.testing.assert_allclose(columns, Q, atol=1e-14 * 10**digits)


def test_what_rounding_would_decide_is_left_to_lapack(ways):
    """Columns of equal norm; entries of which nothing is left below, or nothing at all."""
    weight = torch.eye(60, 40)
    assert torch.equal(pivoted_qr(weight, range(40)).columns, weight[:, range(40)].double())
    pivoted_qr(torch.diag(torch.linspace(2, 1, 41))[:, :40], [0])
    pivoted_qr(torch.diag(torch.linspace(2, 1, 40)).roll(1, 0).repeat(2, 1), [0])
    assert ways == [('_by_reflections', *shape) for shape in ((60, 40), (41, 40), (80, 40))]


@pytest.mark.parametrize('shape', [(60, 40), (40, 60)])
@pytest.mark.parametrize('rank', [0, 5])
def test_without_full_rank_the_first_pivots_are_scipys(shape, rank):
    weight = torch.randn(shape[0], rank) @ torch.randn(rank, shape[1])
    P = scipy.linalg.qr(weight.double().numpy(), pivoting=True, mode='r')[1]
    pivots, Q = pivoted_qr(weight, range(40))
    assert pivots[:rank].tolist() == P[:rank].tolist()
    assert len({*pivots.tolist()}) == 40
    assert torch.allclose(Q.T @ Q, torch.eye(40).double())
    with pytest.raises(ValueError, match='NaN'):
        pivoted_qr(weight / 0, [])


def start(weight, rank, sub_rank):
    """Both pairs by scipy, in float64: A, B of the main one, and of the sub one."""
    Q, _, P = scipy.linalg.qr(weight, pivoting=True, mode='economic')
    size, one_hot = Q.shape[1], np.eye(weight.shape[1])
    main, sub = slice(size - rank, size), slice(sub_rank)
    return one_hot[P[main]], Q[:, main], one_hot[P[sub]], Q[:, sub]


@pytest.mark.parametrize(('rank', 'sub_rank'), [(3, 2), (3, 0), (0, 2)])
@pytest.mark.parametrize('shape', [(10, 6), (6, 10)])
@pytest.mark.parametrize('tokens', [3, 64])  # beside the weight, and in it
def test_the_layer_is_the_formula(shape, rank, sub_rank, tokens):
    plain = nn.Linear(*shape[::-1])
    layer = RecycleLoRALinear.from_plain(plain, rank, sub_rank, alpha=2.0)
    layer.split_()
    W = plain.weight.detach().double().numpy()
    A, B, A_sub, B_sub = start(W, rank, sub_rank)
    for name, value in zip(('A', 'B', 'A_sub', 'B_sub'), (A, B, A_sub, B_sub), strict=True):
        np.testing.assert_allclose(getattr(layer, name).detach(), value, atol=1e-6)
    taken = B @ A + B_sub @ A_sub
    with torch.no_grad():
        for parameter in layer.adapter_parameters().values():
            parameter += torch.randn_like(parameter)
    A, B, A_sub, B_sub = (
        getattr(layer, n).detach().double().numpy() for n in ('A', 'B', 'A_sub', 'B_sub')
    )
    scale = 2 / (rank + sub_rank)
    effective = W - scale * taken + scale * (B @ A + B_sub @ A_sub)
    np.testing.assert_allclose(layer.effective_weight().detach(), effective, atol=1e-5)
    x, upstream = torch.randn(tokens, shape[1]), torch.randn(tokens, shape[0])
    layer(x).backward(upstream)
    G = upstream.T.double().numpy() @ x.double().numpy()  # of the effective weight
    grads = {'A': B.T @ G, 'B': G @ A.T, 'A_sub': B_sub.T @ G, 'B_sub': G @ A_sub.T}
    trained = layer.adapter_parameters()
    assert trained.keys() == {n for n in grads if grads[n].size} and plain.bias.grad is None
    for name, parameter in trained.items():
        np.testing.assert_allclose(parameter.grad, scale * grads[name], rtol=1e-4, atol=1e-4)


def test_a_fused_projection_is_one_matrix():
    net = nn.Sequential()
    net.attn = nn.MultiheadAttention(8, 2)
    net.qkv = nn.Linear(8, 24)
    net.conv = nn.Conv2d(3, 8, 3)
    config = dict(type='RecycleLoRA', rank=3, sub_rank=2, targets=r'qkv|attn\.in_proj|conv')
    inject_adapter(net, config)
    assert [net.qkv.groups, net.attn.in_proj.groups] == [1, 1]
    assert adapter_card(net).groups == {} and net.qkv.A.shape == (3, 8)
    kernel = net.conv.plain_weight.detach().flatten(1)
    assert isinstance(net.conv, RecycleLoRAConv2d)
    assert net.conv.A0.argmax(1)[3:].tolist() == pivoted_qr(kernel, []).pivots[:2].tolist()
    apart = nn.Sequential(nn.Linear(8, 24))
    inject_adapter(apart, {**LAYER, 'groups': {'0': 3}})
    second = start(apart[0].plain_weight[8:16].detach().double().numpy(), 3, 2)
    np.testing.assert_array_equal(apart[0].A.detach()[3:6], second[0])
    np.testing.assert_allclose(apart[0].B_sub.detach()[8:16], second[3], atol=1e-6)


def test_the_optimizer_of_a_loop_has_their_settings():
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    inject_adapter(net, {**LAYER, 'modules_to_save': '1'})
    groups = parameter_groups(net, 1e-3, 0.05)
    names = {parameter: name for name, parameter in net.named_parameters()}
    found = {names[p]: (g['lr'], g['weight_decay']) for g in groups for p in g['params']}
    assert found == {
        **dict.fromkeys(('0.A', '0.B'), (1e-3, 0.0)),
        **dict.fromkeys(('0.A_sub', '0.B_sub'), (5e-4, 0.0)),
        **dict.fromkeys(('1.weight', '1.bias'), (1e-3, 0.05)),
    }
    torch.optim.AdamW(groups)


def test_the_split_is_kept_and_found(tmp_path, monkeypatch):
    def make():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 12))
        inject_adapter(net, LAYER, split=False)
        return {'0': net[0]}

    first, second = make(), make()
    split_layers(first, tmp_path / 'base.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['base.pth.split-r5-qr3.safetensors']
    monkeypatch.setattr('soma.adapters.methods.recyclelora.pivoted_qr', None)
    split_layers(second, tmp_path / 'base.pth')
    for name, value in first['0'].state_dict().items():
        assert torch.equal(value, second['0'].state_dict()[name])


def test_files_are_averaged_and_checked(tmp_path):
    plain, files = nn.Sequential(nn.Linear(8, 12)), []
    changes = []
    for seed in range(2):
        net = nn.Sequential(nn.Linear(8, 12))
        net.load_state_dict(plain.state_dict())
        inject_adapter(net, LAYER)
        torch.manual_seed(seed)
        for parameter in net[0].adapter_parameters().values():
            parameter.data += torch.randn_like(parameter)
        files.append(tmp_path / f'{seed}.safetensors')
        save_adapter(net, files[-1])
        changes.append(net[0].delta())
    average_files(files, tmp_path / 'mean.safetensors', r'0\.A_sub', rank=8)
    load_adapter(plain, tmp_path / 'mean.safetensors')  # as plain LoRA
    assert plain[0].method == 'LoRA'
    assert torch.allclose(plain[0].delta(), sum(changes) / 2, atol=1e-5)

    other = nn.Sequential(nn.Linear(8, 12))
    inject_adapter(other, LAYER)
    card = adapter_card(other)
    for name, value in (('sub_rank', 1), ('rank', 2)):
        other[0].settings = lambda name=name, value=value: {**card.settings, name: value}
        save_adapter(other, tmp_path / 'wrong.safetensors')
        with pytest.raises(CheckpointError, match=f'its card says {name} {value}, but 0 has rank'):
            load_adapter(nn.Sequential(nn.Linear(8, 12)), tmp_path / 'wrong.safetensors')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(rank=0, sub_rank=0), 'rank must be at least 1, and whole, got 0'),
        (dict(rank=-1), 'rank must be at least 0, and whole, got -1'),
        (dict(sub_rank=1.5), 'sub_rank must be at least 0, and whole, got 1.5'),
        (dict(alpha=None), 'alpha must be a number, got None'),
        (dict(rank=6, sub_rank=3), r'rank \+ sub_rank 9 is out of range for a 8 x 8 matrix'),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        inject_adapter(nn.Sequential(nn.Linear(8, 8)), {**LAYER, **options})
