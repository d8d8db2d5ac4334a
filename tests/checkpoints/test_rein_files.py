"""Rein from training to testing without folding, and the files of its original release."""

import copy
import shutil

import pytest
import torch
from mmseg.apis import init_model
from release_names import rein
from small_configs import small_mask2former

from soma.adapters import Rein, load_adapter
from soma.checkpoints import (
    average_files,
    convert_dinov2_file,
    export_backbone,
    export_peft,
    extract_adapter,
    load_plain,
    merge_files,
    open_checkpoint,
)
from soma.checkpoints.export.onnx import export_onnx
from soma.inference import Inferencer
from soma.io.checkpoint_files import (
    CheckpointError,
    card_of,
    read_checkpoint,
    read_state_dict,
    write_checkpoint,
)
from soma.models import DINOv2
from soma.models.build import use_plain_model

ARCH = dict(embed_dim=16, depth=4, num_heads=2)
REIN = dict(type='Rein', num_tokens=5, rank=2)
HOOKS = [dict(type='BlockFreezeHook')]
METHODS = {
    'plain': {},
    'ema': {'custom_hooks': [*HOOKS, dict(type='TrainableEMAHook', momentum=0.3)]},
    'mmengine': {'custom_hooks': [*HOOKS, dict(type='EMAHook', momentum=0.3)]},
    'adapter': {'default_hooks.checkpoint.type': 'AdapterCheckpointHook'},
}


@pytest.fixture
def config(tiny_config, public_file, tmp_path):
    """Rein on the tiny backbone; the tokens take part from the start."""
    convert_dinov2_file(public_file, tmp_path / 'converted.pth', (32, 32), 8)
    tiny_config.model.backbone.adapter = dict(REIN, scale_init=0.3)
    tiny_config.model.backbone.init_cfg.checkpoint = str(tmp_path / 'converted.pth')
    return tiny_config


@pytest.fixture
def converted(config, tmp_path):
    return tmp_path / 'converted.pth'


def model_to_test(config):
    """The model as tests build it."""
    config = copy.deepcopy(config)
    use_plain_model(config)
    return init_model(config, None, device='cpu').eval()


def logits(model, x):
    with torch.no_grad():
        return model.eval()(x, mode='tensor')


@pytest.mark.parametrize(
    'method', [m if m == 'adapter' else pytest.param(m, marks=pytest.mark.slow) for m in METHODS]
)
def test_the_same_logits_all_along(config, build_runner, converted, tmp_path, method):
    build_runner(config, METHODS[method]).train()
    final = f'{config.work_dir}/iter_4.pth'
    x = torch.randn(2, 3, 32, 32)
    runner = build_runner(config, METHODS[method] | {'custom_hooks': HOOKS})
    runner.model.init_weights()
    runner.load_checkpoint(final)
    expected = logits(runner.model, x)
    assert runner.model.backbone.reins.scale != 0.3

    made = {'final': (final, converted)}
    for suffix in ('.pth', '.safetensors'):
        extract_adapter(final, tmp_path / f'adapter{suffix}')
        made[suffix] = (tmp_path / f'adapter{suffix}', converted)
        kept = tmp_path / f'kept{suffix}'
        merge_files(converted, tmp_path / f'adapter{suffix}', kept, keep_adapter=True)
        made[f'kept{suffix}'] = (kept, None)
    for name, files in made.items():
        model = model_to_test(config)
        assert isinstance(model.backbone.reins, Rein)
        load_plain(model, *files)
        assert torch.equal(logits(model, x), expected), name
    own = read_state_dict(tmp_path / 'adapter.safetensors')
    assert all(n.startswith(('backbone.reins.', 'decode_head.')) for n in own)
    assert {n for n in own if 'reins' in n} == {
        f'backbone.reins.{n}' for n in runner.model.backbone.reins.state_dict()
    }
    # trained on from the file, and outside OpenMMLab
    options = {'load_from': str(tmp_path / 'adapter.pth'), 'optim_wrapper.optimizer.lr': 0.0}
    again = build_runner(config, options | {'train_cfg.max_iters': 1})
    again.train()
    assert torch.equal(logits(again.model, x), expected)
    sizes = dict(arch=ARCH, img_size=32, patch_size=8, out_indices=[0, 1, 2, 3])
    alone = DINOv2(**sizes, init_cfg=dict(type='Pretrained', checkpoint=str(converted)))
    alone.init_weights()
    load_adapter(alone, tmp_path / 'adapter.safetensors', part='backbone')
    for ours, theirs in zip(alone.eval()(x), runner.model.backbone(x), strict=True):
        assert torch.equal(ours, theirs)


def test_training_resumes(config, build_runner, tmp_path):
    options = {'default_hooks.checkpoint': dict(type='AdapterCheckpointHook', interval=2)}
    build_runner(config, options).train()
    expected = read_state_dict(f'{config.work_dir}/iter_4.pth')
    shutil.copytree(config.work_dir, tmp_path / 'again')
    (tmp_path / 'again/iter_4.pth').unlink()
    options |= {'work_dir': str(tmp_path / 'again'), 'resume': True}
    options |= {'load_from': str(tmp_path / 'again/iter_2.pth')}
    build_runner(config, options).train()
    found = read_state_dict(tmp_path / 'again/iter_4.pth')
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.fixture
def trained(config, build_runner):
    build_runner(config).train()
    return f'{config.work_dir}/iter_4.pth'


