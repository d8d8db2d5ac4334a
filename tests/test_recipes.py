"""The scripts and configs of docs/user_guides run; what needs heavy packages: tests/slow."""

import importlib
import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.apis import init_model
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from soma.adapters import AdapterLayer, load_adapter
from soma.checkpoints import extract_adapter, open_checkpoint
from soma.io.checkpoint_files import read_checkpoint
from soma.io.files import InputError


def check_training(script):
    """Run a script of training_loops.md; what it has saved is what it has trained."""
    script = importlib.import_module(script)
    trained = getattr(script, 'module', script).model.eval().cpu()
    layers = [layer for layer in trained.modules() if isinstance(layer, AdapterLayer)]
    assert layers and not any(torch.equal(layer.B, layer.B0) for layer in layers)
    start = importlib.import_module('model').pretrained()
    assert not torch.equal(trained.head.weight, start.head.weight)
    loaded = importlib.import_module('load').model.eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images), trained(images), atol=1e-5, rtol=1e-4)
    fresh = importlib.import_module('model').adapted().eval()
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh(images), trained(images))


@pytest.mark.parametrize('script', ['plain', 'accelerated'])
def test_training_loops(example, script):
    example('../user_guides/training_loops.md')
    check_training(script)


def test_the_trainer_of_transformers(example):
    example('../user_guides/training_loops.md')
    trained = importlib.import_module('trainer').model.eval().cpu()
    plain = type(trained)(trained.config).eval()
    state = trained.state_dict()
    assert not torch.equal(plain.classifier.bias, state['classifier.bias'])
    plain.load_state_dict({n: v for n, v in state.items() if 'classifier' not in n}, strict=False)
    load_adapter(plain, 'adapter.safetensors')
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(plain(image).logits, trained(image).logits)


def test_early_stopping_and_the_curves(example, tiny_config, build_runner):
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    tiny_config.visualizer = dict(type='SegLocalVisualizer', vis_backends=backends)
    tiny_config.default_hooks.checkpoint.type = 'AdapterCheckpointHook'
    for domain in tiny_config.val_dataloader.dataset.datasets:
        domain.indices = [0]
    example('../user_guides/tracking.md')
    options = {'train_cfg.val_interval': 1}
    options |= {'custom_hooks.2.min_delta': 1000, 'custom_hooks.2.patience': 2}
    runner = build_runner(Config.fromfile('early_stop_gta.py'), options)
    runner.train()
    assert runner.iter == 3
    files = {path.name for path in Path(runner.work_dir).glob('*.pth')}
    assert 'iter_3.pth' in files and any(name.startswith('best_mean_mIoU_') for name in files)
    curves = EventAccumulator(f'{runner.log_dir}/vis_data').Reload()
    scores = {name: curves.Scalars(name) for name in ('citys_mIoU', 'fog_mIoU', 'mean_mIoU')}
    assert [event.step for event in scores['mean_mIoU']] == [1, 2, 3]
    citys, fog, mean = ([event.value for event in events] for events in scores.values())
    assert mean == pytest.approx([(a + b) / 2 for a, b in zip(citys, fog, strict=True)])
    assert {'loss', 'decode.loss_ce', 'lr', 'weight_decay_0'} <= {*curves.Tags()['scalars']}


def test_a_project_of_mmseg(example, tiny_config, run_here, no_charts):
    """Their script and their runner train; what comes out is tested, extracted, loaded."""
    folder = example('../user_guides/in_your_project.md')
    Path('mmsegmentation').symlink_to(files('mmseg') / '.mim')
    config = Config.fromfile('yours.py')
    assert 'runner_type' not in config and config.model.backbone.adapter.rank == 16
    config.model.data_preprocessor.size = (32, 32)
    config.model.backbone.update(tiny_config.model.backbone)
    for name in ('decode_head', 'auxiliary_head'):
        config.model[name].update(in_channels=16, channels=8, norm_cfg=dict(type='BN'))
    for name in tiny_config.keys() - {'model', 'default_hooks', 'custom_hooks', 'runner_type'}:
        config[name] = tiny_config[name]
    hooks = ('BlockFreezeHook', 'WeightDecayLoggerHook', 'TrainableEMAHook', 'DomainReportHook')
    config.update(work_dir='work', custom_hooks=[dict(type=name) for name in hooks])
    config.default_hooks.checkpoint.interval = 4
    config.dump('here.py')
    script = folder / 'mmsegmentation/tools/train.py'
    run_here(script, folder / 'here.py')
    (report,) = Path('work').glob('*/domains_iter_4.json')
    assert {'citys', 'fog'} == json.loads(report.read_text())['domains'].keys()

    content = read_checkpoint('work/iter_4.pth')
    state = content['state_dict']
    assert 'soma' not in content['meta'] and 'backbone.patch_embed.proj.weight' in state
    extract_adapter('work/iter_4.pth', 'adapter.safetensors')
    tensors = open_checkpoint('adapter.safetensors').tensors
    assert 'backbone.blocks.2.attn.qkv.A' in tensors and len(tensors) < len(state)
    model = init_model(str(folder / 'here.py'), 'work/iter_4.pth', device='cpu')
    assert all(torch.equal(model.state_dict()[name], value) for name, value in tensors.items())
    run_here('test.py', folder / 'here.py', '--adapter', 'adapter.safetensors')

    choice = 'default_hooks.checkpoint.type=AdapterCheckpointHook'
    with pytest.raises(InputError, match=r"needs runner_type='SomaRunner' instead of Runner"):
        run_here(script, folder / 'here.py', '--cfg-options', choice, 'work_dir=other')
