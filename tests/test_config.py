import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from small_configs import DETECTORS, FEW_SHOT, each

from soma.adapters import SoMALayer
from soma.engine.amp import use_amp
from soma.evaluation.prepare import prepare_test, use_test_data, use_tta
from soma.io.files import InputError
from soma.models.backbones.dinov2 import ARCHS
from soma.models.backbones.timm_network import create_network
from soma.models.build import build_model
from soma.utils.cli import add_test, runner_parser
from soma.utils.config import REPOSITORY, TEST_DATA, each_dataset, load_config, without_keys

CONFIGS = sorted(
    path for path in (REPOSITORY / 'configs').rglob('*.py') if '_base_' not in path.parts
)
FOLDERS = sorted({path.parent for path in CONFIGS})
SEGMENTORS = [path for path in CONFIGS if path not in (*DETECTORS, *FEW_SHOT)]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Another repository than this one, and a current folder beside it."""
    root = tmp_path / 'repository'
    for file in ('data/gta/x.png', 'data/fog/x.png', 'checkpoints/base.pth', 'checkpoints/all.pth'):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    (root / 'config.py').write_text(
        "load_from = 'checkpoints/all.pth'\n"
        "model = dict(init_cfg=dict(checkpoint='checkpoints/base.pth', note='data/gta'))\n"
        "datasets = [dict(data_root='data/gta'), (dict(data_root='data/fog'),),"
        " dict(data_root='data/rain')]\n"
    )
    monkeypatch.setattr('soma.utils.config.REPOSITORY', root)
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return root


@pytest.mark.parametrize('path', each(path for path in CONFIGS if 'revt-' not in path.stem))
def test_every_config_loads_and_leaves_are_short(path):
    config = load_config(path)
    assert config.work_dir == f'work_dirs/{path.stem}'
    assert config.runner_type == 'SomaRunner' and 'soma' in config.custom_imports.imports
    kinds = {config[f'{name}_dataloader'].dataset.type for name in ('val', 'test')}
    assert kinds == {'EpisodeDataset' if path in FEW_SHOT else 'ConcatDataset'}
    assert len(path.read_text().splitlines()) < 40


@pytest.mark.parametrize('path', each(SEGMENTORS))
def test_heads_fit_their_backbone(path):
    model = load_config(path).model
    backbone = model.backbone.get('backbone', model.backbone)
    if model.type == 'EoMT':  # which takes the width itself
        assert not {'in_channels', 'out_indices', 'pyramid'} & {*model.decode_head, *backbone}
        return
    if backbone.type == 'SegFormerMiT':
        widths = [backbone.embed_dims * heads for heads in backbone.num_heads]
    elif backbone.type == 'ResNet':
        widths = [256, 512, 1024, 2048]
    elif backbone.type.startswith('Timm'):
        shallow = dict(depths=[1] * 4) if backbone.type == 'TimmPyramid' else dict(depth=1)
        network = create_network(backbone.model_name, shallow, on_meta=True)
        widths = [info['num_chs'] for info in network.feature_info]
        widths *= 4 // len(widths)
    else:
        assert backbone.type == 'DINOv2'
        arch = backbone.arch
        width = (ARCHS[arch] if isinstance(arch, str) else arch)['embed_dim']
        widths = [width] * len(backbone.get('out_indices', range(4)))
    reads_maps = model.get('neck') or model.decode_head
    read = reads_maps.in_channels
    assert (read if isinstance(read, list) else [read]) == widths


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: folder.name)
def test_published_numbers_agree_and_no_config_is_forgotten(folder):
    readme = (folder / 'README.md').read_text()
    linked = {(folder / link).resolve() for link in re.findall(r'\]\(([^)]+\.py)\)', readme)}
    configs = {path for path in CONFIGS if path.parent == folder}
    assert configs <= linked and all(path.is_file() for path in linked)
    published = {}
    if (folder / 'metafile.yml').is_file():
        score = 'mAP' if folder.name == 'det' else 'mIoU'
        meta = yaml.safe_load((folder / 'metafile.yml').read_text())
        collections = {collection['Name'] for collection in meta['Collections']}
        for model in meta['Models']:
            assert Path(model['Config']).stem == model['Name']
            assert model['In Collection'] in collections
            numbers = [result['Metrics'][score] for result in model['Results']]
            published[REPOSITORY / model['Config']] = [f'{number:g}' for number in numbers]
    assert published.keys() <= configs
    for path in configs:
        comment = ''.join(re.findall('^#.*', path.read_text(), re.MULTILINE))
        _, _, text = comment.partition('Published')
        numbers = re.findall(r'\d+\.\d+', text)
        assert published.get(path, []) == [f'{float(number):g}' for number in numbers], path
        assert all(number in readme for number in numbers)


def test_model_zoo_names_every_method():
    zoo = (REPOSITORY / 'configs' / 'README.md').read_text()
    assert all(f'({folder.name}/README.md)' in zoo for folder in FOLDERS)
    assert {path.parent for path in (REPOSITORY / 'configs').rglob('metafile.yml')} <= {*FOLDERS}


def test_openmim_finds_the_metafiles(tmp_path, monkeypatch):
    index = yaml.safe_load((REPOSITORY / 'model-index.yml').read_text())['Import']
    metafiles = sorted((REPOSITORY / 'configs').rglob('metafile.yml'))
    assert [REPOSITORY / path for path in index] == metafiles
    pytest.importorskip('setuptools')  # which brings distutils
    from distutils.core import run_setup

    monkeypatch.chdir(REPOSITORY)
    build = run_setup('setup.py', stop_after='init').get_command_obj('build_py')
    build.build_lib, build.packages = str(tmp_path), []
    build.run()
    assert (tmp_path / 'soma/.mim/model-index.yml').is_file()
    models = [m for p in index for m in yaml.safe_load(Path(p).read_text())['Models']]
    assert len(models) >= 30
    for model in models:  # mim reads them from there
        assert (tmp_path / 'soma/.mim' / model['Config']).is_file()


SHORT = [int(51.2 * k) for k in range(5, 21)], 2048
LONG = [int(102.4 * k) for k in range(5, 21)], 4096
REIN_SIZES = {'citys': (1024, 512), 'map': (1024, 512), 'bdd': (1280, 720), 'fog': (960, 540)}
SIZES = {'citys': (2048, 1024), 'map': (2048, 1024), 'bdd': (1280, 720), 'fog': (1920, 1080)}


@pytest.mark.parametrize(
    ('setting', 'sources', 'crop', 'batch', 'scales', 'warm_up', 'average_from'),
    [
        ('gta2cbm_512x512', 1, 512, 4, SHORT, None, 12000),
        ('gs2cbm_512x512', 2, 512, 4, SHORT, None, None),
        ('gsu2cbm_512x512', 3, 512, 4, SHORT, None, None),
        ('gsu2cbm_1024x1024', 3, 1024, 4, (0.5, 2.0), None, 16000),
        ('gsu-c16th2cbm_1024x1024', 1, 1024, 4, (0.5, 2.0), None, None),
        ('citys2bm_512x512', 1, 512, 8, SHORT, (1500, 0.01), 20000),
        ('citys2acdc_512x512', 1, 512, 2, LONG, (10000, 1e-6), 20000),
        ('citys2acdc_1024x1024', 1, 1024, 2, LONG, (10000, 1e-6), 20000),
    ],
)
def test_recipes_are_those_of_the_paper(
    setting, sources, crop, batch, scales, warm_up, average_from
):
    name = f'dinov2-L_mask2former_{setting}.py'
    config = load_config(REPOSITORY / f'configs/soma/soma_{name}')
    dataset = config.train_dataloader.dataset
    parts = dataset.get('datasets', [dataset])
    assert len(parts) == sources and config.train_dataloader.batch_size == batch
    for part in parts:
        resize, cut, *rest = part.pipeline[2:]
        result = resize.get('ratio_range') or (resize.scales, resize.max_size)
        assert result == scales and (cut.crop_size, cut.cat_max_ratio) == ((crop, crop), 0.75)
        assert [step.type for step in rest] == [
            *('RandomFlip', 'PhotoMetricDistortion', 'PackDomainInputs')
        ]
    iterations = 4000 if 'c16th' in setting else 40000
    *warm, poly, decay = config.param_scheduler
    assert [(step.end, step.start_factor) for step in warm] == ([warm_up] if warm_up else [])
    assert (poly.type, poly.power, poly.eta_min, poly.end) == ('PolyLR', 0.9, 0, iterations)
    assert (decay.type, decay.eta_min) == ('CosineAnnealingWeightDecay', 1e-5)
    assert (decay.begin, decay.end) == (0, iterations) and config.train_cfg.max_iters == iterations
    interval = iterations // 10
    assert config.train_cfg.val_interval == config.default_hooks.checkpoint.interval == interval
    kept = 7 if 'c16th' in setting else 8 if 'acdc' in setting else 6
    assert config.default_hooks.checkpoint.max_keep_ckpts == kept
    first = 'work_dirs/soma_dinov2-L_mask2former_gsu2cbm_1024x1024/best_*.pth'
    assert config.load_from == (first if 'c16th' in setting else None)
    optimizer = config.optim_wrapper.optimizer
    assert optimizer.lr == (1e-5 if 'c16th' in setting else 1e-4) and optimizer.weight_decay == 0.05
    averages = [hook.begin_iter for hook in config.custom_hooks if 'EMA' in hook.type]
    assert averages == ([average_from] if average_from else [])
    model = config.model
    stride = {512: 341, 1024: 683}[crop]
    windows = dict(crop_size=(crop, crop), stride=(stride, stride), batch_windows=4)
    assert model.test_cfg == dict(mode='slide', **windows)
    assert model.data_preprocessor.size == (crop, crop) and model.backbone.img_size == crop
    assert model.backbone.adapter == dict(type='SoMA', rank=16, start_block=8)
    for part in config.test_dataloader.dataset.datasets:
        size = SIZES.get(part.domain, SIZES['fog'])
        if part.domain == 'bdd' and crop == 1024:
            size = (2048, 1024)
        assert part.pipeline[1] == dict(type='Resize', scale=size, keep_ratio=True)
    # the baselines differ in what trains, not in data and schedule
    for method in ('frozen', 'full'):
        other = load_config(REPOSITORY / f'configs/{method}/{method}_{name}')
        assert other.train_dataloader == config.train_dataloader
        assert other.test_dataloader == config.test_dataloader == config.val_dataloader
        assert other.param_scheduler == config.param_scheduler[:-1]
        assert 'adapter' not in other.model.backbone
    assert load_config(REPOSITORY / f'configs/frozen/frozen_{name}').model.backbone == dict(
        {k: v for k, v in model.backbone.items() if k != 'adapter'}, frozen_blocks=24
    )


REIN_HEAD = 'rein_dinov2-L_mask2former'


@pytest.mark.parametrize(
    ('name', 'crop', 'batch', 'rate', 'scales', 'warm_up'),
    [
        (f'{REIN_HEAD}_gta2cbm_512x512', 512, 4, 1e-4, SHORT, None),
        (f'{REIN_HEAD}_citys2acdc_512x512', 512, 4, 1e-4, SHORT, None),
        (f'{REIN_HEAD}_citys2acdc_1024x1024', 1024, 2, 6e-5, LONG, (10000, 1e-6)),
        ('rein-nolink_dinov2-L_mask2former_gta2cbm_512x512', 512, 4, 1e-4, SHORT, None),
        ('rein_convnext-L_mask2former_gta2cbm_512x512', 512, 4, 1e-4, SHORT, None),
        ('rein_r50_semfpn_gta2cbm_512x512', 512, 4, 1e-4, SHORT, None),
    ],
)
def test_recipes_are_those_of_rein(name, crop, batch, rate, scales, warm_up):
    config = load_config(REPOSITORY / f'configs/rein/{name}.py')
    resize, cut, flip, *_ = config.train_dataloader.dataset.pipeline[2:]
    assert (resize.scales, resize.max_size) == scales and flip.prob == 0.5
    assert (cut.crop_size, cut.cat_max_ratio) == ((crop, crop), 0.75)
    assert config.train_dataloader.batch_size == batch
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == (rate, 0.05)
    assert config.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 1
    *warm, poly = config.param_scheduler
    assert [(step.end, step.start_factor) for step in warm] == ([warm_up] if warm_up else [])
    assert (poly.power, poly.eta_min, poly.end) == (0.9, 0, 40000)
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == (40000, 10000)
    checkpoint = config.default_hooks.checkpoint
    assert (checkpoint.interval, checkpoint.max_keep_ckpts) == (4000, 3)
    sizes = REIN_SIZES if crop == 512 else SIZES
    assert config.test_dataloader == config.val_dataloader
    for part in config.test_dataloader.dataset.datasets:
        size = sizes.get(part.domain, sizes['fog'])
        assert part.pipeline[1] == dict(type='Resize', scale=size, keep_ratio=True)
    stride = {512: 341, 1024: 683}[crop]
    assert config.model.test_cfg.crop_size == (crop, crop)
    assert config.model.test_cfg.stride == (stride, stride) and config.randomness.seed == 42


def test_validation_of_the_frozen_backbone_is_that_of_the_release():
    path = 'configs/frozen/frozen_dinov2-L_mask2former_gta2cbm_512x512.py'
    config = load_config(REPOSITORY / path)
    checkpoint = config.default_hooks.checkpoint
    assert config.train_cfg.val_interval == checkpoint.interval == 10000
    assert checkpoint.max_keep_ckpts == 4


@pytest.mark.parametrize('source', ['gta', 'synthia'])
@pytest.mark.parametrize(
    ('size', 'blocks'), [('b2', [3, 4, 6, 3]), ('b3', [3, 4, 18, 3]), ('b5', [3, 6, 40, 3])]
)
def test_recipes_are_those_of_revt(source, size, blocks):
    folder = REPOSITORY / 'configs/revt'
    augmented = {
        f'{name}_': load_config(folder / f'segformer_mit-{size}_{name}_{source}2cbm_512x512.py')
        for name in ('pixmix', 'bilateral')
    }
    config = load_config(folder / f'segformer_mit-{size}_{source}2cbm_512x512.py')
    before = ['LoadImageFromFile', 'LoadAnnotations', 'Resize', 'RandomCrop']
    after = {
        '': ['RandomFlip', 'PhotoMetricDistortion'],
        'pixmix_': ['RandomFlip', 'PixMix'],
        'bilateral_': ['BilateralFilter', 'RandomFlip'],
    }
    if size == 'b5':
        after |= {'pixmix_': ['PixMix'], 'bilateral_': ['BilateralFilter', *after['']]}
    for name, steps in after.items():
        other = augmented.get(name, config)
        data = other.train_dataloader.dataset
        assert [step.type for step in data.pipeline] == [*before, *steps, 'PackDomainInputs']
        resize, cut = data.pipeline[2:4]
        assert (resize.scale, resize.keep_ratio) == ((1280, 720), True)
        assert (cut.crop_size, cut.cat_max_ratio) == ((512, 512), 0.75)
        probabilities = {s.type: s.prob for s in data.pipeline if 'prob' in s}
        assert {*probabilities.values()} <= {0.5}
        if 'PixMix' in steps:
            assert [s.scale for s in data.pipeline if s.type == 'PixMix'] == ['release']
        assert data.domain == source and other.train_dataloader.batch_size == 2
        # all else is the same
        for key in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'test_dataloader'):
            assert other[key] == config[key]
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 6e-5, 0.01)
    interval = 10000 if size == 'b5' else 5000
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == (40000, interval)
    assert config.model.backbone.num_layers == blocks
    assert f'/mit_{size}_' in config.model.backbone.init_cfg.checkpoint
    for part in config.test_dataloader.dataset.datasets:
        assert part.pipeline[1] == dict(type='Resize', scale=(1024, 512), keep_ratio=True)


def test_learning_rate_of_segformer_is_that_of_mmcv_1():
    """There, a warm-up of 1,500 times a rate that falls from 6e-5 to 0 over 40,000."""
    config = load_config(REPOSITORY / 'configs/revt/segformer_mit-b2_gta2cbm_512x512.py')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=6e-5)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(step, optimizer=optimizer)) for step in config.param_scheduler
    ]
    rates = []
    for _ in range(3000):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    steps = np.arange(3000)
    warm_up = np.minimum(1e-6 + (1 - 1e-6) * steps / 1500, 1)
    np.testing.assert_allclose(rates, 6e-5 * warm_up * (1 - steps / 40000), rtol=1e-9)


def test_segformer_spares_norms_of_decay_and_its_head_learns_faster():
    config = load_config(REPOSITORY / 'configs/revt/segformer_mit-b2_gta2cbm_512x512.py')
    config.model.backbone.update(embed_dims=8, num_layers=[1] * 4, init_cfg=None)
    config.model.decode_head.update(channels=8, in_channels=[8, 16, 40, 64])
    model = build_model(config)
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    result = {id(value): group for group in groups for value in group['params']}
    norms = {
        id(value)
        for module in model.backbone.modules()
        if isinstance(module, torch.nn.LayerNorm)
        for value in module.parameters()
    }
    assert norms
    for name, value in model.named_parameters():
        group = result[id(value)]
        assert group['lr'] == pytest.approx(6e-4 if 'decode_head' in name else 6e-5), name
        assert group['weight_decay'] == (0 if id(value) in norms else 0.01), name


def test_what_soma_adapts_of_mit():
    name = 'soma_mit-b5_segformer_gta2cbm_512x512.py'
    config = load_config(REPOSITORY / 'configs/revt' / name)
    config.model.backbone.backbone.update(embed_dims=8, init_cfg=None)
    config.model.decode_head.update(channels=8, in_channels=[8, 16, 40, 64])
    model = build_model(config)
    layers = [name for name, module in model.named_modules() if isinstance(module, SoMALayer)]
    # of the 40 + 3 blocks of stages 3 and 4: two layers each, and in stage 3 the smaller keys
    assert len(layers) == 2 * (40 + 3) + 40
    assert {name.split('.')[2] for name in layers} == {'2', '3'}


def test_there_are_configs():
    assert {path.parent.name for path in CONFIGS} >= {'soma', 'frozen', 'full', 'revt', 'det'}


def test_what_is_only_in_the_repository_is_taken_from_there(repository):
    config = load_config(repository / 'config.py')
    assert config.load_from == str(repository / 'checkpoints/all.pth')
    assert config.model.init_cfg.checkpoint == str(repository / 'checkpoints/base.pth')
    assert config.model.init_cfg.note == 'data/gta'
    first, (second,), third = config.datasets
    assert first.data_root == str(repository / 'data/gta')
    assert second.data_root == str(repository / 'data/fog')
    assert third.data_root == 'data/rain'


def test_the_current_folder_comes_first(repository):
    Path('data/gta').mkdir(parents=True)
    config = load_config(repository / 'config.py')
    assert config.datasets[0].data_root == 'data/gta'
    assert config.datasets[1][0].data_root == str(repository / 'data/fog')


def test_options_replace_values_before_paths_are_resolved(repository):
    options = {
        'model.init_cfg.checkpoint': 'checkpoints/all.pth',
        'work_dir': 'out',
        'model.key': 3,
    }
    config = load_config(repository / 'config.py', options)
    assert config.model.init_cfg.checkpoint == str(repository / 'checkpoints/all.pth')
    assert config.model.init_cfg.note == 'data/gta'
    assert config.work_dir == 'out' and config.model.key == 3


def test_variables_may_be_named_like_keys(tmp_path):
    """As ``models`` in mmseg's BiSeNetV2, beside ``model``."""
    text = 'model = dict()\nmodels = dict()\ntest_dataloader = test_dataloader2 = dict()\n'
    (tmp_path / 'config.py').write_text(text)
    assert load_config(tmp_path / 'config.py').models == {}
    (tmp_path / 'config.py').write_text('train_dataloader = train_dataloder = dict()\n')
    with pytest.raises(InputError, match="'train_dataloder': is it 'train_dataloader'"):
        load_config(tmp_path / 'config.py')


