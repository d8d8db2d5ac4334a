"""However a training is killed, it ends as one that never was: weights, scores, files."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# What a run of three iterations with a validation does; the best are those of two rules.
BOUNDARIES = (
    'before replace iter_2.pth',
    'before replace last_checkpoint',
    'before_val_epoch',
    'after_val_iter',
    'after_val_epoch',
    'before replace domains_iter_3.json',
    'before replace domains_iter_3.png',
    'before replace iter_3.pth',
    'before replace best_mean_mIoU_iter_3.pth',
    'before replace best_citys_aAcc_iter_3.pth',
    'before unlink iter_2.pth',
    'before_train_iter',
    'before replace iter_4.pth',
    'before replace best_citys_aAcc_iter_4.pth',
    'before unlink best_citys_aAcc_iter_3.pth',
    'after_train',
)


@pytest.fixture
def config(tiny_config):
    """A training with all that is random, an average, best checkpoints by two rules."""
    config = tiny_config
    config.custom_imports = dict(imports=['soma'])
    config.custom_hooks = [
        dict(type='TrainableEMAHook', momentum=0.3, begin_iter=1),
        dict(type='DomainReportHook'),
    ]
    config.default_hooks.checkpoint = dict(
        type='AdapterCheckpointHook',
        by_epoch=False,
        interval=2,
        max_keep_ckpts=1,
        save_best=['mean_mIoU', 'citys_aAcc'],
        rule=['greater', 'less'],
    )
    config.resume = True
    config.model.backbone.split_cache = False
    config.model.decode_head.dropout_ratio = 0.5
    config.model.test_cfg.stride = (32, 32)
    config.train_dataloader.batch_size = 1
    pipeline = config.train_dataloader.dataset.pipeline
    pipeline[-1:-1] = [dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion')]
    config.train_cfg.update(max_iters=4, val_interval=3)
    for domain in config.val_dataloader.dataset.datasets:
        domain.indices = [0]
    return config


def by_epochs(config):
    """Two epochs of one iteration, with files to publish."""
    config.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)
    config.train_dataloader.sampler.type = 'DefaultSampler'
    config.train_dataloader.dataset.indices = [0]
    config.log_processor.by_epoch = True
    config.default_hooks.checkpoint.update(by_epoch=True, interval=1, save_best='mean_mIoU')
    config.default_hooks.checkpoint.update(rule=None, published_keys=['meta', 'state_dict'])
    return config


def with_workers(config):
    """A longer training, with two workers."""
    config.train_cfg.update(max_iters=90, val_interval=30)
    config.default_hooks.checkpoint.update(interval=5, max_keep_ckpts=2)
    config.train_dataloader.num_workers = 2
    return config


def test_a_killed_training_ends_as_one_that_never_was(config, tmp_path):
    config.dump(tmp_path / 'iterations.py')
    by_epochs(copy.deepcopy(config)).dump(tmp_path / 'epochs.py')
    with_workers(copy.deepcopy(config)).dump(tmp_path / 'workers.py')
    cases = ('iterations:1:all', 'iterations:1:stop', 'iterations:2:/4', 'iterations:2:stop')
    cases += ('epochs:1:/3', 'workers:1:8')
    script = Path(__file__).with_name('kills.py')
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), *cases],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert not '\n'.join(line for line in lines if 'differs' in line)
    assert {*BOUNDARIES} <= {line.partition(' killed ')[2] for line in lines}
    assert len([line for line in lines if 'killed' in line]) >= 60
    assert any("half written: ['.iter_" in line for line in lines)
    for processes in (1, 2):  # what was saved when it was stopped, for as long as it is needed
        assert f'iterations_{processes}_stopped: iter_1.pth' in lines
        assert f'iterations_{processes}_stopped: iter_2.pth iter_3.pth' in lines
