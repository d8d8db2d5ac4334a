import copy

import numpy as np
import pytest
import torch
import torchvision
from mmengine.config import Config
from torch import nn

from soma.adapters import (
    SVFConv2d,
    SVFLinear,
    adapter_card,
    adapter_names,
    adapter_report,
    decompose,
    decompose_matrix,
    inject_adapter,
    load_adapter,
    low_rank_product,
    merge_adapter,
    merge_state,
    save_adapter,
)
from soma.adapters.card import read_card
from soma.checkpoints import open_checkpoint
from soma.checkpoints.average import average_files
from soma.io.files import CheckpointError
from soma.models import DINOv2


def rebuilt(layer):
    """``U diag(S) V`` in the shape of the weight."""
    matrix = low_rank_product(layer.S.view(-1, 1) * layer.V, layer.U, layer.groups)
    return matrix.view_as(layer.weight)


@pytest.mark.parametrize('network', [pytest.param('resnet50', marks=pytest.mark.slow), 'dinov2'])
def test_a_whole_network_is_decomposed_and_rebuilt(network):
    if network == 'resnet50':
        model, x = torchvision.models.resnet50().eval(), torch.randn(1, 3, 64, 64)
        targets, later = r'layer[234]\..+', ('layer2', 'layer3', 'layer4')
        exclude, count = (), 16 * 3 + 4 - 3 * 3 - 1
    else:
        arch = dict(embed_dim=32, depth=6, num_heads=2, init_values=1.0)
        sizes = dict(arch=arch, img_size=32, patch_size=8)
        model, x = DINOv2(**sizes).eval(), torch.randn(1, 3, 32, 32)
        targets, later = r'blocks\.[2-5]\..+', tuple(f'blocks.{i}' for i in range(2, 6))
        exclude, count = r'.+\.attn\.proj', 4 * 3
    outputs = flat(model(x))
    decompose(model, targets=targets, exclude=exclude)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, SVFConv2d | SVFLinear)}
    assert len(layers) == count and all(name.startswith(later) for name in layers)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == adapter_names(model) == {f'{name}.S' for name in layers}
    # As what trains the network computes the same, and so do the components alone.
    assert torch.equal(flat(model(x)), outputs)
    report = adapter_report(model)
    print(f'{network}: {report}')
    assert 0 < report.rebuild_error < 1e-5
    for layer in layers.values():
        layer.weight.data = rebuilt(layer).detach()
    error = (flat(model(x)) - outputs).abs().max() / outputs.abs().max()
    print(f'{network}: largest error of the outputs of the rebuilt network {error:.1e}')
    assert error < 1e-5
    assert merge_adapter(model) == count
    assert (flat(model(x)) - outputs).abs().max() < 1e-5 * outputs.abs().max()


def flat(outputs):
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return torch.cat([output.detach().flatten() for output in outputs])


@pytest.mark.parametrize(
    ('plain', 'shape', 'rank'),
    [
        (nn.Linear(6, 10), (3, 6), 6),
        (nn.Linear(10, 6, bias=False), (3, 10), 6),
        (nn.Conv2d(6, 10, 1), (1, 6, 5, 5), 6),
        (nn.Conv2d(2, 20, 3, padding=1, padding_mode='reflect'), (1, 2, 5, 5), 18),
        (nn.Conv2d(4, 8, 3, stride=2, padding='valid', groups=4), (1, 4, 7, 7), 2),
    ],
)
def test_one_layer_alone(plain, shape, rank):
    x = torch.randn(shape)
    layer = decompose(plain)
    assert torch.equal(layer(x), plain(x))
    assert layer.S.numel() == rank * layer.groups and layer.rebuild_error < 1e-5
    assert torch.allclose(rebuilt(layer), plain.weight, atol=1e-6)
    parts = plain.weight.detach().flatten(1).chunk(layer.groups)
    values = torch.stack([torch.linalg.svdvals(part) for part in parts])
    assert torch.allclose(layer.S.view_as(values), values, atol=1e-5)
    assert [name for name, p in layer.named_parameters() if p.requires_grad] == ['S']
    # twice the singular values are twice the weight
    twice = copy.deepcopy(plain)
    twice.weight.data *= 2
    layer.S.data *= 2
    assert torch.allclose(layer(x), twice(x), atol=1e-5)


