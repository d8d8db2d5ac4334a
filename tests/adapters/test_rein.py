"""Rein against its formula, on transformers and convolutional networks."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from rein_networks import NETWORKS, make_large, vit
from torch import nn
from torch.utils.checkpoint import checkpoint

from soma.adapters import inject_adapter, load_adapter, save_adapter
from soma.adapters.methods.rein import Rein, StageReins, attach_rein
from soma.io.checkpoint_files import read_checkpoint, write_checkpoint

SKIP = {'vit': 1, 'registers': 3}


def attach(name, **options):
    """A network of :data:`NETWORKS` with Rein, in eval mode, and the one without."""
    make, blocks, _ = NETWORKS[name]
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.rand_like(parameter))
    plain = copy.deepcopy(model)
    options = {'num_tokens': 5, 'rank': 2, 'query_dims': 6, **options}
    attach_rein(model, {block: model.get_submodule(block) for block in blocks}, **options)
    return model, plain


def reins_of(model):
    return list(model.reins.values()) if isinstance(model.reins, StageReins) else [model.reins]


def formula(state, index, f, use_softmax=True):
    """The formula of the paper, from the parameters by name and features ``(N, n, c)``."""
    T = state.get('learnable_tokens')
    if T is None:
        T = torch.einsum('lmr,lrc->lmc', state['learnable_tokens_a'], state['learnable_tokens_b'])
    T, c = T[index], f.shape[-1]
    S = torch.einsum('Nnc,mc->Nnm', f, T)
    S = S.div(math.sqrt(c)).softmax(-1) if use_softmax else S
    W, b = state['mlp_token2feat.weight'], state['mlp_token2feat.bias']
    values = torch.einsum('mc,dc->md', T[1:], W) + b
    d = torch.einsum('Nnm,mc->Nnc', S[:, :, 1:], values)
    W, b = state['mlp_delta_f.weight'], state['mlp_delta_f.bias']
    return f + state.get('scale', 1) * (torch.einsum('Nnc,dc->Nnd', d + f, W) + b)


@pytest.mark.parametrize('use_softmax', [True, False])
@pytest.mark.parametrize('fixed', [False, True])
@pytest.mark.parametrize('rank', [None, 3])
def test_features_change_by_the_formula(rank, fixed, use_softmax):
    options = dict(zero_mlp_delta_f=fixed, use_softmax=use_softmax)
    rein = Rein(8, ['a', 'b'], num_tokens=5, rank=rank, **options).double()
    assert ('scale' in rein.state_dict()) != fixed
    x = torch.randn(2, 7, 8, dtype=torch.double)
    with torch.no_grad():
        for parameter in rein.parameters():
            parameter.copy_(torch.randn_like(parameter))
        for index in range(2):
            expected = formula(rein.state_dict(), index, x, use_softmax)
            torch.testing.assert_close(x + rein(x, index), expected)
        assert not torch.allclose(rein(x, 0), rein(x, 1))


@pytest.mark.parametrize('name', NETWORKS)
def test_every_block_is_refined_and_no_prefix_token(name):
    model, plain = attach(name)
    make_large(model)
    for rein in reins_of(model):
        rein.scale.data.fill_(0.3)
    skip = SKIP.get(name, 0)

    def by_hand(rein, index):
        state = rein.state_dict()

        def hook(module, args, out):
            f = out.flatten(2).mT if out.ndim == 4 else out[:, skip:]
            f = formula(state, index, f)
            return f.mT.reshape(out.shape) if out.ndim == 4 else torch.cat([out[:, :skip], f], 1)

        return hook

    assert [rein.width for rein in reins_of(model)] == NETWORKS[name][2]
    assert sorted(block for rein in reins_of(model) for block in rein.blocks) == NETWORKS[name][1]
    for rein in reins_of(model):
        for index, block in enumerate(rein.blocks):
            plain.get_submodule(block).register_forward_hook(by_hand(rein, index))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x), plain(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', NETWORKS)
def test_zero_is_the_frozen_network_exactly(name):
    x = torch.randn(2, 3, 32, 32)
    model, plain = attach(name, zero_init=True, scale_init=0.7)
    assert torch.equal(model(x), plain(x))
    model, plain = attach(name, zero_mlp_delta_f=True)
    assert torch.equal(model(x), plain(x))
    model, plain = attach(name)
    assert not torch.equal(model(x), plain(x))
    for parameter in model.reins.parameters():
        parameter.data.zero_()
    assert torch.equal(model(x), plain(x))


@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize('link', [False, True])
@pytest.mark.parametrize(
    'options', [{}, {'rank': None, 'zero_mlp_delta_f': True}, {'zero_init': True}], ids=str
)
def test_all_that_trains_gets_a_gradient(name, link, options):
    """So that DistributedDataParallel needs no ``find_unused_parameters``."""
    model, _ = attach(name, link=link, **options)
    out = model(torch.randn(2, 3, 32, 32))
    loss = out[0].square().mean() + out[1].square().mean() if link else out.square().mean()
    loss.backward()
    missing = [n for n, p in model.reins.named_parameters() if p.grad is None]
    assert not missing and (not link or out[1].shape == (5, 6))
    if not options:
        zero = [n for n, p in model.reins.named_parameters() if not p.grad.any()]
        assert not zero


@pytest.mark.parametrize('name', ['vit', 'convnext'])
def test_a_deep_copy_uses_its_own_tokens(name):
    model, _ = attach(name, link=True)
    make_large(model)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before, queries = model(x)
        other = copy.deepcopy(model)
        assert torch.equal(other(x)[0], before)
        for parameter in other.reins.parameters():
            parameter.add_(1)
        changed, other_queries = other(x)
        assert not torch.equal(changed, before) and not torch.equal(other_queries, queries)
        assert torch.equal(model(x)[0], before) and torch.equal(model(x)[1], queries)


class Checkpointed(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x, *args, **kwargs):
        return checkpoint(self.block, x, use_reentrant=False)


def test_recomputing_the_blocks_changes_nothing():
    model, _ = attach('vit')
    make_large(model)
    x = torch.randn(2, 3, 32, 32)
    model(x).square().mean().backward()
    expected = {name: p.grad for name, p in model.reins.named_parameters()}
    model.zero_grad()
    for index, block in enumerate(model.blocks):
        model.blocks[index] = Checkpointed(block)
    model(x).square().mean().backward()
    for name, parameter in model.reins.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])


@pytest.mark.parametrize('rank', [None, 2])
def test_queries_are_of_maximum_mean_and_last_block(rank):
    rein = Rein(8, ['a', 'b', 'c'], num_tokens=5, rank=rank, query_dims=4, link=True)
    T = rein.tokens(slice(None))
    assert T.shape == (3, 5, 8)
    torch.testing.assert_close(rein.tokens(1), T[1])
    Q = F.linear(T, rein.transform.weight, rein.transform.bias)
    # channel by channel, as in the public files
    parts = [x[:, k] for k in range(4) for x in (Q.max(0).values, Q.mean(0), Q[2])]
    expected = F.linear(torch.stack(parts, 1), rein.merge.weight, rein.merge.bias)
    torch.testing.assert_close(rein.queries(), expected)


def test_queries_of_several_widths_are_added():
    model, _ = attach('resnet', link=True)
    maps, queries = model(torch.randn(1, 3, 32, 32))
    assert maps.ndim == 4
    torch.testing.assert_close(queries, sum(rein.queries() for rein in reins_of(model)))
    assert {n.split('.')[0] for n in model.reins.state_dict()} == {'0', '1'}


NAMES = {
    'scale': (1,),  # a number there
    'mlp_token2feat.weight': (1024, 1024),
    'mlp_token2feat.bias': (1024,),
    'mlp_delta_f.weight': (1024, 1024),
    'mlp_delta_f.bias': (1024,),
}
LOW_RANK = {'learnable_tokens_a': (24, 100, 16), 'learnable_tokens_b': (24, 16, 1024)}
FULL = {'learnable_tokens': (24, 100, 1024)}
LINK = {
    'transform.weight': (256, 1024),
    'transform.bias': (256,),
    'merge.weight': (256, 768),
    'merge.bias': (256,),
}


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        (dict(link=True), {**NAMES, **LOW_RANK, **LINK}),
        (dict(), {**NAMES, **LOW_RANK}),
        (dict(rank=None, link=True), {**NAMES, **FULL, **LINK}),
    ],
)
def test_sizes_on_the_large_transformer(options, names):
    with torch.device('meta'):
        rein = Rein(1024, [f'blocks.{i}' for i in range(24)], **options)
    assert {name: tuple(value.shape) for name, value in rein.state_dict().items()} == names
    if options == dict(link=True):  # as the paper counts them
        assert sum(parameter.numel() for parameter in rein.parameters()) == 2_990_081


@pytest.mark.parametrize(
    ('rank', 'names', 'root'), [(4, ['a', 'b'], 8), (None, [''], 16)], ids=['low rank', 'full']
)
def test_tokens_start_within_their_bound(rank, names, root):
    """``sqrt(c r)`` is 8 and, for full tokens, c = 16."""
    rein = Rein(16, ['x'] * 20, num_tokens=200, rank=rank, patch_size=3)
    bound = math.sqrt(6 / (3 * 3**2 + root))
    for name in names:
        tokens = getattr(rein, f'learnable_tokens_{name}'.rstrip('_'))
        assert 0.98 * bound < tokens.abs().max() <= bound and abs(tokens.mean()) < 0.1 * bound
    assert rein.scale.item() == pytest.approx(0.001)


def test_the_patch_size_is_that_of_the_network():
    assert attach('vit')[0].reins.patch_size == 8
    assert {rein.patch_size for rein in reins_of(attach('convnext')[0])} == {4}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_tokens=1), 'num_tokens must be at least 2.* got 1'),
        (dict(rank=0), 'rank must be at least 1, or None for full tokens, got 0'),
        (dict(query_dims=0), 'query_dims must be at least 1, got 0'),
    ],
)
def test_wrong_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Rein(8, ['a'], **options)


def test_what_cannot_be_refined_is_named():
    model = vit()
    with pytest.raises(ValueError, match="'norm_pre' has no parameters"):
        attach_rein(model, {'norm_pre': model.norm_pre})
    assert not hasattr(model, 'reins')
    attach_rein(model, {'blocks.0': model.blocks[0]})
    with pytest.raises(ValueError, match='VisionTransformer has a Rein already'):
        attach_rein(model, {'blocks.1': model.blocks[1]})
    model = vit()
    model.blocks[0].mlp = nn.Sequential(model.blocks[0].mlp, nn.Flatten())
    attach_rein(model, {'blocks.0.mlp': model.blocks[0].mlp})
    with pytest.raises(ValueError, match=r"'blocks.0.mlp' tokens .* its output is"):
        model(torch.randn(1, 3, 32, 32))


class One(nn.Module):
    """A network of one block."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block(x)


