"""Every config of a segmentor trains and tests, on a small model and small random data."""

import copy
import itertools
import math
import subprocess
import sys
from fractions import Fraction

import pytest
import torch
from fractals import write_fractals
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from raw_data import write_raw_data
from small_configs import (
    DETECTORS,
    FEW_SHOT,
    dicts,
    each,
    make_short,
    shrink_vit,
    without_validation,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from soma.datasets.lists import write_subset
from soma.datasets.prepare.convert import convert_dataset
from soma.datasets.prepare.layouts import LAYOUTS
from soma.evaluation.prepare import use_test_data, use_tta
from soma.utils.config import REPOSITORY, load_config

CONFIGS = sorted(
    path
    for path in (REPOSITORY / 'configs').rglob('*.py')
    if '_base_' not in path.parts
    and path not in (*DETECTORS, *FEW_SHOT)
    and not path.stem.startswith('revt-')
)
SERVERS = sorted((REPOSITORY / 'configs').rglob('*_server.py'))
DOMAINS = {
    'cbm': ('citys', 'bdd', 'map'),
    'bm': ('bdd', 'map'),
    'acdc': ('fog', 'night', 'rain', 'snow'),
    'dusk': ('dusk', 'day2'),
    'citys': ('citys',),
}
SOURCES = {
    'gta': ('gta',),
    'gs': ('gta', 'synthia'),
    'gsu': ('gta', 'synthia', 'urbansyn'),
    'gsu-c16th': ('citys',),
    'synthia': ('synthia',),
    'citys': ('citys',),
    'camvid-day': ('day',),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with ``data`` as the configs read it."""
    data = tmp_path_factory.mktemp('all') / 'data'
    write_raw_data(data, (96, 64), images=2, val_images=1, test_images=1)
    write_raw_data(data, (96, 64), images=2, val_images=3, domains=['camvid'])  # of each drive
    for name, layout in LAYOUTS.items():
        images = convert_dataset(name, data / name).images
        if name == 'cityscapes':
            root = data / name
            write_subset(Fraction(1, 16), images, root, *layout.train, root)
    write_fractals(data / 'fractals', 2, 32)
    return data.parent


def shrink_backbone(backbone):
    """Make a backbone small; returns the widths of its maps."""
    plain = backbone.get('backbone', backbone)
    if plain.type == 'ResNet':
        plain.update(base_channels=8, init_cfg=None)
        return [32, 64, 128, 256]
    if plain.type == 'TimmPyramid':
        plain.update(model_args=dict(depths=(1, 1, 2, 1), dims=(8, 8, 16, 16)), init_cfg=None)
        if 'start_block' in backbone.get('adapter', {}):
            backbone.adapter.start_block = 2
        return [8, 8, 16, 16]
    if plain.type == 'SegFormerMiT':
        plain.update(embed_dims=8, num_layers=[1] * 4, init_cfg=None)
        return [8, 16, 40, 64]
    return shrink_vit(backbone, 32)


def shrink(config):
    """Change the sizes of a config, not what it is made of."""
    for step in dicts(config._cfg_dict):
        kind = step.get('type')
        if kind == 'RandomChoiceResize':
            step.update(scales=[40, 44], max_size=96)
        elif kind in ('RandomResize', 'Resize') and 'scale' in step:
            step.scale = (80, 40)
        elif kind == 'RandomCrop':
            step.crop_size = (32, 32)
    model = config.model
    model.data_preprocessor.size = (32, 32)
    widths = shrink_backbone(model.backbone)
    if model.type == 'EoMT':
        model.decode_head.update(num_queries=5, num_points=64)
    else:
        (model.neck if 'neck' in model else model.decode_head).in_channels = widths
    model.test_cfg.update(crop_size=(32, 32), stride=(24, 24))
    if model.decode_head.type == 'FCNHead':
        model.decode_head.update(in_channels=16, channels=16)
    if model.decode_head.type == 'PlainSegformerHead':
        model.decode_head.channels = 16
    if model.decode_head.type in ('LeanMask2FormerHead', 'ReinMask2FormerHead'):
        head = model.decode_head
        head.update(feat_channels=32, out_channels=32, num_queries=5)
        if model.backbone.get('adapter', {}).get('link'):
            model.backbone.adapter.update(num_tokens=5, query_dims=32)
        head.pixel_decoder.positional_encoding.num_feats = 16
        head.positional_encoding.num_feats = 16
        head.train_cfg.num_points = 64
        head.pixel_decoder.encoder.num_layers = 1
        head.transformer_decoder.num_layers = 2
        for part in dicts(head):
            if 'embed_dims' in part:
                part.embed_dims = 32
            if 'num_heads' in part:
                part.num_heads = 2
            if 'feedforward_channels' in part:
                part.feedforward_channels = 16
    if 'sub_rank' in (adapter := model.backbone.get('adapter', {})):
        adapter.rank //= 4
    config.train_dataloader.batch_size = 2


@pytest.fixture
def small(folder, tmp_path, monkeypatch, no_charts):
    monkeypatch.chdir(folder)

    def load(path, test_data=None):
        config = load_config(path)
        if test_data:
            use_test_data(config, test_data)
        shrink(config)
        make_short(config, tmp_path)
        return config

    return load


def domains(loader):
    return [part.domain for part in dicts(loader.dataset) if 'domain' in part]


def parts(config):
    """What a run goes through, in two halves: the data, and the network with what trains it."""
    data = [config[f'{split}_dataloader']['dataset'] for split in ('train', 'test')]
    steps = [part['type'] for part in (*config.param_scheduler, *config.get('custom_hooks', []))]
    return {str(data), str((config.model, config.optim_wrapper, steps))}


@pytest.fixture(scope='module')
def tested():
    """Halves of the configs that have run."""
    return set()


@pytest.mark.parametrize('path', each(CONFIGS))
def test_every_config_trains_and_tests(path, small, build_runner, tested):
    """Those run that bring something which no config before them had."""
    config = small(path)
    if 'camvid-' not in path.stem:  # which has data of its own to validate on
        without_validation(config)
    source, target = path.stem.split('_')[-2].split('2')
    assert domains(config.train_dataloader) == [*SOURCES[source]]
    assert domains(config.test_dataloader) == [*DOMAINS[target]]
    if parts(config) <= tested:
        return
    tested |= parts(config)
    seen = {'losses': [], 'sources': set()}

    def after_train_iter(runner, batch_idx, data_batch, outputs):
        seen['losses'].append(outputs['loss'])
        seen['sources'] |= {sample.domain for sample in data_batch['data_samples']}

    runner = build_runner(config, after_train_iter=after_train_iter)
    runner.train()
    assert len(seen['losses']) == 2 and all(map(math.isfinite, seen['losses']))
    assert seen['sources'] and seen['sources'] <= set(SOURCES[source])
    metrics = runner.test()
    assert [name for name in metrics if name.endswith('_mIoU')] == [
        f'{domain}_mIoU' for domain in (*DOMAINS[target], 'mean')
    ]
    assert all(0 <= value <= 100 for value in metrics.values())
    trained = any(p.requires_grad for p in runner.model.backbone.parameters())
    assert trained != path.stem.startswith('frozen')


@pytest.mark.parametrize('path', each(path for path in CONFIGS if path.stem.startswith('rein')))
def test_tokens_and_scales_of_rein_do_not_decay(path):
    """On the whole model, whose adapter exempts them."""
    config = load_config(path)
    init_default_scope('mmseg')
    with torch.device('meta'):
        backbone = MODELS.build(config.model.backbone)
    model = torch.nn.ModuleDict({'backbone': backbone})
    groups = build_optim_wrapper(model, config.optim_wrapper).param_groups
    decays = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    rates = {id(p): group['lr'] for group in groups for p in group['params']}
    parameters = dict(backbone.reins.named_parameters())
    free = {name for name, parameter in parameters.items() if decays[id(parameter)] == 0}
    assert free == {
        name for name in parameters if 'learnable_tokens' in name or name.endswith('scale')
    }
    assert {decays[id(parameters[name])] for name in parameters.keys() - free} == {0.05}
    share = config.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult
    assert 'camvid-' in path.stem or share == 1  # as published
    rate = config.optim_wrapper.optimizer.lr * share
    assert {rates[id(parameter)] for parameter in parameters.values()} == {rate}


def test_the_two_adapters_of_recyclelora_learn_at_their_own_rates():
    """And neither decays; the head does, and learns as the main one."""
    path = REPOSITORY / 'configs/recyclelora/recyclelora_dinov2-L_mask2former_gta2cbm_512x512.py'
    config = load_config(path)
    init_default_scope('mmseg')
    with torch.device('meta'):
        backbone = MODELS.build(config.model.backbone)
        model = torch.nn.ModuleDict({'backbone': backbone, 'decode_head': torch.nn.Linear(2, 2)})
    *groups, _ = build_optim_wrapper(model, config.optim_wrapper).param_groups  # mmengine's own
    names = {id(p): name.rpartition('.')[2] for name, p in model.named_parameters()}
    settings = {
        (names[id(p)], group['lr'], group['weight_decay'])
        for group in groups
        for p in group['params']
    }
    assert settings == {
        *((name, 1e-4, 0) for name in ('A', 'B')),
        *((name, 5e-5, 0) for name in ('A_sub', 'B_sub')),
        *((name, 1e-4, 0.05) for name in ('weight', 'bias')),
    }
    sizes = [sum(p.numel() for p in group['params']) for group in groups]
    assert sizes == [12_582_912, 1_572_864, 6]


def test_eomts_own_recipe():
    """Rates fall from block to block, all decays, the transformer waits; masks end as published."""
    path = REPOSITORY / 'configs/eomt/full_dinov2-L_eomt_citys2citys_1024x1024.py'
    config = load_config(path)
    init_default_scope('mmseg')
    with torch.device('meta'):
        model = MODELS.build(config.model)
    *groups, _ = build_optim_wrapper(model, config.optim_wrapper).param_groups  # mmengine's own
    groups = {id(p): group for group in groups for p in group['params']}
    names = {
        'backbone.pos_embed': 23,
        'backbone.reg_token': 23,
        'backbone.patch_embed.proj.bias': 23,
        'backbone.blocks.0.attn.qkv.weight': 23,
        'backbone.blocks.10.norm1.bias': 13,
        'backbone.blocks.23.ls2.gamma': 0,
        'backbone.norm.weight': 0,
    }
    for name, blocks in names.items():
        group = groups[id(model.get_parameter(name))]
        assert group['lr'] == pytest.approx(1e-4 * 0.8**blocks) and group['weight_decay'] == 0.05
        assert (group['delay'], group['warmup']) == (500, 1000)
    for name, parameter in model.decode_head.named_parameters():
        group = groups[id(parameter)]
        assert (group['lr'], group['weight_decay'], 'delay' in group) == (1e-4, 0.05, False), name
    # 2,975 images in batches of 16, the last one filled up: 186 an epoch.
    assert config.train_cfg.max_iters == config.param_scheduler[0].end == 107 * 186
    assert sum(p.numel() for p in model.parameters()) == 319_032_340  # of the authors' class


@pytest.mark.slow
@pytest.mark.parametrize('method', ['soma', 'frozen', 'full'])
def test_training_goes_on_from_the_model_before(method, small, build_runner, tmp_path):
    name = f'configs/{method}/{method}_dinov2-L_mask2former_{{}}2cbm_1024x1024.py'
    first = small(REPOSITORY / name.format('gsu'))
    first.default_hooks.checkpoint.interval = 2
    done = build_runner(first)
    done.train()
    second = small(REPOSITORY / name.format('gsu-c16th'))
    second.load_from = str(tmp_path / 'iter_2.pth')
    seen = {}
    runner = build_runner(
        second, before_train_epoch=lambda runner: seen.update(copy.deepcopy(state(runner)))
    )
    runner.train()
    assert seen.keys() == state(done).keys()
    assert all(torch.equal(seen[key], value) for key, value in state(done).items())
    assert runner.iter == 2


def state(runner):
    return runner.model.state_dict()


def test_nights_fog_india_and_muses(small, build_runner):
    """Together, and each by a file of its own."""
    names = ['dark_zurich', 'night_driving', 'foggy_zurich', 'idd', 'muses']
    folder = REPOSITORY / 'configs/_base_/datasets'
    path = REPOSITORY / 'configs/soma/soma_dinov2-L_semfpn_gta2cbm_512x512.py'
    config = small(path, folder / 'night_fog_idd_muses.py')
    parts = config.test_dataloader.dataset.datasets
    singles = [small(path, folder / f'{name}.py').test_dataloader for name in names]
    assert [single.dataset for single in singles] == parts
    assert small(path, folder / 'citys.py').test_dataloader.dataset.domain == 'citys'
    assert domains(small(path, folder / 'camvid.py').test_dataloader) == ['day', 'day2', 'dusk']
    metrics = build_runner(config).test()
    scores = [name.removesuffix('_mIoU') for name in metrics if name.endswith('_mIoU')]
    assert scores == [*names, 'mean']


@pytest.mark.slow
@pytest.mark.parametrize('tta', [False, True], ids=['once', 'augmented'])
@pytest.mark.parametrize('path', SERVERS, ids=lambda path: path.stem)
def test_predictions_for_servers(path, tta, small, build_runner, tmp_path):
    config = small(CONFIGS[0], path)
    config.test_evaluator.output_dir = str(tmp_path / 'out')
    config.custom_hooks.append(dict(type='DrawPredictionsHook', out_dir=str(tmp_path / 'shown')))
    if tta:
        use_tta(config)
    assert build_runner(config).test() == {}
    result = sorted(file.name for file in (tmp_path / 'out').rglob('*.png'))
    assert result and all(name.endswith(('_rgb_anon.png', '_leftImg8bit.png')) for name in result)
    assert sorted(file.name for file in (tmp_path / 'shown').rglob('*.png')) == result


@pytest.mark.slow
def test_tensorboard_has_a_curve_a_domain(small, build_runner, tmp_path):
    path = REPOSITORY / 'configs/soma/soma_dinov2-L_semfpn_gta2cbm_512x512.py'
    config = small(path)
    config.visualizer = load_config(path).visualizer
    config.train_cfg.val_interval = 1
    runner = build_runner(config)
    runner.train()
    command = [sys.executable, '-m', 'tensorboard.main', '--inspect', '--logdir', str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and 'scalars' in done.stdout
    events = EventAccumulator(runner.log_dir + '/vis_data')
    events.Reload()
    for domain in (*DOMAINS['cbm'], 'mean'):
        assert [event.step for event in events.Scalars(f'{domain}_mIoU')] == [1, 2]
    runner.visualizer.close()


def test_ratio_replaces_size(small, build_runner):
    config = small(REPOSITORY / 'configs/soma/soma_dinov2-L_mask2former_gs2cbm_512x512.py')
    config.train_dataloader.sampler = dict(type='RatioSampler', ratio=[1, 3])
    sampler = build_runner(config).build_dataloader(config.train_dataloader, seed=0).sampler
    drawn = list(itertools.islice(sampler, 400))
    assert 0.7 < sum(index >= 2 for index in drawn) / 400 < 0.8  # of the two in synthia