def test_the_largest_components_train_and_the_rest_stays():
    plain = nn.Linear(16, 12)
    layer = decompose(plain, ratio=0.25)
    assert torch.allclose(layer.S, torch.linalg.svdvals(plain.weight)[:3], atol=1e-5)
    assert torch.equal(layer.effective_weight(), plain.weight)
    layer.S.data.zero_()
    left = torch.linalg.svdvals(layer.effective_weight())
    assert torch.allclose(left[:9], torch.linalg.svdvals(plain.weight)[3:], atol=1e-5)
    assert (left[9:] < 1e-5).all() and layer.rebuild_error > 0.01


def test_zero_singular_values_have_no_direction():
    matrix = torch.randn(8, 3) @ torch.randn(3, 10)
    U, S, V = decompose_matrix(matrix)
    assert (S[3:] == 0).all() and not U[:, 3:].any() and not V[3:].any()
    assert torch.allclose(U[:, :3].T @ U[:, :3], torch.eye(3), atol=1e-6)
    assert torch.allclose((U * S) @ V, matrix, atol=1e-5)
    assert not any(part.any() for part in decompose_matrix(torch.zeros(3, 4)))


def test_vectors_follow_the_weight_that_is_loaded():
    first, second = nn.Sequential(nn.Linear(6, 6)), nn.Sequential(nn.Linear(6, 6))
    for model in (first, second):
        inject_adapter(model, dict(type='SVF', targets='0'))
    second[0].S.data += 0.1
    assert not {name for name in second.state_dict() if name.endswith(('.U', '.V'))}
    first.load_state_dict(second.state_dict())
    x = torch.randn(2, 6)
    assert torch.equal(first(x), second(x))


def test_folding_on_tensors():
    model = nn.Sequential(nn.Linear(8, 6))
    inject_adapter(model, dict(type='SVF', targets='0'))
    model[0].S.data *= 1.5
    state, card = model.state_dict(), adapter_card(model)
    assert torch.allclose(
        merge_state(state, card)['0.weight'], model[0].effective_weight(), atol=1e-6
    )
    # Of a weight in bfloat16 the fold is in the precision of the singular values.
    half = nn.Sequential(nn.Linear(8, 6))
    inject_adapter(half, dict(type='SVF', targets='0'), split=False)
    half.float()[0].weight.data = half[0].weight.bfloat16()
    half[0].split_()
    half[0].S.data *= 1.5
    folded = merge_state(half.state_dict(), card)['0.weight']
    assert folded.dtype == torch.float32
    assert torch.allclose(folded, half[0].effective_weight(), atol=1e-6)
    with pytest.raises(ValueError, match='0: the adapter was trained on a weight with other'):
        merge_state({**state, '0.weight': torch.randn(6, 8)}, card)


def test_what_cannot_be_decomposed_is_refused():
    with pytest.raises(ValueError, match='ratio must be above 0 and at most 1, got 0'):
        decompose(nn.Linear(3, 3), ratio=0)
    with pytest.raises(
        ValueError,
        match="'missing' matches no linear layer or convolution",
    ):
        decompose(nn.Sequential(nn.Linear(3, 3)), targets='missing')
    with pytest.raises(ValueError, match='leaves none of the 1 layers'):
        decompose(nn.Sequential(nn.Linear(3, 3)), exclude='0')
    with pytest.raises(ValueError, match='no layers to choose'):
        decompose(nn.Linear(3, 3), exclude='0')
    with pytest.raises(ValueError, match='NaN or infinity'):
        decompose(nn.Linear(2, 2).requires_grad_(False).apply(lambda m: m.weight.fill_(torch.inf)))


