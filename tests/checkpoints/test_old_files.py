"""Files of the commit e24dfc4, before cards were checked: they load, and a training goes on."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from soma.adapters import load_adapter
from soma.checkpoints import (
    average_files,
    export_backbone,
    export_peft,
    extract_adapter,
    load_plain,
    merge_files,
    open_checkpoint,
)
from soma.io.checkpoint_files import read_state_dict
from soma.models import DINOv2
from soma.models.build import build_model, use_plain_model

FILES = Path(__file__).parents[1] / 'data' / 'e24dfc4'
SIZES = dict(arch=dict(embed_dim=16, depth=4, num_heads=2), img_size=32, patch_size=8)
OPTIONS = {
    'soma': dict(rank=2, alpha=3.0, component='minor'),
    'dora': dict(rank=2, alpha=2.0),
    'svf': dict(ratio=1.0),
    'rein': dict(num_tokens=4, rank=2, query_dims=256, link=False),
}


@pytest.fixture
def old(tmp_path, monkeypatch):
    """The files, where the base stands as the training named it."""
    shutil.copytree(FILES, tmp_path / 'old')
    monkeypatch.chdir(tmp_path / 'old')
    return tmp_path / 'old'


@pytest.fixture
def config(tiny_config, old):
    tiny_config.model.backbone.init_cfg.checkpoint = 'base.pth'
    tiny_config.model.backbone.adapter.alpha = 3.0
    return tiny_config


def same(ours, theirs, tolerance=0.0):
    assert ours.keys() == theirs.keys()
    return all(
        torch.allclose(ours[name].double(), value.double(), rtol=tolerance, atol=tolerance)
        for name, value in theirs.items()
    )


@pytest.mark.parametrize('name', OPTIONS)
def test_adapters_load_and_compute_what_their_weights_say(old, name):
    file, x = old / f'{name}_adapter.safetensors', torch.randn(1, 3, 32, 32)
    card = open_checkpoint(file).card
    assert card.method.lower() == name and OPTIONS[name].items() <= card.settings.items()
    assert card.iteration == 4 and len(card.classes) == 19 and card.base.file == 'base.pth'
    assert card.base.arch == SIZES['arch'] and len(card.base.hash) == 64
    pretrained = dict(type='Pretrained', checkpoint='base.pth')
    model = DINOv2(**SIZES, out_indices=[3], pyramid=[1], init_cfg=pretrained)
    model.init_weights()
    before = model(x)[0]
    report = load_adapter(model, file, part='backbone')
    assert len(report.layers) == len(card.targets)
    after = model(x)[0]
    assert not torch.allclose(after, before, atol=1e-4)
    if card.folds:
        state = open_checkpoint(file).with_base('base.pth').plain()
        plain = DINOv2(**SIZES, out_indices=[3], pyramid=[1])
        weights = {n.removeprefix('backbone.'): v for n, v in state.items() if 'backbone' in n}
        plain.load_state_dict(weights)
        assert torch.allclose(plain(x)[0], after, atol=1e-5)


def test_what_was_made_of_them_is_made_again(old, tmp_path):
    adapter = old / 'soma_adapter.safetensors'
    merge_files('base.pth', adapter, tmp_path / 'merged.pth')
    assert same(read_state_dict(tmp_path / 'merged.pth'), read_state_dict('merged.pth'), 1e-6)
    pair = [adapter, old / 'soma_adapter_2.safetensors']
    average_files(pair, tmp_path / 'averaged.safetensors')
    ours, theirs = (
        open_checkpoint(file).with_base('base.pth').plain()
        for file in (tmp_path / 'averaged.safetensors', 'averaged.safetensors')
    )
    assert same(ours, theirs, 1e-5)
    cards = (
        open_checkpoint(f).card for f in (tmp_path / 'averaged.safetensors', 'averaged.safetensors')
    )
    ours, theirs = ({**card.to_dict(), 'average': None} for card in cards)
    assert ours == theirs
    export_backbone(adapter, tmp_path / 'timm.pth', 'timm', 'base.pth')
    assert same(read_state_dict(tmp_path / 'timm.pth'), read_state_dict('exported_timm.pth'), 1e-6)
    export_peft(adapter, tmp_path / 'peft', 'base.pth', base_model='timm')
    peft, old_peft = tmp_path / 'peft', old / 'exported_peft'
    name = 'adapter_model.safetensors'
    assert same(read_state_dict(peft / name), read_state_dict(old_peft / name))
    for name in ('adapter_config.json', 'soma_card.json'):
        ours, theirs = (json.loads((folder / name).read_text()) for folder in (peft, old_peft))
        assert ours == theirs


def test_all_kinds_are_tested_with(config, old):
    use_plain_model(config)
    logits, x, complete = {}, torch.randn(1, 3, 32, 32), ('merged.pth',)
    for name in ('training_iter_2.pth', 'soma_adapter_2.safetensors', 'merged.pth',
                 'soma_adapter.safetensors', 'averaged.safetensors'):  # fmt: skip
        model = build_model(config)
        load_plain(model, name, *([] if name in complete else ['base.pth']))
        logits[name] = model(x, mode='tensor')
    pairs = [('training_iter_2.pth', 'soma_adapter_2.safetensors')]
    pairs.append(('merged.pth', 'soma_adapter.safetensors'))
    for one, two in pairs:
        assert torch.allclose(logits[one], logits[two], atol=1e-5)
    assert torch.isfinite(logits['averaged.safetensors']).all()


def test_a_training_that_was_started_before_goes_on(config, build_runner, old, tmp_path):
    config.custom_hooks = [
        dict(type='BlockFreezeHook'),
        dict(type='TrainableEMAHook', momentum=0.3),
    ]
    options = {
        'default_hooks.checkpoint': dict(type='AdapterCheckpointHook', interval=2, by_epoch=False),
        'resume': True,
        'load_from': str(old / 'training_iter_2.pth'),
        **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
    }
    runner = build_runner(config, options)
    runner.train()
    assert runner.iter == 4
    final = f'{config.work_dir}/iter_4.pth'
    assert same(read_state_dict(final), read_state_dict('final.safetensors'), 1e-5)
    extract_adapter(final, tmp_path / 'adapter.safetensors')
    adapter = read_state_dict(tmp_path / 'adapter.safetensors')
    assert same(adapter, read_state_dict('soma_adapter.safetensors'), 1e-5)
