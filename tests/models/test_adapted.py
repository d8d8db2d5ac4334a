import copy
import logging
from pathlib import Path

import pytest
import torch
from mmdet.models.backbones import ResNet
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from small_detectors import RESNET, TARGETS, write_resnet
from torch.nn.modules.batchnorm import _BatchNorm

from soma.adapters import SoMALayer, low_rank_product
from soma.adapters.low_rank import LOW_RANK
from soma.io.checkpoint_files import CheckpointError, read_state_dict, write_checkpoint
from soma.models.build import use_plain_model
from soma.utils.config import REPOSITORY, load_config

SOMA = dict(type='SoMA', rank=2, targets=TARGETS)


@pytest.fixture
def resnet_file(tmp_path):
    write_resnet(tmp_path / 'resnet.pth')
    return tmp_path / 'resnet.pth'


def build(file=None, adapter=SOMA, init=True, split_cache=False, **options):
    """Build an adapted ResNet-18 and, unless told otherwise, initialise it."""
    inner = dict(RESNET, **options)
    if file is not None:
        inner['init_cfg'] = dict(type='Pretrained', checkpoint=str(file))
    model = dict(type='AdaptedBackbone', backbone=inner, adapter=adapter, split_cache=split_cache)
    model = MODELS.build(model)
    if init:
        model.init_weights()
    return model


def plain(file):
    model = MODELS.build(dict(RESNET, init_cfg=dict(type='Pretrained', checkpoint=str(file))))
    model.init_weights()
    return model


def adapted_layers_of(model):
    return {n: m for n, m in model.named_modules() if isinstance(m, SoMALayer)}


def test_the_names_are_the_plain_ones(resnet_file):
    model, expected = build(resnet_file), plain(resnet_file).state_dict()
    assert isinstance(model, ResNet) and type(model).__name__ == 'AdaptedResNet'
    in_adapter = {f'{layer}.{name}' for layer in adapted_layers_of(model) for name in LOW_RANK}
    state = model.state_dict()
    assert state.keys() == expected.keys() | in_adapter and len(in_adapter) == 4 * 10
    assert all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.parametrize('mode', [True, False])
def test_step_zero_equals_the_plain_backbone(resnet_file, mode):
    x = torch.randn(2, 3, 48, 64)
    other = plain(resnet_file)
    other.eval()
    model = build(resnet_file, norm_eval=False).train(mode)
    before = copy.deepcopy(model.state_dict())
    for one, expected in zip(model(x), other(x), strict=True):
        assert torch.equal(one, expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_pretrained_weights_are_split(resnet_file):
    state = read_state_dict(resnet_file)
    for name, layer in adapted_layers_of(build(resnet_file)).items():
        u, s, v = torch.linalg.svd(state[f'{name}.weight'].double().flatten(1), full_matrices=False)
        minor = (u[:, -2:] * s[-2:]) @ v[-2:]
        product = low_rank_product(layer.A0.double(), layer.B0.double())
        assert torch.equal(layer.A, layer.A0) and torch.equal(layer.B, layer.B0)
        assert (product - minor).norm() <= 1e-6 * minor.norm()


@pytest.mark.parametrize('options', [{}, {'norm_eval': False, 'frozen_stages': -1}])
def test_all_but_the_adapter_is_frozen(resnet_file, options):
    model = build(resnet_file, **options)
    for _ in range(2):
        assert model.eval() is model and model.train() is model
        trained = {n for n, p in model.named_parameters() if p.requires_grad}
        assert trained == {f'{n}.{x}' for n in adapted_layers_of(model) for x in 'AB'}
        assert model.frozen_names() == {n for n, _ in model.named_parameters()} - trained
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        assert model.layer4.training and norms and not any(m.training for m in norms)
    early, *_, late = model(torch.randn(1, 3, 48, 64))
    assert not early.requires_grad
    late.sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (name in trained), name


def test_frozen_stages_must_not_hold_the_adapter():
    with pytest.raises(
        ValueError, match=r"ResNet freezes what is adapted: \['layer3\.0\.conv1\.A'"
    ):
        build(frozen_stages=3)


def test_random_weights_are_warned_of(resnet_file, monkeypatch):
    records = []
    monkeypatch.setattr(
        'soma.models.backbones.adapted.print_log', lambda *args, **kw: records.append((args, kw))
    )
    build(resnet_file)
    assert not records
    model = build()
    (((text,), kwargs),) = records
    assert 'splits random ones' in text and kwargs['level'] == logging.WARNING
    assert all(layer.A.any() for layer in adapted_layers_of(model).values())


def test_initialising_again_changes_nothing(resnet_file):
    model = build(resnet_file)
    model.layer4[0].conv1.A.data += 1
    before = copy.deepcopy(model.state_dict())
    model.init_weights()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_copy_is_its_own(resnet_file):
    model = build(resnet_file, init=False)
    again = copy.deepcopy(model)
    again.init_weights()
    assert not model.is_init and not model.layer4[0].conv1.A.any()
    assert again.layer4[0].conv1.A.any() and not again.train().bn1.training


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.pop('layer3.0.conv1.weight'), r'shape: layer3\.0\.conv1\.weight \(1\)'),
        (lambda s: s.pop('bn1.running_var'), r'bn1\.running_var'),
        (lambda s: s.update({'conv1.weight': torch.ones(8, 3, 3, 3)}), r'conv1\.weight'),
        (lambda s: [s.pop(name) for name in list(s) if 'fc' not in name], r', \.\.\.|\(\d\d+\)'),
        (
            lambda s: s.update({'layer4.1.conv2.weight': torch.full((64, 64, 3, 3), torch.nan)}),
            'NaN',
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(resnet_file, change, message):
    state = read_state_dict(resnet_file)
    change(state)
    write_checkpoint(state, resnet_file)
    with pytest.raises(ValueError, match=message):
        build(resnet_file)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint at .*none\.pth'):
        build(tmp_path / 'none.pth')
    with pytest.raises(CheckpointError, match='no local file: download it first'):
        build('torchvision://resnet50')


def test_files_without_counters_and_within_a_larger_one(resnet_file, tmp_path):
    state = read_state_dict(resnet_file)
    larger = {f'backbone.{n}': v for n, v in state.items() if 'num_batches_tracked' not in n}
    write_checkpoint({'state_dict': {**larger, 'rpn_head.x': torch.ones(1)}}, tmp_path / 'x.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth'), prefix='backbone.')
    model = build(init_cfg=[dict(type='Kaiming', layer='Conv2d'), pretrained])
    expected = build(resnet_file).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_the_split_is_kept_beside_the_file(resnet_file, tmp_path, monkeypatch):
    expected = build(resnet_file).state_dict()
    assert list(tmp_path.iterdir()) == [resnet_file]
    build(resnet_file, split_cache=True)
    assert Path(f'{resnet_file}.split-r2-minor.safetensors').is_file()
    monkeypatch.delattr('soma.adapters.methods.soma.split_components')  # not needed any more
    again = build(resnet_file, split_cache=True).state_dict()
    assert all(torch.equal(again[name], value) for name, value in expected.items())