def test_options_that_nothing_reads_are_refused(repository):
    known = 'strategy.type', 'find_unused_parameters', 'train_cfg.max_iters', 'model.init_cfg.note'
    for key in known:
        load_config(repository / 'config.py', {key: 1})
    with pytest.raises(InputError, match="nothing reads the key 'trian_cfg': is it 'train_cfg'"):
        load_config(repository / 'config.py', {'trian_cfg.max_iters': 1})


def test_options_of_the_test_data_are_told_from_others():
    options = {'test_dataloader.a': 1, 'model.b': 2, 'tta_pipeline': 3, 'test_cfg': 4}
    assert without_keys(options, TEST_DATA) == {'model.b': 2, 'test_cfg': 4}
    assert without_keys(None, TEST_DATA) == {}


def test_a_config_is_evaluated_with_other_values_of_its_variables(tmp_path):
    (tmp_path / 'base.py').write_text(
        'iters = 4000\n'
        'fold, shots = 0, 1\n'
        'own = dict(fold=fold)\n'
        'fixed = 3\n'  # of which nothing is made
        'grown = 1\ngrown += 1\n'
        'later = 1\nif later:\n    later = 2\n'
        'train = other_name = 5\n'
        'number = 7\n'
        'other = 1\nsize = other * 3\n'
        'visualizer = dict(a=grown, b=later, c=train, d=number, e=size)\n'
        'train_cfg = dict(max_iters=iters, val_interval=max(100, iters // 10))\n'
        "train_dataloader = dict(dataset=dict(data_root='fog', iters=4000))\n"
    )
    (tmp_path / 'config.py').write_text(
        "_base_ = './base.py'\nparam_scheduler = [dict(end=_base_.iters)]\n"
    )
    config = load_config(tmp_path / 'config.py', {'iters': 2000, 'train_cfg.val_begin': 3})
    assert config.iters == config.train_cfg.max_iters == config.param_scheduler[0].end == 2000
    assert (config.train_cfg.val_interval, config.train_cfg.val_begin) == (200, 3)
    assert config.train_dataloader.dataset == dict(data_root='fog', iters=4000)
    assert load_config(tmp_path / 'config.py').iters == 4000
    (tmp_path / 'token.py').write_text(
        "_base_ = './base.py'\nparam_scheduler = [dict(end={{_base_.size}})]\nsize: int = 4\n"
    )
    assert load_config(tmp_path / 'token.py', {'other': 2}).param_scheduler[0].end == 6
    for key in ('fold', 'own.fold', 'fixed', 'grown', 'later', 'size', 'train', 'number'):
        top = key.split('.')[0]
        message = rf'{key}: {top} is a variable of .*token\.py that no option reaches: set the keys'
        with pytest.raises(InputError, match=message):
            load_config(tmp_path / 'token.py', {key: float('inf') if key == 'number' else 2})
    with pytest.raises(InputError, match="nothing reads the key '_base_'"):
        load_config(tmp_path / 'config.py', {'_base_': 'x'})


