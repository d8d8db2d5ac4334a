"""Rein as an adapter: injected, counted, saved, loaded, not merged; and over several processes."""

import copy

import pytest
import torch
from processes import in_group
from rein_networks import NETWORKS, convnext, make_large, vit
from torch.nn.parallel import DistributedDataParallel

from soma.adapters import (
    adapter_card,
    adapter_names,
    adapter_report,
    adapter_state,
    inject_adapter,
    load_adapter,
    merge_adapter,
    parse_adapter,
    save_adapter,
)
from soma.adapters.card import read_card
from soma.adapters.describe import check_adapter
from soma.io.checkpoint_files import CheckpointError, card_of, read_checkpoint

SMALL = dict(type='Rein', num_tokens=5, rank=2, query_dims=6)
STAGES = dict(SMALL, targets=r'stages\.\d+\.blocks\.\d+')
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_exactly_the_tokens_train():
    model = vit()
    plain = set(model.state_dict())
    report = inject_adapter(model, SMALL)
    own = {name for name in model.state_dict() if name.startswith('reins.')}
    assert own and set(model.state_dict()) == plain | own
    assert {name for name, p in model.named_parameters() if p.requires_grad} == own
    assert adapter_names(model) == own == set(adapter_state(model))
    trained = sum(p.numel() for p in model.reins.parameters())
    assert report.trainable['reins'] == sum(report.trainable.values()) == trained
    assert report.layers == ('blocks.0', 'blocks.1', 'blocks.2') and report.matrices == 0
    assert '3 blocks adapted; 3 of 3 blocks frozen whole' in str(report)
    assert f'{trained:,}' in str(report)