SWIN = dict(
    type='mmdet.SwinTransformer',
    embed_dims=8,
    depths=(1, 1),
    num_heads=(1, 2),
    strides=(4, 2),
    out_indices=(0, 1),
    window_size=4,
)
ATTENTION = r'stages\.1\.blocks\.\d+\.(attn\.w_msa\.(qkv|proj)|ffn\.layers\.(0\.0|1))'


@pytest.mark.parametrize(
    ('inner', 'targets', 'count'),
    [
        (SWIN, ATTENTION, 4),
        (dict(type='mmseg.ResNetV1c', depth=18, base_channels=8), TARGETS, 10),
    ],
)
def test_other_backbones(tmp_path, inner, targets, count):
    state = MODELS.build(inner).state_dict()
    whole = {f'backbone.{name}': value for name, value in state.items()}
    write_checkpoint({'state_dict': whole}, tmp_path / 'x.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth'), prefix='backbone.')
    inner = dict(inner, init_cfg=init_cfg)
    adapter = dict(SOMA, targets=targets)
    config = Config(dict(type='AdaptedBackbone', backbone=inner, adapter=adapter))
    model = MODELS.build(config)
    model.init_weights()
    layers = adapted_layers_of(model)
    assert len(layers) == count and all(layer.A0.any() for layer in layers.values())
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    trained = {n.rpartition('.')[0] for n, p in model.named_parameters() if p.requires_grad}
    assert trained == layers.keys()


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(adapter=dict(SOMA, targets='layer9.*')), 'matches no layer of ResNet'),
        (dict(adapter=dict(SOMA, rank=99)), r"layer 'layer3\.0\..*: rank 99 is out of range"),
        (
            dict(backbone=dict(type='DINOv2', arch='small'), adapter=dict(type='SoMA')),
            'DINOv2 takes an adapter of its own',
        ),
    ],
)
def test_bad_options_are_refused(config, message):
    config = {'type': 'AdaptedBackbone', 'backbone': RESNET, **config}
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


def test_the_plain_backbone_is_inside(resnet_file):
    init_cfg = dict(type='Pretrained', checkpoint=str(resnet_file))
    backbone = dict(type='AdaptedBackbone', backbone=dict(RESNET, init_cfg=init_cfg), adapter=SOMA)
    config = Config(dict(model=dict(backbone=backbone)))
    assert use_plain_model(config)[:3] == (str(resnet_file), 'SoMA', '')
    assert config.model.backbone == RESNET


def test_what_the_config_adapts():
    name = 'configs/det/soma_r50_faster-rcnn_diverse-weather_1024x1024.py'
    config = load_config(REPOSITORY / name).model.backbone
    assert config.backbone.init_cfg.checkpoint.endswith('checkpoints/resnet50.pth')
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config)
    # of stages 3 and 4: three convolutions a block, and the shortcuts
    assert len(adapted_layers_of(model)) == (6 + 3) * 3 + 2
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 1_032_192


@pytest.mark.parametrize('backbone', ['ResNet', None, dict(depth=18)])
def test_a_backbone_that_is_no_config_is_refused(backbone):
    with pytest.raises(ValueError, match='backbone must be a dict with a type, got'):
        MODELS.build(dict(type='AdaptedBackbone', backbone=backbone, adapter=SOMA))


@pytest.mark.parametrize('adapted', [True, False])
def test_pretrained_weights_of_a_value_that_is_none_are_refused(resnet_file, adapted):
    """Also by the plain backbone, whose file mmengine opens."""
    state = read_state_dict(resnet_file)
    state['layer1.0.conv1.weight'][0, 0] = torch.nan
    write_checkpoint(state, resnet_file)
    with pytest.raises(CheckpointError, match=r'resnet\.pth has NaN or .* in layer1\.0\.conv1'):
        (build if adapted else plain)(resnet_file)
