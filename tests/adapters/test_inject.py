import copy
import subprocess
import sys

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from soma.adapters import (
    ADAPTERS,
    Adapter,
    LoRALinear,
    SoMAConfig,
    SoMAConv2d,
    SoMALinear,
    SVFConv2d,
    adapter_report,
    inject_adapter,
    merge_adapter,
)


def tiny_vit():
    return VisionTransformer(
        img_size=16, patch_size=8, embed_dim=16, depth=4, num_heads=2, num_classes=0
    ).eval()


SOMA = {'type': 'SoMA', 'rank': 2, 'start_block': 2}


def test_injects_into_the_blocks_from_the_start_block_on():
    model, x = tiny_vit(), torch.randn(2, 3, 16, 16)
    before = model(x)
    report = inject_adapter(model, SOMA)
    assert torch.equal(model(x), before)
    assert report.layers == tuple(
        f'blocks.{i}.{n}' for i in (2, 3) for n in ('attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2')
    )
    assert report.matrices == 12 and report.frozen_blocks == (0, 1) and report.blocks == 4
    assert model.blocks[2].attn.qkv.groups == 3
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {f'{layer}.{name}' for layer in report.layers for name in ('A', 'B', 'bias')}


def test_report_counts_and_reads_as_a_table():
    model = tiny_vit()
    total = sum(p.numel() for p in model.parameters())
    report = inject_adapter(model, SOMA)
    expected = 2 * (3 * 2 * 2 * 16 + 2 * 2 * 16 + 2 * 2 * (16 + 64))  # r (in + out) per matrix
    assert report.trainable['adapter A, B'] == expected
    assert sum(report.frozen.values()) + report.trainable['adapted biases'] == total
    text = str(report)
    assert '8 layers (12 matrices) adapted; 2 of 4 blocks frozen whole: 0, 1' in text
    assert f'{expected:,}' in text


def test_biases_can_stay_frozen():
    model = tiny_vit()
    report = inject_adapter(model, {**SOMA, 'train_bias': False})
    assert report.trainable['adapted biases'] == 0


def test_merge_twice():
    model, x = tiny_vit(), torch.randn(2, 3, 16, 16)
    inject_adapter(model, SOMA)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    before = model(x)
    assert merge_adapter(model) == 8
    assert not any(isinstance(m, SoMALinear) for m in model.modules())
    assert torch.allclose(model(x), before, atol=1e-5)
    after = model(x)
    assert merge_adapter(model) == 0
    assert torch.equal(model(x), after)


@pytest.mark.parametrize(
    ('name', 'targets'),
    [
        ('resnet18', r'layer4\.\d\.conv\d'),
        ('convnext_atto', r'stages\.3\.blocks\.\d\.mlp\.fc\d'),
    ],
)
def test_other_backbones(name, targets):
    model = timm.create_model(name, num_classes=0).eval()
    x = torch.randn(1, 3, 64, 64)
    before = model(x)
    report = inject_adapter(model, {'type': 'SoMA', 'rank': 4, 'targets': targets})
    assert report.layers and torch.equal(model(x), before)
    model(x).sum().backward()
    adapted = [m for m in model.modules() if isinstance(m, SoMAConv2d | SoMALinear)]
    assert all(m.A.grad is not None for m in adapted)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({'type': 'SORA'}, "unknown type 'SORA'"),
        ({'rank': 2}, r"needs a dict\(type='SoMA', ...\), got {'rank': 2}"),
        ('LoRA', "needs a dict.* got 'LoRA'"),
        ({**SOMA, 'groups': {'kqv': 3}}, r"groups \['kqv'\] are no names of layers to adapt"),
        ({**SOMA, 'dropout': 0.1}, r"unknown options \['dropout'\]"),
        ({**SOMA, 'rank': 0}, 'rank must be at least 1'),
        ({**SOMA, 'rank': '16'}, "rank must be at least 1, and whole, got '16'"),
        ({**SOMA, 'alpha': -1}, 'alpha must be positive, .* got -1'),
        ({**SOMA, 'exclude': 'nothing'}, "exclude 'nothing' matches none"),
        ({**SOMA, 'exclude': '.+'}, 'leaves none of the'),
        ({'type': 'SVF', 'ratio': 7}, 'ratio must be above 0 and at most 1, got 7'),
        ({'type': 'BitFit', 'train_bias': False}, r"unknown options \['train_bias'\] of BitFit"),
        ({**SOMA, 'rank': 17}, r"layer 'blocks.2.attn.qkv': rank 17"),
        ({**SOMA, 'component': 'major'}, "got 'major'"),
        ({**SOMA, 'start_block': -1}, 'start_block must be at least 0'),
        ({**SOMA, 'start_block': 4}, 'start_block 4 leaves none'),
        ({**SOMA, 'targets': 'attn.q'}, "'attn.q' matches no layer"),
        ({**SOMA, 'targets': ['blocks.*qkv', 'nothing']}, "'nothing' matches no layer"),
        ({**SOMA, 'targets': '('}, 'no regular expression'),
        ({**SOMA, 'targets': r'blocks\.\d+\.norm1'}, 'is a LayerNorm'),
    ],
)
def test_bad_configs_are_refused_and_leave_the_model_alone(config, message):
    model = tiny_vit()
    with pytest.raises(ValueError, match=message):
        inject_adapter(model, config)
    assert all(p.requires_grad for p in model.parameters())
    assert not any(isinstance(m, SoMALinear) for m in model.modules())