def test_datasets_are_named_one_by_one():
    data = dict(dataset=dict(datasets=[dict(data_root='gta'), dict(dataset=dict(a=1))]))
    places = dict(each_dataset(data, 'x'))
    assert places == {
        'x.dataset.datasets.0': dict(data_root='gta'),
        'x.dataset.datasets.1.dataset': dict(a=1),
    }


def test_options_must_be_pairs(capsys):
    parser = runner_parser('x')
    args = parser.parse_args([__file__, '--cfg-options', 'a.b=1', 'c=[1,2]'])
    assert args.cfg_options == {'a.b': 1, 'c': [1, 2]}
    with pytest.raises(SystemExit, match='2'):
        parser.parse_args([__file__, '--cfg-options', 'foo'])
    assert "--cfg-options: 'foo' is not key=value" in capsys.readouterr().err


def test_a_missing_config_is_named():
    with pytest.raises(FileNotFoundError, match=r'no config file nowhere\.py'):
        load_config('nowhere.py')
    with pytest.raises(InputError, match=r'^configs is a folder: name a config file'):
        load_config('configs')


@pytest.mark.parametrize(
    ('capability', 'expected'),
    [
        (None, dict(type='BFloat16OptimWrapper')),
        ((8, 0), dict(type='BFloat16OptimWrapper')),
        ((7, 5), dict(type='AmpOptimWrapper', dtype='float16')),
    ],
)
def test_mixed_precision_takes_what_the_machine_has(monkeypatch, capability, expected):
    config = Config(dict(optim_wrapper=dict(optimizer=dict(type='AdamW'))))
    monkeypatch.setattr('torch.cuda.is_available', lambda: capability is not None)
    monkeypatch.setattr('torch.cuda.get_device_capability', lambda: capability)
    use_amp(config)
    assert config.optim_wrapper == dict(optimizer=dict(type='AdamW'), **expected)


