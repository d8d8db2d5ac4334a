"""A resumed run ends as one that was never interrupted, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from soma.files import read_checkpoint

MAX_ITERS = 180


@pytest.fixture
def killed(tiny_config, tmp_path):
    """Start a run that is killed some times, with all that is random; what it has left."""
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

    def run(name, kills, workers=0):
        config.work_dir = str(tmp_path / name)
        config.train_dataloader.num_workers = workers
        config.dump(tmp_path / f'{name}.py')
        script = Path(__file__).with_name('kill_and_resume.py')
        command = [sys.executable, script, tmp_path / f'{name}.py', kills]
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        done = subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True
        )
        output = tmp_path / name / 'output.txt'
        assert done.returncode == 0, done.stdout + done.stderr + output.read_text()[-3000:]
        assert done.stdout.count('killed') == kills
        assert done.stdout.count('half written: []') <= kills // 2
        left = sorted(file.name for file in output.parent.glob('*iter_*') if file.name[0] != 'b')
        assert left == ['iter_175.pth', 'iter_180.pth']
        return read_checkpoint(output.parent / f'iter_{MAX_ITERS}.pth')

    return run


def assert_same(ours, theirs, where=''):
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_same(ours[key], theirs[key], f'{where} {key}')
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), where
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f'{where} {index}')
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


def test_a_run_that_was_killed_twenty_times_ends_the_same(killed):
    whole = killed('whole', kills=0)
    parts = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
    assert any(value.any() for value in whole['ema_state_dict'].values())
    for workers in (0, 2):
        found = killed(f'workers_{workers}', kills=20, workers=workers)
        for part in parts:
            assert_same(found[part], whole[part], part)


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
    ours, theirs = (read_checkpoint(f'{folder}/epoch_2.pth') for folder in (rest, whole))
    assert_same(ours['state_dict'], theirs['state_dict'])
    assert_same(ours['optimizer'], theirs['optimizer'])
