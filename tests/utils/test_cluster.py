"""Jobs on a cluster: submitit's local ones, and a Slurm that is made up."""

import argparse
import os
import sys
import time
from pathlib import Path

import pytest

from soma.io.files import InputError
from soma.utils.cluster import start_from
from soma.utils.config import REPOSITORY
from soma.utils.jobs import Job, run_jobs, start_here

pytest.importorskip('submitit')


def arguments(cluster, **slurm):
    return argparse.Namespace(cluster=cluster, slurm=slurm)


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Make a job out of Python; each run of it adds its number to the file ``ran``."""
    monkeypatch.chdir(tmp_path)

    def make(code='pass', key='', name='a'):
        code = f'open("ran", "a").write("{name}"); {code}'
        log = tmp_path / name / 'log.txt'
        return Job(name, None, log, [(sys.executable, '-c', code)], key=key)

    return make


def wait(check):
    deadline = time.monotonic() + 120
    while not (result := check()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return result


@pytest.mark.parametrize('cluster', ['debug', 'local'])
def test_jobs_run_as_here(cluster, job, tmp_path, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '5')
    print_all = 'import os; print(os.environ["CUDA_VISIBLE_DEVICES"], os.environ["MINE"])'
    jobs = [job(print_all), job('import sys; sys.exit("because")', name='b')]
    start, used = start_from(arguments(cluster)), {}
    finish = lambda job, usage: str(used.update({job.name: usage}))  # noqa: E731
    failed = run_jobs(jobs, 2, finish, {}, start, env={**os.environ, 'MINE': '1'})
    assert list(failed) == ['b'] and failed['b'].endswith('log.txt:\nbecause')
    assert (tmp_path / 'a/log.txt').read_text() == '5 1\n'
    assert used['a'].seconds > 0 and used['a'].peak_mb > 0  # it may end before it is looked at
    assert not [*tmp_path.glob('*/*.queue')]


def test_what_an_earlier_start_has_given_away_is_found(job, tmp_path):
    go = tmp_path / 'go'
    waiting = f'import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)'
    start_from(arguments('local'))(job(waiting), {})  # and dies
    wait((tmp_path / 'ran').exists)
    again = start_from(arguments('local'))(job(waiting), {})
    assert again.poll() is None
    for other in (start_here, start_from(arguments('debug'))):
        with pytest.raises(ValueError, match='a cluster has a, '):
            other(job(waiting), {})
    with pytest.raises(ValueError, match='perhaps with other settings'):
        start_from(arguments('local'))(job(waiting, key='other'), {})
    go.touch()
    wait(lambda: again.poll() is not None)
    assert again.poll() == 0 and (tmp_path / 'ran').read_text() == 'a'


def test_what_is_done_is_found_and_what_has_failed_starts_again(job, tmp_path):
    start = start_from(arguments('local'))
    jobs = [job(), job('raise SystemExit(1)', name='b'), job(name='c')]
    for each in jobs:
        start(each, {})
    wait(lambda: len([*tmp_path.glob('*/*.queue/*_result.pkl')]) == 3)
    again = [start_from(arguments('local'))(each, {}) for each in jobs[:2]]
    again.append(start_from(arguments('local'))(job(key='other', name='c'), {}))
    assert again[0].poll() == 0 and again[0].seconds > 0
    wait(lambda: all(each.poll() is not None for each in again))
    assert sorted((tmp_path / 'ran').read_text()) == [*'abbcc']


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """How jobs start on a Slurm that is made up, and its folder."""
    folder = tmp_path / 'slurm'
    folder.mkdir()
    fakes = REPOSITORY / 'tests/subprocesses/slurm'
    monkeypatch.setenv('PATH', f'{fakes}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.setenv('FAKE_SLURM', str(folder))
    monkeypatch.setenv('PYTHON', sys.executable)
    return start_from(arguments('slurm', time=60, partition='gpu', mem='8GB')), folder


def test_a_job_whose_time_is_over_saves_and_is_requeued(job, slurm, tmp_path):
    start, folder = slurm
    code = (
        'import os, signal, time\n'
        'if os.path.exists("saved"): raise SystemExit(0)\n'
        'def save(*_): open("saved", "w").close(); os._exit(0)\n'
        'signal.signal(signal.SIGUSR1, save)\n'
        'os.kill(os.getppid(), signal.SIGUSR2)  # to submitit, as Slurm does\n'
        'time.sleep(60); raise SystemExit(1)'
    )
    submitted = start(job(code), {})
    script = (folder / 'script').read_text()
    for line in ('partition=gpu', 'time=60', 'mem=8GB', 'signal=USR2@90'):
        assert f'#SBATCH --{line}\n' in script
    wait(lambda: submitted.poll() is not None)
    assert submitted.poll() == 0, submitted.job.log.read_text()
    assert Path('saved').exists() and Path('ran').read_text() == 'aa'


def test_a_job_that_the_cluster_ends_says_so(job, slurm):
    start, folder = slurm
    code = 'import os, signal; os.kill(os.getppid(), signal.SIGKILL)'
    submitted = start(job(code), {})
    wait((folder / 'status').exists)
    submitted._handle._results_timeout_s = 0.1  # for files that come late
    wait(lambda: submitted.poll() is not None)
    assert submitted.poll() == 1 and 'OUT_OF_MEMORY' in submitted.job.log.read_text()


@pytest.mark.parametrize(
    ('cluster', 'parameters', 'message'),
    [
        ('slurm', dict(partition='gpu'), 'needs time=MINUTES'),
        ('slurm', dict(time='4:00:00'), "got '4:00:00'"),
        ('slurm', dict(time=5, nodes=2), 'nodes: a run is one process'),
        ('slurm', dict(time=5, gpu=2), "Unknown argument 'gpu'"),
        ('local', dict(time=5), '--slurm is for --cluster slurm'),
        (None, dict(time=5), '--slurm is for --cluster slurm'),
    ],
)
def test_wrong_parameters_are_refused(cluster, parameters, message, slurm):
    with pytest.raises(InputError, match=message):
        start_from(arguments(cluster, **parameters))


def test_without_a_cluster_they_start_here():
    assert start_from(arguments(None)) is start_here
    with pytest.raises(InputError, match='srun'):
        start_from(arguments('slurm', time=5))