def convolutions():
    """A network with kernels of both sizes and a linear layer, whose names end alike."""
    block = nn.Sequential()
    block.add_module('conv1', nn.Conv2d(12, 12, 1))
    block.add_module('conv2', nn.Conv2d(12, 24, 3, padding=1))
    net = nn.Sequential()
    for name in ('layer1', 'layer2'):
        net.add_module(name, copy.deepcopy(block))
    net.layer2.conv1 = nn.Conv2d(24, 12, 1)
    net.add_module('pool', nn.AdaptiveAvgPool2d(1))
    net.add_module('flat', nn.Flatten())
    net.add_module('fc', nn.Linear(24, 7))
    return net


@pytest.mark.parametrize(
    ('options', 'layers'),
    [
        (dict(skip_1x1=True), ['layer1.conv2', 'layer2.conv2']),
        (dict(skip_3x3=True), ['layer1.conv1', 'layer2.conv1', 'fc']),
        (dict(skip_3x3=True, exclude='fc'), ['layer1.conv1', 'layer2.conv1']),
    ],
)
def test_kernels_of_a_size_are_skipped(options, layers):
    net = decompose(convolutions(), **options)
    assert adapter_names(net) == {f'{layer}.S' for layer in layers}
    card = adapter_card(net)
    assert {
        k: v for k, v in options.items() if k.startswith('skip')
    }.items() <= card.settings.items()
    with pytest.raises(ValueError, match='all 5 targets are of a kind that is skipped'):
        decompose(convolutions(), skip_1x1=True, skip_3x3=True)


# Neither in the order of the alphabet nor free of what a text must escape.
RANKS = [[r'layer2\.conv\d\b', 5], ['fc', 0.5], [r'layer\d\.conv1', 2]]


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_ranks_by_layer_survive_a_file(suffix, tmp_path):
    net, x = nn.Sequential(), torch.randn(2, 12, 5, 5)
    net.add_module('backbone', convolutions())
    plain = copy.deepcopy(net)
    adapter = dict(type='SVF', targets=r'.+(conv\d|fc)|fc', ranks=[*map(tuple, RANKS)])
    Config(dict(adapter=adapter)).dump(tmp_path / 'config.py')
    inject_adapter(net.backbone, Config.fromfile(tmp_path / 'config.py').adapter)
    ranks = {name: len(p) for name, p in net.backbone.named_parameters() if name.endswith('.S')}
    expected = {'layer1.conv1': 2, 'layer1.conv2': 24, 'layer2.conv1': 5, 'layer2.conv2': 5}
    assert ranks == {f'{name}.S': rank for name, rank in {**expected, 'fc': 4}.items()}
    assert torch.equal(net(x), plain(x))
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            values = torch.linalg.svdvals(plain.get_parameter(f'{name[:-2]}.weight').flatten(1))
            assert torch.allclose(parameter, values[: len(parameter)], atol=1e-5)
            parameter.data *= 1.5
    save_adapter(net, tmp_path / f'svf{suffix}', 'backbone.')
    checkpoint = open_checkpoint(tmp_path / f'svf{suffix}')
    assert checkpoint.card.settings == {'ratio': 1.0, 'cut': False, 'ranks': RANKS}
    for part in ('', 'backbone'):  # the names in the pattern have another beginning
        model = copy.deepcopy(plain)
        load_adapter(model.get_submodule(part), tmp_path / f'svf{suffix}', part)
        assert torch.equal(model(x), net(x))
    folded = merge_state(net.state_dict(), checkpoint.card)
    assert merge_adapter(net) == 5
    for name, value in net.state_dict().items():
        assert torch.allclose(folded[name], value, atol=1e-6), name


def truncated(weight, rank):
    """The closest matrix of a rank, by numpy."""
    U, S, V = np.linalg.svd(weight.flatten(1).double().numpy(), full_matrices=False)
    return torch.from_numpy(U[:, :rank] * S[:rank] @ V[:rank]).view_as(weight).float()


