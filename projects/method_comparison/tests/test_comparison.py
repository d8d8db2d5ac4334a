"""A small comparison in this process, in the place of side by side in others."""

import json
import runpy
import sys
from argparse import Namespace

import pytest
import torch

from method_comparison import read_results, run_comparison, write_report
from method_comparison import run as package
from soma.io.checkpoint_files import read_state_dict
from soma.utils.cluster import start_from
from soma.utils.config import REPOSITORY
from soma.utils.jobs import Usage


@pytest.fixture
def ran(monkeypatch):
    """Names of the jobs that ran; each command runs in this process."""
    names = []
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **options: (text, True))
    monkeypatch.setenv('LOCAL_RANK', '0')

    def run_jobs(jobs, workers, finish, durations, start, **options):
        for job in jobs:
            assert set(job.needs) <= set(names)
            job.clear()
            names.append(job.name)
            for _, script, *arguments in job.commands:
                monkeypatch.setattr(sys, 'argv', [script, *arguments])
                runpy.run_path(script, run_name='__main__')
            finish(job, Usage(20.0, 500.0))
        return {}

    monkeypatch.setattr(package, 'run_jobs', run_jobs)
    return names


@pytest.mark.slow
def test_comparison_runs_resumes_and_reports(compare, ran, tmp_path):
    comparison = compare(('mean', 'soma', 'last2'))
    assert run_comparison(comparison, 1) == {}
    assert ran == [f'gta/{method}/seed0' for method in ('last2', 'full', 'mean', 'soma')]
    write_report(comparison, read_results(comparison))
    table = comparison.document.read_text().split('## Costs')[0]
    assert '| mean |' in table and '| full |' not in table
    last, full, mean, soma = (
        json.loads(comparison.result_file(run).read_text()) for run in comparison.runs
    )
    blocks = 2 * 3312  # parameters of two blocks
    assert (soma['trained']['backbone'], last['trained']['backbone']) == (1440, blocks)
    assert soma['shared_bytes']['backbone'] == 4 * (1440 + 1152)  # A, B, biases; A0, B0
    assert last['shared_bytes']['backbone'] == 4 * blocks
    assert min(result['drift']['change'] for result in (last, full, mean, soma)) > 0
    assert list(soma['mIoU']) == ['source', 'unseen', 'citys', 'fog']
    assert soma['cost']['train_seconds'] > 0
    seconds = [result['cost']['train_seconds'] for result in (last, full, mean)]
    assert seconds[2] == pytest.approx(seconds[0] + seconds[1])

    # The average has the backbone of both and the head of the first.
    first, second, average = (
        read_state_dict(comparison.checkpoint(run)) for run in comparison.runs[:3]
    )
    for name, value in average.items():
        in_backbone = name.startswith('backbone')
        expected = (first[name] + second[name]) / 2 if in_backbone else first[name]
        assert torch.allclose(value, expected, atol=1e-7), name

    # One was killed in the middle, one ran with other settings, the others are done.
    _, _, killed, changed = comparison.runs
    comparison.result_file(killed).unlink()
    (comparison.folder(killed) / 'work' / 'rubbish').touch()
    comparison.result_file(changed).write_text(json.dumps({**soma, 'settings': 'other'}))
    ran.clear()
    run_comparison(comparison, 1)
    assert ran == ['gta/mean/seed0', 'gta/soma/seed0']
    assert not (comparison.folder(killed) / 'work' / 'rubbish').exists()
    write_report(comparison, read_results(comparison))
    assert comparison.document.read_text().split('## Costs')[0] == table
    again = json.loads(comparison.result_file(changed).read_text())
    assert {**again, 'cost': None} == {**soma, 'cost': None}


@pytest.mark.slow
def test_a_run_that_an_earlier_start_has_given_to_a_cluster_is_found(compare, monkeypatch):
    pytest.importorskip('submitit')
    arguments = Namespace(cluster='local', slurm=None)
    comparison = compare(('soma',))
    (run,) = comparison.runs

    class Died(Exception):
        """The process that submits."""

    def run_jobs(jobs, workers, finish, durations, start, **options):
        for job in jobs:
            start(job, options)
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(package, 'run_jobs', run_jobs)
        run_comparison(comparison, 1, start_from(arguments))
    assert not comparison.result_file(run).exists()
    assert run_comparison(comparison, 1, start_from(arguments)) == {}
    assert json.loads(comparison.result_file(run).read_text())['cost']['train_seconds'] > 0
    trainings = [path for path in (comparison.folder(run) / 'work').iterdir() if path.is_dir()]
    assert len(trainings) == 1


def test_script_says_what_failed(monkeypatch, capsys, tmp_path, recipe_file):
    monkeypatch.setattr(package, 'run_jobs', lambda jobs, *_, **__: {jobs[-1].name: 'no disk'})
    monkeypatch.setattr('signal.signal', lambda *_: None)
    threads = torch.get_num_threads()
    work = tmp_path / 'work'
    options = ['--methods', 'soma', '--sources', 'gta', '--seeds', '7', '--work-dir', work]
    script = str(REPOSITORY / 'projects/method_comparison/compare.py')
    monkeypatch.setattr(
        sys, 'argv', [script, *map(str, [recipe_file, *options, '--report', tmp_path / 'x.md'])]
    )
    with pytest.raises(SystemExit, match='1'):
        runpy.run_path(script, run_name='__main__')
    torch.set_num_threads(threads)
    out = capsys.readouterr().out
    assert '0 of 1 runs are done' in out and 'gta/soma/seed7 failed: no disk' in out
    assert (work / 'gta/soma/seed7/config.py').exists() and not (tmp_path / 'x.md').exists()
