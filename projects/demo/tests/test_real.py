"""The demo on real streets, on drawn ones in the layout of CamVid, with a tiny DINOv2."""

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from raw_data import train_ids, write_raw_data

from soma.inference import draw_result
from soma.io import public
from soma.io.checkpoint_files import write_checkpoint
from soma.io.download import file_sha256
from soma.io.files import CheckpointError, InputError
from soma.models import DINOv2
from soma.utils.config import REPOSITORY, load_config, metainfo_of
from soma.utils.jobs import Usage
from soma_demo import DEMOS, missing_inputs, on_inputs, real, run, run_demo

CLOSED = 'https://127.0.0.1:1'
ELEVEN = (0, 1, 2, 4, 5, 7, 8, 10, 11, 12, 13)  # train ids of its classes
ARCH = dict(embed_dim=16, depth=12, num_heads=2)


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
    """CamVid, as it is downloaded: two images by day, one at dusk, one on the other day."""
    root = tmp_path_factory.mktemp('raw')
    write_raw_data(root, (64, 48), images=2, val_images=3, domains=['camvid'])
    return root / 'camvid'


@pytest.fixture
def data(raw, tmp_path):
    """A folder of CamVid; the space and the comma are no part of an option."""
    return shutil.copytree(raw, tmp_path / 'my streets, all')


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A DINOv2 of width 16 as the public files are."""
    torch.manual_seed(1)
    state = DINOv2({**ARCH, 'init_values': 0.5}, img_size=70, patch_size=14).state_dict()
    path = tmp_path_factory.mktemp('public') / 'dinov2 tiny.pth'
    write_checkpoint({**state, 'mask_token': torch.zeros(1, 16)}, path)
    return path


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """The demo with configs of the tiny network and of two iterations."""
    folder, configs = tmp_path_factory.mktemp('configs'), {}
    for method, file in DEMOS['real'].configs.items():
        config = load_config(file)
        loaders = [f'{split}_dataloader' for split in ('train', 'test')]
        config.merge_from_dict(
            {
                'model.backbone.arch': dict(ARCH, _delete_=True),
                **{f'model.decode_head.{key}': 16 for key in ('in_channels', 'channels')},
                'train_cfg.max_iters': 2,
                'default_hooks.checkpoint.interval': 2,
                'train_dataloader.batch_size': 2,
                **{f'{loader}.num_workers': 0 for loader in loaders},
                **{f'{loader}.persistent_workers': False for loader in loaders},
                'log_level': 'WARNING',
            }
        )
        configs[method] = folder / file.name
        config.dump(configs[method])
    return replace(DEMOS['real'], configs=configs)


@pytest.fixture
def frozen(tiny):
    """The demo of one method alone."""
    return replace(tiny, configs={'frozen': tiny.configs['frozen']})


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A repository with neither weights nor data, whose servers give nothing."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    known = public.WEIGHTS['dinov2_vits14'], public.DATASETS['camvid']
    monkeypatch.setitem(public.WEIGHTS, 'dinov2_vits14', known[0]._replace(url=f'{CLOSED}/x.pth'))
    monkeypatch.setitem(public.DATASETS, 'camvid', known[1]._replace(url=f'{CLOSED}/x.tar.gz'))
    monkeypatch.setattr(real, 'REPOSITORY', tmp_path)
    return tmp_path


def start(monkeypatch, *options):
    monkeypatch.setattr('signal.signal', lambda *_: None)
    monkeypatch.setattr(sys, 'argv', ['demo.py', *map(str, options)])
    runpy.run_path(str(REPOSITORY / 'projects/demo/demo.py'), run_name='__main__')


def test_what_is_missing_has_a_line_each(offline, weights, data, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        start(monkeypatch, '--task', 'real', '--work-dir', offline / 'work')
    first, second = stop.value.code.splitlines()  # which is exit status 1
    for line, words in (
        (first, f'x.pth {offline}/checkpoints dinov2_vits14_pretrain.pth WEIGHTS=PATH'),
        (second, f'x.tar.gz {offline}/data camvid.tar.gz DATA=PATH'),
    ):
        assert line.startswith('error: ') and 'cannot be reached' in line
        assert all(word in line for word in (*words.split(), 'python tools/download.py', CLOSED))
    assert not (offline / 'work').exists()
    assert missing_inputs(weights, None) == [second.removeprefix('error: ')]
    assert missing_inputs(None, data) == [first.removeprefix('error: ')]
    with pytest.raises(SystemExit, match=f'{offline}/dinov2_vits14_pretrain.pth does not exist'):
        start(monkeypatch, '--task', 'real', '--weights', offline, '--data', data)


def test_options_of_another_demo_are_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit, match='2'):
        start(monkeypatch, '--data', 'x')
    assert 'belong to --task real' in capsys.readouterr().err


def test_what_is_at_its_place_is_taken(offline, tiny, weights, raw, monkeypatch, capsys):
    """Then the configs are those of the repository, and the labels are converted once."""
    monkeypatch.chdir(offline)
    shutil.copytree(raw, offline / 'data/camvid')
    (offline / 'checkpoints').mkdir()
    shutil.copy(weights, file := offline / 'checkpoints/dinov2_vits14_pretrain.pth')
    assert 'is not dinov2_vits14: its sha256' in missing_inputs(None, None)[0]
    known = public.WEIGHTS['dinov2_vits14']._replace(sha256=file_sha256(file))
    monkeypatch.setitem(public.WEIGHTS, 'dinov2_vits14', known)
    assert missing_inputs(None, None) == []
    assert on_inputs(tiny, None, None, offline / 'work') == tiny
    (*_, counts) = capsys.readouterr().out.splitlines()
    assert counts == 'train day: 2 images, test dusk: 1 images, test day2: 1 images'
    monkeypatch.setattr(real, 'convert_dataset', None)
    assert on_inputs(tiny, None, None, offline / 'work') == tiny


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda data: shutil.rmtree(data / 'trainannot'), r'day: no list .*/day\.txt'),
        (lambda data: shutil.rmtree(data / 'train'), r'train/0006R0_f00000.png: is missing, and 1'),
        (lambda data: (data / 'testannot/0001TP_00000.png').write_bytes(b''), '0001TP_00000.png'),
        (lambda data: [shutil.rmtree(p) for p in data.glob('*annot')], 'expected labels in '),
    ],
)
def test_a_folder_that_lacks_something_is_refused(damage, message, frozen, weights, data, tmp_path):
    damage(data)
    for _ in range(2):  # when the labels are converted, too
        with pytest.raises((InputError, FileNotFoundError), match=message):
            on_inputs(frozen, weights, data, tmp_path / 'work')


def test_weights_of_another_network_are_refused(public_file, frozen, data, tmp_path):
    with pytest.raises(CheckpointError, match=f'{public_file.name}.*blocks') as error:
        on_inputs(frozen, public_file, data, tmp_path / 'work')
    assert '\n' not in str(error.value)


def test_the_plan(tiny, weights, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    demo = on_inputs(tiny, weights, data, Path('work'))  # scripts run in the repository
    assert demo.preparation(tmp_path) == []
    jobs = demo.training(tmp_path / 'work')
    assert [job.name.split(': ')[1] for job in jobs] == [m for m in demo.configs for _ in '12']
    for method, train, test in zip(demo.configs, jobs[::2], jobs[1::2], strict=True):
        ((_, script, config, *options),) = train.commands
        assert script == str(REPOSITORY / 'tools/train.py') and 'val_cfg=None' in options
        assert config == str(tmp_path / 'work/configs' / tiny.configs[method].name)
        ((_, script, same, checkpoint, *_),) = test.commands
        assert script == str(REPOSITORY / 'tools/test.py') and same == config
        assert checkpoint == str(tmp_path / f'work/{method}/iter_2.pth')
        own, plain = load_config(config), load_config(tiny.configs[method])
        assert own.model.backbone.init_cfg.checkpoint == str(weights)
        parts = own.test_dataloader.dataset.datasets
        assert [part.domain for part in parts] == ['dusk', 'day2']
        assert {part.data_root for part in (own.train_dataloader.dataset, *parts)} == {str(data)}
        own.model.backbone.init_cfg.checkpoint = plain.model.backbone.init_cfg.checkpoint
        assert own.model == plain.model and own.param_scheduler == plain.param_scheduler
    published = DEMOS['real'].checkpoint(tmp_path, 'soma')
    assert published == tmp_path / 'soma/iter_400.pth'


@pytest.mark.slow
def test_the_demo_trains_tests_and_draws(tiny, weights, data, tmp_path, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')

    def run_jobs(jobs, workers, finish, durations, **options):
        for job in jobs:
            ((_, script, *arguments),) = job.commands
            monkeypatch.setattr(sys, 'argv', [script, *arguments])
            runpy.run_path(script, run_name='__main__')
            finish(job, Usage(3.0, 1.0))
        return {}

    monkeypatch.setattr(run, 'run_jobs', run_jobs)
    work = tmp_path / 'work'
    summary = run_demo(on_inputs(tiny, weights, data, work), work)
    assert json.loads((work / 'summary.json').read_text()) == summary
    assert list(summary) == ['frozen', 'soma', 'full']
    for row in summary.values():
        assert list(row) == ['dusk', 'day2', 'mean']
        assert row['mean'] == pytest.approx((row['dusk'] + row['day2']) / 2, abs=0.02)
    assert len([*work.glob('*/test/*/report.html')]) == 3
    panel = np.asarray(Image.open(work / 'panel.png'))
    assert panel.shape[1] == 5 * 64 + 4 * 6 and not (work / 'readme.png').exists()
    # The second column is the ground truth, in the places of the eleven classes.
    truth = np.searchsorted(ELEVEN, train_ids('camvid', 'val', 0, (64, 48))).astype(np.uint8)
    meta = metainfo_of(load_config(tiny.configs['soma']).test_dataloader.dataset.datasets[0])
    image = np.asarray(Image.open(data / 'test/0001TP_00000.png'))
    tile = draw_result(image, truth, meta['classes'], np.array(meta['palette']))
    column = panel[:, 64 + 6 :][:, :64]
    assert any(np.array_equal(column[top:][:48], tile) for top in range(len(panel)))