def test_time_augmentation_averages_over_the_flip(tiny_config, tta, build_runner):
    build_runner(tiny_config).train()
    tiny_config.load_from = f'{tiny_config.work_dir}/iter_4.pth'
    plain = build_runner(tiny_config).test()
    augmented = copy.deepcopy(tiny_config)
    augmented.merge_from_dict(tta)
    use_tta(augmented)
    metrics = build_runner(augmented).test()
    assert metrics.keys() == plain.keys()
    assert metrics['mean_mIoU'] > 0 and metrics != plain
    # with the image as it is alone, nothing changes
    alone = copy.deepcopy(tiny_config)
    alone.merge_from_dict(tta)
    alone.tta_pipeline[1].transforms[1].pop()
    use_tta(alone)
    assert build_runner(alone).test() == plain


def test_test_data_of_another_config(repository):
    (repository / 'other.py').write_text(
        "test_dataloader = dict(num_workers=4, dataset=dict(data_root='data/fog', list=[1]))\n"
        'test_evaluator = dict(format_only=True)\n'
        "tta_pipeline = ['theirs']\n"
    )
    config = load_config(repository / 'config.py')
    config.test_evaluator = dict(mean_over=['fog'])  # of which nothing may stay
    options = {'test_dataloader.num_workers': 0, 'test_evaluator.output_dir': 'out'}
    use_test_data(config, repository / 'other.py', options)
    assert config.test_dataloader == dict(
        num_workers=0, dataset=dict(data_root=str(repository / 'data/fog'), list=[1])
    )
    assert config.test_evaluator == dict(format_only=True, output_dir='out')
    assert config.tta_pipeline == ['theirs']
    with pytest.raises(ValueError, match=r'does not fit .*other\.py: Index 3 exceeds'):
        use_test_data(config, repository / 'other.py', {'test_dataloader.dataset.list.3': 1})
    with pytest.raises(ValueError, match=r'config\.py has no test_dataloader, which --test-data'):
        use_test_data(config, repository / 'config.py')