def test_images_and_scripts(config, trained, config_file, run_here, street_data, tmp_path):
    inferencer = Inferencer(config, trained, 'cpu')
    assert isinstance(inferencer.model.backbone.reins, Rein)
    run_here('test.py', config_file, trained, '--work-dir', tmp_path / 'test')
    adapter = tmp_path / 'rein.safetensors'
    run_here('extract_soma_weights.py', '--final_ckpt', trained, '--soma_ckpt', adapter)
    image = street_data / 'images/00000.png'
    out = tmp_path / 'shown'
    run_here('visualize.py', config_file, adapter, image, '--save-dir', out)
    assert (out / '00000.png').is_file()
    again = Inferencer(config, adapter, 'cpu')
    assert (again(str(image)) == inferencer(str(image))).all()


def test_what_needs_a_change_of_weights_is_refused(trained, converted, tmp_path):
    adapter = tmp_path / 'rein.safetensors'
    extract_adapter(trained, adapter)
    calls = {
        'merged': lambda: merge_files(converted, adapter, tmp_path / 'x.pth'),
        'exported to timm': lambda: export_backbone(adapter, tmp_path / 'x.pth', 'timm', converted),
        'exported to peft': lambda: export_peft(adapter, tmp_path / 'x'),
        'averaged': lambda: average_files([trained, trained], tmp_path / 'x.pth'),
    }
    for task, call in calls.items():
        with pytest.raises(CheckpointError, match=f'of Rein, which is no change.*cannot be {task}'):
            call()
    assert not (tmp_path / 'x.pth').exists() and not (tmp_path / 'x').exists()


def test_a_checkpoint_without_tokens_is_refused(config, build_runner, converted):
    frozen = copy.deepcopy(config)
    frozen.model.backbone.update(adapter=None, frozen_blocks=4)
    build_runner(frozen).train()
    with pytest.raises(CheckpointError, match=r'missing: backbone\.reins\.'):
        load_plain(model_to_test(config), f'{config.work_dir}/iter_4.pth')
    runner = build_runner(config, {'load_from': f'{config.work_dir}/iter_4.pth'})
    with pytest.raises(CheckpointError, match=r'missing: backbone\.reins\.'):
        runner.train()


@pytest.fixture
def release(config, tmp_path):
    """A file as those of the release: tokens and head, under ``state_dict``, without a card."""
    config.model.decode_head = small_mask2former('ReinMask2FormerHead')
    adapter = dict(REIN, link=True, query_dims=32)
    config.model.backbone.update(adapter=adapter, pyramid=(1, 1, 1, 1))
    model = model_to_test(config)
    state = rein(4)
    head = model.decode_head.state_dict()
    assert 'querys2feat.weight' in head and 'query_feat.weight' not in head
    state |= {f'decode_head.{n}': v + 0.1 * torch.randn_like(v) for n, v in head.items()}
    torch.save({'state_dict': state, 'meta': {'iter': 40000}}, tmp_path / 'rein_release.pth')
    return tmp_path / 'rein_release.pth'


@pytest.mark.slow
def test_the_releases_files(config, release, converted, build_runner, run_here, tmp_path, tta):
    card = open_checkpoint(release).card
    settings = card.settings
    assert (card.method, settings['num_tokens'], settings['rank']) == ('Rein', 5, 2)
    assert (settings['link'], settings['query_dims'], len(card.targets)) == (True, 32, 4)
    x = torch.randn(1, 3, 32, 32)
    model, state = model_to_test(config), read_state_dict(release)
    base = {f'backbone.{n}': v for n, v in read_state_dict(converted).items() if n != 'mask_token'}
    model.load_state_dict({**base, **state})
    expected = logits(model, x)
    with pytest.raises(CheckpointError, match='no pretrained weights: name their file as base'):
        load_plain(model_to_test(config), release)
    load_plain(model := model_to_test(config), release, converted)
    for ours, theirs in zip(logits(model, x), expected, strict=True):
        assert torch.equal(ours[-1], theirs[-1])
    # trained on, and tested
    options = {'load_from': str(release), 'optim_wrapper.optimizer.lr': 0.0}
    runner = build_runner(config, options | {'train_cfg.max_iters': 1})
    runner.train()
    own = runner.model.state_dict()
    state['backbone.reins.scale'] = state['backbone.reins.scale'].view(1)
    assert all(torch.equal(own[name], value) for name, value in {**base, **state}.items())
    # written again under the same names
    extract_adapter(release, tmp_path / 'ours.safetensors')
    ours = read_state_dict(tmp_path / 'ours.safetensors')
    assert ours.keys() == state.keys()
    assert all(torch.equal(ours[name], value) for name, value in state.items())
    assert card_of(read_checkpoint(tmp_path / 'ours.safetensors'))['method'] == 'Rein'
    extract_adapter(f'{config.work_dir}/iter_1.pth', tmp_path / 'trained.pth')
    assert read_state_dict(tmp_path / 'trained.pth').keys() == state.keys()
    exported = export_onnx(config, release, tmp_path / 'x.onnx', (32, 32), converted)
    assert exported.difference < 1e-3
    config.merge_from_dict({**tta, 'custom_imports': dict(imports=['soma'])})
    config.dump(tmp_path / 'linked.py')
    run_here('test.py', tmp_path / 'linked.py', release, '--work-dir', tmp_path / 'test', '--tta')


def test_full_tokens_of_the_release(release, tmp_path):
    state = read_state_dict(release)
    full = state.pop('backbone.reins.learnable_tokens_a') @ state.pop(
        'backbone.reins.learnable_tokens_b'
    )
    write_checkpoint({**state, 'backbone.reins.learnable_tokens': full}, tmp_path / 'full.pth')
    settings = open_checkpoint(tmp_path / 'full.pth').card.settings
    assert (settings['rank'], settings['num_tokens']) == (None, 5)