@pytest.mark.parametrize(
    ('options', 'blocks'),
    [
        ({'start_block': 1}, ['blocks.1', 'blocks.2']),
        ({'exclude': r'blocks\.1'}, ['blocks.0', 'blocks.2']),
        ({'targets': [r'blocks\.2', r'blocks\.0']}, ['blocks.2', 'blocks.0']),
    ],
)
def test_which_blocks(options, blocks):
    model = vit()
    inject_adapter(model, SMALL | options)
    assert model.reins.blocks == tuple(blocks) and len(model.reins.learnable_tokens_a) == len(
        blocks
    )
    hooked = [name for name, m in model.named_modules() if m._forward_hooks]
    assert sorted(hooked) == sorted(blocks)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'num_tokens': 1}, 'adapter: num_tokens must be at least 2'),
        ({'zero_mlp_delta_f': True, 'scale_init': 0.1}, 'fixes the scale at 1: leave scale_init'),
        ({'use_softmax': 1}, 'use_softmax must be True or False, got 1'),
        ({'rank': 0}, 'adapter: rank must be at least 1'),
        ({'start_block': 9}, 'start_block 9 leaves none of the 3 layers'),
        ({'targets': r'layers\.\d+'}, r'matches no layer of VisionTransformer.*blocks'),
        ({'targets': 'norm_pre'}, 'is a Identity, but Rein adapts modules with parameters'),
        ({'alpha': 2}, "unknown options .'alpha'. of Rein"),
    ],
)
def test_after_an_error_the_model_is_what_it_was(options, message):
    model = vit()
    with pytest.raises(ValueError, match=message):
        inject_adapter(model, SMALL | options)
    assert not hasattr(model, 'reins') and all(p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_twice_is_refused():
    model = vit()
    inject_adapter(model, SMALL)
    with pytest.raises(ValueError, match="has an adapter already, in 'reins'"):
        inject_adapter(model, SMALL)
    assert model.reins.scale.requires_grad


def test_it_cannot_be_merged():
    model = vit()
    inject_adapter(model, SMALL)
    with pytest.raises(ValueError, match=r'reins \(Rein\) is no change of weights'):
        merge_adapter(model)
    assert model.reins.blocks == ('blocks.0', 'blocks.1', 'blocks.2')


@pytest.mark.parametrize(
    'config',
    [
        SMALL | {'rank': None, 'zero_mlp_delta_f': True, 'use_softmax': False},
        SMALL | {'link': True},
        STAGES,
    ],
    ids=str,
)
@pytest.mark.parametrize('inside', [False, True], ids=['alone', 'in a model'])
def test_a_file_brings_the_tokens_onto_the_base(config, inside, tmp_path):
    plain = (convnext() if config is STAGES else vit()).eval()
    model = copy.deepcopy(plain)
    inject_adapter(model, config)
    make_large(model)
    expected = model(X)
    prefix = 'backbone.' if inside else ''
    whole = torch.nn.ModuleDict({'backbone': model}) if inside else model
    save_adapter(whole, tmp_path / 'rein.safetensors', prefix)
    content = read_checkpoint(tmp_path / 'rein.safetensors')
    assert set(content['state_dict']) == {f'{prefix}{name}' for name in adapter_state(model)}
    card = card_of(content)
    assert card == {**adapter_card(whole).to_dict(), **card} and card['method'] == 'Rein'
    assert card['num_tokens'] == 5 and card['rank'] == config['rank']
    assert all(
        name.startswith(f'{prefix}{"stages" if config is STAGES else "blocks"}.')
        for name in card['targets']
    )
    for other in (copy.deepcopy(plain), copy.deepcopy(model)):
        for parameter in adapter_state(other).values():
            parameter.zero_()
        report = load_adapter(other, tmp_path / 'rein.safetensors', prefix)
        assert str(report) == str(adapter_report(model))
        torch.testing.assert_close(other(X), expected, rtol=0, atol=0)
    other = convnext() if config is STAGES else vit()
    with pytest.raises(CheckpointError, match='pretrained weights'):
        load_adapter(other, tmp_path / 'rein.safetensors', prefix)


def test_what_an_older_card_lacks_is_known():
    """Of a file of a release it is not: any model may take it."""
    model = vit()
    inject_adapter(model, SMALL | {'use_softmax': False})
    data = {**adapter_card(model).to_dict(), 'link': False}
    del data['use_softmax'], data['zero_mlp_delta_f']
    card = read_card(data, 'x.pth')
    assert card.settings['use_softmax'] is True and card.settings['zero_mlp_delta_f'] is False
    with pytest.raises(CheckpointError, match=r'use_softmax True.*, the model .*use_softmax False'):
        check_adapter(model, card, 'x.pth')
    del data['soma_version']
    check_adapter(model, card := read_card(data, 'x.pth'), 'x.pth')
    assert not {'use_softmax', 'zero_mlp_delta_f'} & card.settings.keys()


def test_two_processes_share_their_gradients(tmp_path):
    """Without ``find_unused_parameters``, with and without the link."""
    nets = {}
    for name in ('vit', 'convnext'):
        for link in (False, True):
            make, blocks, _ = NETWORKS[name]
            nets[name, link] = net = make()
            targets = [block.replace('.', r'\.') for block in blocks]
            inject_adapter(net, SMALL | {'targets': targets, 'link': link})
            make_large(net)
    in_group(_run, tmp_path, nets, tmp_path)
    for net in nets.values():
        net.zero_grad()
        _loss(net, X).backward()
    for rank in range(2):
        found = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        for key, net in nets.items():
            for name, parameter in net.reins.named_parameters():
                torch.testing.assert_close(found[key][name], parameter.grad, msg=f'{key} {name}')


def _loss(net, x):
    out = net(x)
    if isinstance(out, tuple):
        return out[0].square().mean() + out[1].square().mean()
    return out.square().mean()


def _run(rank, nets, folder):
    grads = {}
    for key, net in nets.items():
        model = DistributedDataParallel(net)
        for _ in range(2):  # the second one fails if a gradient was missing in the first
            model.zero_grad()
            _loss(model, X[rank : rank + 1]).backward()
        grads[key] = {name: p.grad for name, p in net.reins.named_parameters()}
    torch.save(grads, folder / f'{rank}.pth')


def test_the_config_class_is_registered():
    config = parse_adapter(SMALL)
    assert (config.method, config.folds, config.link) == ('Rein', False, False)
    assert parse_adapter(dict(type='SoMA')).folds
