"""Trackers of docs/user_guides/tracking.md get the scores of each domain; its profiler profiles."""

import json
import sqlite3
from pathlib import Path

import pytest
from mmengine.config import Config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytestmark = pytest.mark.slow

SCORES = ('citys_mIoU', 'fog_mIoU', 'mean_mIoU')


@pytest.fixture
def train(example, tiny_config, build_runner):
    tiny_config.visualizer = dict(type='SegLocalVisualizer')
    example('../user_guides/tracking.md')

    def run(config, options=None, **moments):
        runner = build_runner(Config.fromfile(config), options, 'LOWEST', **moments)
        runner.train()
        runner.test()
        return runner

    return run


def test_wandb(train, tmp_path, monkeypatch):
    wandb = pytest.importorskip('wandb')
    seen = {}
    runner = train(
        'wandb_gta.py', after_val_epoch=lambda *_, **__: seen.update(dict(wandb.run.summary))
    )
    hub = runner.message_hub
    assert {name: seen[name] for name in SCORES} == pytest.approx(
        {name: hub.get_scalar(f'val/{name}').current() for name in SCORES}
    )
    assert seen['loss'] > 0 and wandb.run is None
    assert [*tmp_path.glob('work/*/vis_data/wandb/offline-run-*/run-*.wandb')]


def test_mlflow(train):
    pytest.importorskip('mlflow')
    runner = train('mlflow_gta.py')
    with sqlite3.connect('mlflow.db') as database:
        rows = database.execute('select key, value, step from metrics').fetchall()
        params = dict(database.execute('select key, value from params').fetchall())
    values = {(key, step): value for key, value, step in rows}
    for name in SCORES:
        score = runner.message_hub.get_scalar(f'val/{name}').current()
        assert values[name, 4] == pytest.approx(score)
    assert values['loss', 1] > 0 and params['model.backbone.adapter.type'] == 'SoMA'


def test_the_profiler(train, capsys):
    options = {'train_cfg.max_iters': 2, 'custom_hooks.2.profile_times': 2}
    train('profile_gta.py', options)
    assert 'Self CPU time total' in capsys.readouterr().out
    events = json.loads(Path('trace.json').read_text())['traceEvents']
    assert 'aten::addmm' in {event.get('name') for event in events}


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
