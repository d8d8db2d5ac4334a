"""The configs of the toys: all load and fit their data, some train, test and are exported."""

import math
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from speed_phases import Settings, synthetic_data

from soma.checkpoints.export.onnx import export_onnx
from soma.evaluation.prepare import use_tta
from soma.models.build import build_model
from soma.utils.config import load_config

PROJECT = Path(__file__).parents[1]
CONFIGS = sorted(path for name in ('*.py', 'revt/*.py') for path in PROJECT.glob(f'configs/{name}'))
DOMAINS = {
    'gta2all': ('citys', 'bdd', 'map', 'fog', 'night', 'rain', 'snow'),
    'dc2all': ('DC', 'NC', 'DR', 'NR', 'DF'),
}


def domains(loader):
    return tuple(part.domain for part in getattr(loader.dataset, 'datasets', [loader.dataset]))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_config_builds_and_names_its_data(path, toy, monkeypatch):
    monkeypatch.chdir(toy)
    config = load_config(path)
    model = build_model(config)
    method, _, head, setting, _ = path.stem.split('_')
    trained = {name for name, p in model.backbone.named_parameters() if p.requires_grad}
    assert bool(trained) == (method != 'frozen')
    assert domains(config.train_dataloader) == (('gta',) if setting == 'gta2all' else ('DC',))
    assert domains(config.test_dataloader) == domains(config.val_dataloader) == DOMAINS[setting]
    for loader in (config.train_dataloader, config.test_dataloader):
        for part in getattr(loader.dataset, 'datasets', [loader.dataset]):
            assert (toy / part.data_root).is_dir()
    assert (toy / config.model.backbone.init_cfg.checkpoint).is_file()
    if head == 'dino':
        size = synthetic_data(config, 'train', Settings(path))['size']
        assert size == (512, 256)


@pytest.mark.parametrize(
    'path', [path for path in CONFIGS if path.stem.startswith('rein')], ids=lambda path: path.stem
)
def test_tokens_and_scales_of_rein_do_not_decay(path):
    config = load_config(path)
    with torch.device('meta'):
        backbone = MODELS.build(dict(config.model.backbone, _scope_='mmseg'))
    model = torch.nn.ModuleDict({'backbone': backbone})
    groups = build_optim_wrapper(model, config.optim_wrapper).param_groups
    decays = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    reins = dict(backbone.reins.named_parameters())
    free = {name for name, parameter in reins.items() if decays[id(parameter)] == 0}
    assert free == {name for name in reins if 'learnable_tokens' in name or name.endswith('scale')}
    assert {decays[id(reins[name])] for name in reins.keys() - free} == {0.05}


@pytest.fixture
def short(toy, tmp_path, monkeypatch, no_charts):
    """Load a config and make it train for two iterations."""
    monkeypatch.chdir(toy)

    def load(name):
        config = load_config(PROJECT / 'configs' / name)
        for split in ('train', 'test'):
            config[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
        config.train_dataloader.batch_size = 2
        config.merge_from_dict(
            {
                'work_dir': str(tmp_path),
                'train_cfg.max_iters': 2,
                **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
                'default_hooks.checkpoint.interval': 2,
                'log_level': 'WARNING',
                'launcher': 'none',
                'visualizer': None,
            }
        )
        return config

    return load


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    [
        'soma_dinov2-toy_semfpn_gta2all_256x256.py',
        'soma_dinov2-toy_mask2former_gta2all_256x256.py',
        'soma_dinov2-toy_dino_dc2all_512x256.py',
    ],
)
def test_some_train_test_and_are_exported(name, short, build_runner, tmp_path):
    config, losses = short(name), []
    runner = build_runner(
        config,
        after_train_iter=lambda runner, batch_idx, data_batch, outputs: losses.append(
            outputs['loss']
        ),
    )
    runner.train()
    assert len(losses) == 2 and all(map(math.isfinite, losses))
    score = 'mAP' if '_dino_' in name else 'mIoU'
    if '_mask2former_' not in name:  # which takes its time
        metrics = runner.test()
        assert [key for key in metrics if key.endswith(score)] == [
            f'{domain}_{score}' for domain in (*domains(config.test_dataloader), 'mean')
        ]
        assert all(0 <= value <= 100 for value in metrics.values())
    if score == 'mIoU':
        for size in ((256, 256), (250, 300)):  # the second is no multiple of the patch
            done = export_onnx(config, tmp_path / 'iter_2.pth', tmp_path / 'x.onnx', size)
            assert done.size == size and done.difference <= 1e-3


@pytest.mark.parametrize('name', ['semfpn_gta2all_256x256', 'dino_dc2all_512x256'])
def test_time_augmentation_is_the_configs(name, short):
    config = short(f'frozen_dinov2-toy_{name}.py')
    use_tta(config)
    assert config.model.type.endswith('TTAModel')
    pipelines = [part.pipeline for part in config.test_dataloader.dataset.datasets]
    assert all(pipeline == config.tta_pipeline for pipeline in pipelines)
