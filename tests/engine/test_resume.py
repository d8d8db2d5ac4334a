"""A resumed run ends as one that was never interrupted, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from soma.io.checkpoint_files import read_checkpoint

MAX_ITERS = 180


@pytest.fixture
def random_config(tiny_config):
    """A training with all that is random, an average, validations, checkpoints that go."""
    config = tiny_config
    config.custom_imports = dict(imports=['soma'])
    config.custom_hooks.append(dict(type='TrainableEMAHook', momentum=0.1, begin_iter=5))
    config.default_hooks.checkpoint = dict(
        type='AdapterCheckpointHook',
        by_epoch=False,
        interval=5,
        max_keep_ckpts=2,
        save_best='mean_mIoU',
    )
    config.resume = True
    config.model.decode_head.dropout_ratio = 0.5
    pipeline = config.train_dataloader.dataset.pipeline
    pipeline[-1:-1] = [dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion')]
    config.train_cfg.update(max_iters=MAX_ITERS, val_interval=20)
    for scheduler in config.param_scheduler:
        scheduler.end = MAX_ITERS
    return config


def assert_same(actual, expected, where=''):
    assert type(actual) is type(expected), where
    if isinstance(actual, dict):
        assert actual.keys() == expected.keys(), where
        for key in actual:
            assert_same(actual[key], expected[key], f'{where} {key}')
    elif isinstance(actual, list | tuple):
        assert len(actual) == len(expected), where
        for index, pair in enumerate(zip(actual, expected, strict=True)):
            assert_same(*pair, f'{where} {index}')
    elif isinstance(actual, torch.Tensor):
        assert torch.equal(actual, expected), where
    else:
        assert actual == expected, where


def test_a_run_that_was_killed_twenty_times_ends_the_same(random_config, tmp_path):
    runs = {'whole': (0, 0), 'one_process': (20, 0), 'two_workers': (20, 2)}
    for name, (_, workers) in runs.items():
        random_config.work_dir = str(tmp_path / name)
        random_config.train_dataloader.num_workers = workers
        random_config.dump(tmp_path / f'{name}.py')
    script = Path(__file__).with_name('kill_and_resume.py')
    pairs = [f'{tmp_path / name}.py:{kills}' for name, (kills, _) in runs.items()]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, str(script), *pairs], env=environment, capture_output=True, text=True
    )
    output = ''.join(file.read_text()[-2000:] for file in tmp_path.glob('*/output.txt'))
    assert done.returncode == 0, done.stdout + done.stderr + output
    assert done.stdout.count(' killed at ') == 40
    assert done.stdout.count("half written: ['.iter_") >= 10  # in the middle of saving

    result = {name: read_checkpoint(tmp_path / name / f'iter_{MAX_ITERS}.pth') for name in runs}
    assert all(value.any() for value in result['whole']['ema_state_dict'].values())
    for name in runs:
        left = sorted(file.name for file in (tmp_path / name).glob('*.pth') if file.name[0] != 'b')
        assert left == [f'iter_{MAX_ITERS - 5}.pth', f'iter_{MAX_ITERS}.pth']
        for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
            assert_same(result[name][part], result['whole'][part], f'{name} {part}')


def test_a_run_by_epochs_resumes_as_if_never_interrupted(tiny_config, build_runner, tmp_path):
    tiny_config.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=2)
    tiny_config.train_dataloader.sampler.type = 'DefaultSampler'
    tiny_config.log_processor.by_epoch = True
    tiny_config.default_hooks.checkpoint = dict(type='AdapterCheckpointHook', interval=1)
    whole, rest = (str(tmp_path / name) for name in ('whole', 'rest'))
    build_runner(tiny_config, {'work_dir': whole}).train()
    options = {'work_dir': rest, 'load_from': f'{whole}/epoch_1.pth', 'resume': True}
    torch.manual_seed(1)
    runner = build_runner(tiny_config, options)
    runner.train()
    assert (runner.epoch, runner.iter) == (2, 4)
    actual, expected = (read_checkpoint(f'{folder}/epoch_2.pth') for folder in (rest, whole))
    assert_same(actual['state_dict'], expected['state_dict'])
    assert_same(actual['optimizer'], expected['optimizer'])