def test_variables_of_other_test_data_are_replaced_there_too(config_file, tmp_path):
    text = 'fold = 0\ntest_dataloader = dict(dataset=dict(fold=fold))\n'
    text += "test_evaluator = dict(type='DomainIoUMetric')\n"
    (tmp_path / 'other.py').write_text(text)
    with config_file.open('a') as file:
        file.write('\nfold = 0\nrandomness = dict(seed=fold)\n')
    line = [config_file, '--test-data', tmp_path / 'other.py', '--cfg-options', 'fold=2']
    parser = runner_parser('x')
    add_test(parser)
    args = parser.parse_args([*map(str, line), 'model.backbone.img_size=16'])
    args.work_dir = str(tmp_path / 'work')
    config, _ = prepare_test(args)
    assert config.test_dataloader.dataset.fold == config.fold == config.randomness.seed == 2
    assert config.model.backbone.img_size == 16


@pytest.mark.parametrize('missing', ['tta_pipeline', 'tta_model'])
def test_time_augmentation_needs_its_settings(tiny_config, tta, missing):
    del tta[missing]
    tiny_config.merge_from_dict(tta)
    with pytest.raises(ValueError, match=f'no {missing}, which --tta needs'):
        use_tta(tiny_config)


@pytest.mark.parametrize('fixture', ['tiny_config', 'tiny_detector'])
def test_a_model_is_built_from_its_config(fixture, request):
    """Twice, though mmdet's DINO writes into what it is given."""
    config = request.getfixturevalue(fixture)
    before = config.to_dict()
    models = [build_model(config) for _ in range(2)]
    assert [type(model).__name__ for model in models] == [config.model.type] * 2
    assert config.to_dict() == before and not models[0].training
