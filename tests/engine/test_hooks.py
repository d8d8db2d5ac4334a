import json
import math
from pathlib import Path

import pytest
import torch
from small_detectors import adapted, write_resnet

FROZEN = ['backbone.patch_embed', 'backbone.blocks.0', 'backbone.blocks.1', 'backbone.norm']


def rewrite(name):
    """A function for a moment of training that adds to a tensor of the model."""

    def change(runner, **kwargs):
        model = runner.model
        with torch.no_grad():
            (dict(model.named_parameters()) | dict(model.named_buffers()))[name].add_(1e-6)

    return change


def thaw(name):
    return lambda runner: runner.model.get_parameter(name).requires_grad_(True)


@pytest.mark.parametrize('name', ['backbone.cls_token', 'backbone.blocks.3.attn.qkv.weight'])
def test_training_does_not_start_when_something_frozen_trains(tiny_config, build_runner, name):
    runner = build_runner(tiny_config, before_train=thaw(name))
    with pytest.raises(RuntimeError, match=f'must be frozen.*{name.removeprefix("backbone.")}'):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize(
    'name',
    [
        'backbone.pos_embed',
        'backbone.blocks.0.norm1.bias',
        'backbone.blocks.2.attn.qkv.weight',
        'backbone.blocks.3.mlp.fc2.B0',
    ],
)
def test_a_changed_frozen_tensor_is_found_after_training(tiny_config, build_runner, name):
    runner = build_runner(tiny_config, {'train_cfg.max_iters': 1}, after_train_iter=rewrite(name))
    with pytest.raises(RuntimeError, match=rf'1 frozen tensors changed in training: .*{name}'):
        runner.train()


def test_changed_statistics_of_a_frozen_norm_are_found(tiny_detector, build_runner, tmp_path):
    write_resnet(tmp_path / 'resnet.pth')
    tiny_detector.model = adapted('faster_rcnn', tmp_path / 'resnet.pth')
    name = 'backbone.layer3.0.bn1.running_mean'
    runner = build_runner(tiny_detector, after_train_iter=rewrite(name))
    with pytest.raises(RuntimeError, match=rf'1 frozen tensors changed in training: .*{name}'):
        runner.train()


def test_a_trained_tensor_may_change(tiny_config, build_runner):
    change = rewrite('backbone.blocks.2.attn.qkv.A')
    build_runner(tiny_config, {'train_cfg.max_iters': 1}, after_train_iter=change).train()


def test_frozen_modules_stay_in_eval_mode(tiny_config, build_runner):
    seen = []

    def look(runner, **kwargs):
        seen.append({name: m.training for name, m in runner.model.named_modules()})

    options = {'train_cfg.val_interval': 2}  # after which the loop calls model.train()
    runner = build_runner(tiny_config, options, 'VERY_LOW', before_train_iter=look)
    runner.train()
    assert len(seen) == 4
    for modes in seen:
        for name, training in modes.items():
            if any(name == f or name.startswith(f + '.') for f in FROZEN):
                assert not training, name
        for name in ('decode_head', 'backbone.blocks.2.attn.qkv', 'backbone.blocks.3.mlp.fc2'):
            assert modes[name], name


def test_weight_decay_is_logged(tiny_config, build_runner):
    vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    tiny_config.visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends)
    tiny_config.optim_wrapper.paramwise_cfg.bias_decay_mult = 0.0
    start, frames = {}, {}

    def remember(runner):
        start.update(
            enumerate(g['weight_decay'] for g in runner.optim_wrapper.optimizer.param_groups)
        )

    runner = build_runner(tiny_config, before_train=remember)
    runner.train()
    assert sorted(start.values()) == [0, 0.05, 0.05]
    assert {k for k in runner.message_hub.log_scalars if 'weight_decay' in k} == {
        f'train/weight_decay_{index}' for index in start
    }
    (file,) = Path(runner.work_dir).rglob('scalars.json')
    lines = [line for line in map(json.loads, file.read_text().splitlines()) if 'lr' in line]
    for index, value in start.items():
        key = f'weight_decay_{index}'
        low = 1e-5 if value else 0
        frames[key] = [low + (value - low) * (1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)]
        logged, _ = runner.message_hub.get_scalar(f'train/{key}').data
        assert list(logged) == pytest.approx(frames[key], rel=1e-6)
        assert [line[key] for line in lines] == pytest.approx(frames[key], rel=1e-6)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = Path(runner.work_dir).rglob('events.out.tfevents.*')
    events = EventAccumulator(str(file)).Reload()
    for key, values in frames.items():
        logged = [event.value for event in events.Scalars(key)]
        assert logged == pytest.approx(values, rel=1e-6)


def test_the_weight_decay_of_a_single_group_has_no_number(tiny_config, build_runner):
    tiny_config.optim_wrapper.pop('paramwise_cfg')
    runner = build_runner(tiny_config, {'train_cfg.max_iters': 1})
    runner.train()
    assert {k for k in runner.message_hub.log_scalars if 'weight_decay' in k} == {
        'train/weight_decay'
    }