def test_what_does_not_train_can_be_cut_off_as_in_the_release(tmp_path):
    plain, x = convolutions(), torch.randn(2, 12, 5, 5)
    net = decompose(copy.deepcopy(plain), ratio=0.6, ranks=[('fc', 3)], cut=True)
    # 0.6 of 12 and 24 is 7.2 and 14.4; the multiples of 4 below are 4 and 12
    ranks = {'layer1.conv1': 4, 'layer2.conv1': 4, 'layer1.conv2': 12, 'layer2.conv2': 12, 'fc': 3}
    expected = copy.deepcopy(plain)
    for name, rank in ranks.items():
        weight = plain.get_parameter(f'{name}.weight').detach()
        layer = net.get_submodule(name)
        assert len(layer.S) == rank and torch.equal(layer.weight, weight)
        assert torch.allclose(layer.effective_weight(), truncated(weight, rank), atol=1e-5)
        error = (truncated(weight, rank) - weight).abs().max() / weight.abs().max()
        assert layer.rebuild_error == pytest.approx(error.item(), rel=1e-3)
        expected.get_parameter(f'{name}.weight').data = truncated(weight, rank)
    assert torch.allclose(net(x), expected(x), atol=1e-5)
    assert not torch.allclose(net(x), plain(x), atol=1e-2)
    for parameter in net.parameters():
        parameter.data *= 0.5 if parameter.requires_grad else 1
    save_adapter(net, tmp_path / 'svf.pth')
    model = copy.deepcopy(plain)
    load_adapter(model, tmp_path / 'svf.pth')
    assert torch.equal(model(x), net(x))
    folded = merge_state(net.state_dict(), open_checkpoint(tmp_path / 'svf.pth').card)
    half = truncated(plain.fc.weight.detach(), 3) / 2
    assert torch.allclose(folded['fc.weight'], half, atol=1e-5)
    other = decompose(copy.deepcopy(plain), ratio=0.6, ranks=[('fc', 3)])
    with pytest.raises(CheckpointError, match=r'cut True.*, the model .* cut False'):
        load_adapter(other, tmp_path / 'svf.pth')
    other = decompose(copy.deepcopy(plain), ranks=[(f'{name}$', n) for name, n in ranks.items()])
    save_adapter(other, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='differ in the options of their adapters'):
        average_files([tmp_path / 'svf.pth', tmp_path / 'other.pth'], tmp_path / 'mean.pth')


def test_a_card_without_cut_is_of_none(tmp_path):
    data = {'method': 'SVF', 'targets': ['fc'], 'ratio': 0.5, 'soma_version': '1.0'}
    card = read_card(data, 'x.pth')
    assert card.settings == {'ratio': 0.5, 'cut': False}
    ranks = ([['(', 2]], [['fc', 0]], [2], ['fc', 2])
    for wrong in (*({'ranks': value} for value in ranks), {'cut': 'yes'}):
        with pytest.raises(CheckpointError, match=f'its card is wrong: .*{next(iter(wrong))}'):
            read_card({'method': 'SVF', 'targets': ['fc'], **wrong}, 'x.pth')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(ranks=[('conv9', 2)]), "ranks 'conv9' matches none of the 5 layers"),
        (dict(ranks=[('fc', 8)]), "layer 'fc': rank 8 is out of range for a 7 x 24 matrix"),
        (dict(ranks=[('fc', 1.5)]), "ranks 'fc' must be above 0 and at most 1, got 1.5"),
        (dict(ranks=[('fc', True)]), "ranks 'fc' must be above 0"),
        (dict(ranks={'fc': 2}), r"ranks must be a list of \(pattern, rank\), got \{'fc': 2\}"),
        (dict(ranks=[(3, 2)]), r'ranks must be a list of \(pattern, rank\)'),
        (dict(skip_1x1=1), 'skip_1x1 must be True or False'),
    ],
)
def test_bad_ranks_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        decompose(convolutions(), **options)
    with pytest.raises(ValueError, match='a single layer takes ratio and cut'):
        decompose(nn.Linear(3, 3), skip_1x1=True)