def test_a_second_adapter_is_refused():
    model = tiny_vit()
    inject_adapter(model, SOMA)
    for config in (SOMA, {'type': 'LoRA', 'targets': r'blocks\.0\.attn\.qkv'}, {'type': 'Rein'}):
        with pytest.raises(ValueError, match=r"has an adapter already, in 'blocks\.2\.attn\.qkv'"):
            inject_adapter(model, config)
    assert adapter_report(model).trainable['adapter A, B']


def test_blocks_in_several_places():
    """Those of stages are counted through, as in a ConvNeXt; those of two networks are not."""
    stages = nn.ModuleList()
    for _ in range(2):
        stage = nn.Module()
        stage.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4)) for _ in range(2))
        stages.append(stage)
    model = nn.ModuleDict({'stages': stages})
    config = dict(type='SoMA', rank=1, targets=r'stages\.\d\.blocks\.\d\.0')
    two = nn.ModuleDict({'one': copy.deepcopy(model), 'two': copy.deepcopy(model)})
    with pytest.raises(ValueError, match=r'start_block 1 counts the blocks of one place'):
        inject_adapter(two, {**config, 'targets': r'.+\.0', 'start_block': 1})
    counted = inject_adapter(copy.deepcopy(model), {**config, 'start_block': 3})
    assert counted.layers == ('stages.1.blocks.1.0',) and counted.frozen_blocks == (0, 1, 2)
    with pytest.raises(ValueError, match=r'in no blocks\.<i>: choose by targets'):
        inject_adapter(nn.Sequential(nn.Linear(2, 2)), {**config, 'targets': '0', 'start_block': 1})
    report = inject_adapter(model, {**config, 'exclude': r'stages\.0.+'})
    assert report.layers == ('stages.1.blocks.0.0', 'stages.1.blocks.1.0')
    assert report.blocks == 4
    assert report.frozen_blocks == (0, 1)


def test_groups_are_those_of_linear_layers():
    model = nn.ModuleDict({'qkv': nn.Conv2d(4, 12, 1)})
    assert inject_adapter(model, dict(type='SVF', targets='qkv')).matrices == 1
    assert model['qkv'](torch.zeros(1, 4, 2, 2)).shape == (1, 12, 2, 2)


@pytest.mark.parametrize('kind', [LoRALinear, SVFConv2d])
def test_adapted_layers_are_made_of_plain_ones(kind):
    with pytest.raises(TypeError, match=f'{kind.__name__} is made of a plain layer'):
        kind(4, 4)


def test_the_dataclass_is_a_config_too():
    model = nn.Sequential(nn.Linear(8, 8))
    assert inject_adapter(model, SoMAConfig(rank=2, targets='0')).matrices == 1


