"""The study itself: small runs in this process, in the place of side by side in others."""

import json
import runpy
import sys

import pytest
import torch

from soma.checkpoints import convert_dinov2_file
from soma.datasets.prepare.convert import convert_dataset
from soma.datasets.toy import write_toy_streets
from soma.datasets.toy.foundation import pretrain_toy
from soma.io.checkpoint_files import read_state_dict, write_checkpoint
from soma.study import Study, run_study
from soma.study import run as package
from soma.study.jobs import Usage
from soma.utils.config import REPOSITORY

SMALL = """
train_dataloader.update(batch_size=1)
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Toy streets and a toy foundation model, as the preparation makes them, but smaller."""
    root = tmp_path_factory.mktemp('toy')
    write_toy_streets(root, 3, (96, 48), val_images=1, sources=['gta'])
    for name in ('gta', 'cityscapes', 'mapillary'):
        convert_dataset(name, root / name)
    public, converted = (root / 'checkpoints' / f'dinov2_toy{n}.pth' for n in ('14', '_converted'))
    write_checkpoint(pretrain_toy(images=2, steps=2, batch=2), public)
    convert_dinov2_file(public, converted, (256, 256), 16)
    return str(root)


@pytest.fixture
def ran(monkeypatch):
    """Names of the jobs that ran; each command runs in this process."""
    names = []
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **options: (text, True))
    monkeypatch.setattr(Study, 'preparation', lambda self, jobs: [])
    text = Study.config_text
    monkeypatch.setattr(Study, 'config_text', lambda self, run: text(self, run) + SMALL)
    monkeypatch.setenv('LOCAL_RANK', '0')

    def run_jobs(jobs, workers, finish, durations, **options):
        for job in jobs:
            assert set(job.needs) <= set(names)
            names.append(job.name)
            for _, script, *arguments in job.commands:
                monkeypatch.setattr(sys, 'argv', [script, *arguments])
                runpy.run_path(script, run_name='__main__')
            finish(job, Usage(20.0, 500.0))
        return {}

    monkeypatch.setattr(package, 'run_jobs', run_jobs)
    return names


def test_study_runs_resumes_and_reports(data, ran, tmp_path, monkeypatch):
    monkeypatch.setattr('soma.study.plan.REVT', ('last2', 'full'))
    options = dict(sources=('gta',), seeds=(0,), iterations=14, images=2, held_out=1, data=data)
    study = Study(tmp_path, methods=('revt', 'soma', 'last2'), **options)
    assert run_study(study, 1) == {}
    assert ran == [f'gta/{method}/seed0' for method in ('last2', 'full', 'revt', 'soma')]
    table = (tmp_path / 'accuracy.md').read_text()
    assert '| revt |' in table and '| full |' not in table
    last, full, revt, soma = (json.loads(study.result_file(run).read_text()) for run in study.runs)
    blocks = 2 * 50112  # parameters of two blocks
    assert (soma['trained']['backbone'], last['trained']['backbone']) == (39168, blocks)
    assert soma['shared_bytes']['backbone'] == 4 * (39168 + 36864)  # A, B, biases; A0, B0
    assert last['shared_bytes']['backbone'] == 4 * blocks
    assert min(each['drift']['change'] for each in (last, full, revt, soma)) > 0
    assert len(soma['mIoU']) == 9 and soma['cost']['train_seconds'] > 0
    seconds = [result['cost']['train_seconds'] for result in (last, full, revt)]
    assert seconds[2] == pytest.approx(seconds[0] + seconds[1])

    # The average has the backbone of both and the head of the first.
    first, second, mean = (read_state_dict(study.checkpoint(run)) for run in study.runs[:3])
    for name, value in mean.items():
        both = name.startswith('backbone')
        wanted = (first[name] + second[name]) / 2 if both else first[name]
        assert torch.allclose(value, wanted, atol=1e-7), name

    # One was killed in the middle, one ran with other settings, the others are done.
    _, _, killed, changed = study.runs
    study.result_file(killed).unlink()
    (study.folder(killed) / 'work' / 'rubbish').touch()
    study.result_file(changed).write_text(json.dumps({**soma, 'settings': 'other'}))
    ran.clear()
    run_study(study, 1)
    assert ran == ['gta/revt/seed0', 'gta/soma/seed0']
    assert not (study.folder(killed) / 'work' / 'rubbish').exists()
    assert (tmp_path / 'accuracy.md').read_text() == table
    again = json.loads(study.result_file(changed).read_text())
    assert {**again, 'cost': None} == {**soma, 'cost': None}


def test_script_says_what_failed(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(package, 'run_jobs', lambda jobs, *_, **__: {jobs[-1].name: 'no disk'})
    monkeypatch.setattr('signal.signal', lambda *_: None)
    options = ['--methods', 'soma', '--sources', 'gta', '--seeds', '7', '--work-dir', tmp_path]
    script = str(REPOSITORY / 'tools' / 'study.py')
    monkeypatch.setattr(
        sys, 'argv', [script, *map(str, options), '--report', str(tmp_path / 'x.md')]
    )
    with pytest.raises(SystemExit, match='1'):
        runpy.run_path(script, run_name='__main__')
    out = capsys.readouterr().out
    assert '0 of 1 runs are done' in out and 'gta/soma/seed7 failed: no disk' in out
    assert (tmp_path / 'gta/soma/seed7/config.py').exists() and not (tmp_path / 'x.md').exists()
