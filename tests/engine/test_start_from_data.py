"""Adapters that start from data, in a training: from which images, when, and when not."""

import copy

import pytest
import torch
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner
from small_configs import without_validation
from torch.utils.data import BatchSampler

from soma.adapters.from_data import waiting_layers
from soma.checkpoints import extract_adapter
from soma.engine import StartFromDataHook
from soma.io.files import InputError

NAME = 'backbone.blocks.3.mlp.fc2'


@pytest.fixture
def config(tiny_config):
    tiny_config.model.backbone.adapter.type = 'CorDA'
    tiny_config.default_hooks.checkpoint.update(type='AdapterCheckpointHook', interval=2)
    return without_validation(tiny_config)


def train(build_runner, config, **options):
    """What a run starts from, what images its steps get, and what it ends with."""
    start, images = {}, []

    def before_train_epoch(runner):
        assert not waiting_layers(runner.model)
        start.update(copy.deepcopy(runner.model.state_dict()))

    def before_train_iter(runner, batch_idx, data_batch):
        images.append(torch.stack(data_batch['inputs']))

    moments = dict(before_train_epoch=before_train_epoch, before_train_iter=before_train_iter)
    runner = build_runner(config, options, **moments)
    runner.train()
    return start, images, runner.model.state_dict()


def same(one, two):
    assert one.keys() == two.keys()
    return all(torch.equal(one[name], two[name]) for name in one)


def test_a_training_starts_from_its_images_and_goes_on_exactly(
    config, build_runner, tmp_path, monkeypatch
):
    monkeypatch.setitem(DATA_SAMPLERS.module_dict, 'BatchSampler', BatchSampler)
    begun, first, _ = train(build_runner, config, **{'train_cfg.max_iters': 2})
    _, last, resumed = train(build_runner, config, resume=True)
    start, images, end = train(build_runner, config)
    assert same(begun, start) and same(resumed, end)
    assert start[f'{NAME}.A'].any() and torch.equal(start[f'{NAME}.B'], start[f'{NAME}.B0'])
    assert all(map(torch.equal, first + last, images)) and len(images) == 4

    # other batches are another start, and the steps see the same images
    hooks = [dict(type='StartFromDataHook', batches=1)]
    other = train(build_runner, config, custom_hooks=hooks, **{'train_cfg.max_iters': 1})
    assert torch.equal(other[1][0], images[0])
    assert not torch.equal(other[0][f'{NAME}.A'], start[f'{NAME}.A'])

    # a batch sampler of the config's, as detectors have, is one of as many images
    sampler = dict(type='BatchSampler', drop_last=False)
    options = {'train_dataloader.batch_sampler': sampler, 'train_cfg.max_iters': 1}
    assert same(train(build_runner, config, **options)[0], start)

    # an adapter to start from has its own start
    extract_adapter(f'{config.work_dir}/iter_4.pth', tmp_path / 'adapter.safetensors')
    options = {'load_from': str(tmp_path / 'adapter.safetensors'), 'train_cfg.max_iters': 1}
    assert same(train(build_runner, config, work_dir=str(tmp_path / 'on'), **options)[0], end)


def test_a_runner_without_the_hook_says_what_is_missing(config, tmp_path):
    config.runner_type = 'Runner'
    config.default_hooks.checkpoint.type = 'CheckpointHook'
    config.experiment_name = tmp_path.name
    config.custom_hooks = []
    with pytest.raises(InputError, match=r'starts from data: .* with SomaRunner or StartFromData'):
        Runner.from_cfg(copy.deepcopy(config)).train()
    config.custom_hooks = [dict(type='StartFromDataHook', batches=2)]
    config.experiment_name += '_2'
    Runner.from_cfg(config).train()


@pytest.mark.parametrize('batches', [0, 1.5, True])
def test_batches_are_counted(batches):
    with pytest.raises(ValueError, match='batches must be at least 1, and whole'):
        StartFromDataHook(batches)