def test_adapters_need_no_openmmlab():
    code = (
        'import sys\n'
        'for name in ("mmengine", "mmcv", "mmseg", "mmdet"): sys.modules[name] = None\n'
        'import importlib.util as u; find = u.find_spec\n'
        'u.find_spec = lambda n, *a: None if n.startswith("mm") else find(n, *a)\n'
        'import soma.adapters\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(rank=2.5), 'rank must be at least 1, and whole, got 2.5'),
        (dict(rank=True), 'rank must be at least 1, and whole, got True'),
        (dict(rank=10**12), 'rank must be a number up to 1048576, got 1000000000000'),
        (dict(rank=None), 'rank must be at least 1, and whole, got None'),
        (dict(alpha=0), 'alpha must be positive, .* got 0'),
        (dict(alpha=float('nan')), 'alpha must be a number up to 1048576, got nan'),
        (dict(alpha=float('inf')), 'alpha must be a number up to 1048576, got inf'),
        (dict(alpha='8'), "alpha must be positive, .* got '8'"),
        (dict(alpha=True), 'alpha must be positive, .* got True'),
        (dict(start_block='2'), "start_block must be at least 0, and whole, got '2'"),
        (dict(start_block=99), 'start_block 99 leaves none of the 12'),
        (dict(targets=7), 'targets must be a regular expression or a list of several, got 7'),
        (dict(targets=['qkv', 7]), r"targets must be .* got \['qkv', 7\]"),
        (dict(targets=None), 'targets must be .* got None'),
        (dict(exclude={'qkv': 1}), "exclude must be .* got {'qkv': 1}"),
        (dict(groups='qkv'), "groups must be whole numbers from 1 by name, got 'qkv'"),
        (dict(groups={'qkv': 0}), "groups must be whole numbers from 1 by name, got {'qkv': 0}"),
        (dict(groups={'qkv': '3'}), 'groups must be whole numbers'),
        (dict(train_bias='no'), "train_bias must be True or False, got 'no'"),
        (dict(component=None), 'component must be one of .* got None'),
        (dict(type=['SoMA']), r"unknown type \['SoMA'\]"),
        (dict(type='SVF', ratio=float('nan')), 'ratio must be a number up to 1048576, got nan'),
        (dict(type='Rein', num_tokens='4'), "num_tokens must be at least 2, got '4'"),
        (dict(type='Rein', num_tokens=10**9), 'num_tokens must be a number up to 1048576'),
        (dict(type='Rein', rank=0), 'rank must be at least 1, or None for full tokens, got 0'),
        (dict(type='Rein', scale_init=float('inf')), 'scale_init must be a number up to'),
    ],
)
def test_wrong_values_are_named_with_their_option(options, message):
    """In one line, before anything is made of them, whether in a dict or a dataclass."""
    options = {'type': 'SoMA', 'targets': r'blocks\.\d+\.(attn.(qkv|proj)|mlp.fc1)', **options}
    if options['type'] == 'Rein':
        options['targets'] = r'blocks\.\d+'
    model = tiny_vit()
    with pytest.raises(ValueError, match=message) as error:
        inject_adapter(model, options)
    assert '\n' not in str(error.value) and str(error.value).startswith('adapter: ')
    assert not any(isinstance(module, Adapter) for module in model.modules())
    kind = options.pop('type')
    if isinstance(kind, str):
        with pytest.raises(ValueError, match=message):
            inject_adapter(tiny_vit(), ADAPTERS[kind](**options))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(rank='2'), "rank '2' is out of range"),
        (dict(rank=2.0), r'rank 2\.0 is out of range'),
        (dict(alpha=float('nan')), 'alpha must be positive, .* got nan'),
        (dict(alpha=float('inf')), 'alpha must be positive, .* got inf'),
    ],
)
def test_a_layer_checks_its_options_itself(options, message):
    with pytest.raises(ValueError, match=message):
        SoMALinear(4, 4, **{'rank': 2, **options})