@pytest.mark.parametrize('size', [(5, 7), (8, 8)])  # of 8 x 8 only the block tells what they are
def test_maps_with_the_channels_last(size):
    """As the windows of SAM and Swin have them."""
    maps = torch.randn(2, *size, 8)
    for block, axes in ((nn.Linear(8, 8), (0, 1, 2, 3)), (nn.Conv2d(8, 8, 1), (0, 3, 1, 2))):
        model = One(block)
        back = (0, 1, 2, 3) if axes[1] == 1 else (0, 2, 3, 1)
        plain = model(maps.permute(axes)).permute(back)
        reins = attach_rein(model, {'block': block}, num_tokens=3, rank=2)
        refined = plain + reins(plain.flatten(1, 2), 0).view(maps.shape)
        torch.testing.assert_close(model(maps.permute(axes)).permute(back), refined)


def test_the_scale_is_read_as_a_number_too_and_written_for_both(tmp_path):
    """As it is in the public files, and in those of older versions."""
    net = nn.ModuleDict({'blocks': nn.ModuleList([nn.Linear(4, 4)])})
    inject_adapter(net, dict(type='Rein', num_tokens=3, rank=None, scale_init=0.25))
    save_adapter(net, tmp_path / 'new.pth')
    content = read_checkpoint(tmp_path / 'new.pth')
    assert content['state_dict']['reins.scale'].shape == (1,)
    release = nn.Module()
    release.scale = nn.Parameter(torch.tensor(1.0))
    release.load_state_dict({'scale': content['state_dict']['reins.scale']})
    assert release.scale == 0.25
    content['state_dict']['reins.scale'] = torch.tensor(0.75)
    write_checkpoint(content, tmp_path / 'old.pth')
    load_adapter(net, tmp_path / 'old.pth')
    assert torch.equal(net.reins.scale, torch.tensor([0.75]))
