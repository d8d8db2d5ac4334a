import os
import signal
import subprocess
import sys
import time

import pytest

from soma.utils import jobs
from soma.utils.jobs import Job, run_jobs, seconds_left


@pytest.fixture
def job(tmp_path):
    """Make a job out of pieces of Python."""

    def make(name, *codes, needs=()):
        commands = [(sys.executable, '-c', code) for code in codes]
        return Job(name, name[0], tmp_path / name / 'log.txt', commands, needs)

    return make


def test_commands_run_in_order_after_those_that_they_need(job, tmp_path):
    def note(text):
        return f'print({text!r}); open("order", "a").write({text!r})'

    jobs = [job('a', note('1'), note('2')), job('b', note('3'), needs=['a'])]
    used = {}
    failed = run_jobs(
        jobs, 2, lambda job, usage: str(used.update({job.name: usage})), {}, cwd=tmp_path
    )
    assert failed == {} and list(used) == ['a', 'b']
    assert (tmp_path / 'order').read_text() == '123'
    assert (tmp_path / 'a/log.txt').read_text() == '1\n2\n'


def test_usage_is_that_of_the_largest_command(job):
    large = 'import time; x = bytearray(200_000_000); time.sleep(1)'
    used = {}
    run_jobs(
        [job('a', large, 'pass'), job('b', 'import time; time.sleep(1)')],
        2,
        lambda j, u: str(used.update({j.name: u})),
        {},
    )
    assert used['a'].peak_mb - used['b'].peak_mb > 150 and used['a'].seconds > 0


def test_as_many_at_a_time_as_there_are_workers(job, tmp_path):
    # Each waits until it sees the other, which never comes with one worker.
    meet = (
        'import os, sys, time\n'
        'open(sys.argv[0] + str(os.getpid()), "w").close()\n'
        'for _ in range(100):\n'
        '    if len(os.listdir()) > 1: sys.exit(0)\n'
        '    time.sleep(0.1)\n'
        'sys.exit(1)'
    )
    folder = tmp_path / 'meeting'
    folder.mkdir()
    assert run_jobs([job('a', meet), job('b', meet)], 2, lambda *_: '', {}, cwd=folder) == {}


def test_others_go_on_after_a_failure(job):
    jobs = [
        job('bad', 'import sys; print("because"); sys.exit(3)', 'open("never", "w")'),
        job('after', 'pass', needs=['bad']),
        job('good', 'pass'),
        job('odd', 'pass'),
    ]
    done = []

    def finish(job, usage):
        if job.name == 'odd':
            raise ValueError('nothing there')
        done.append(job.name)
        return ''

    failed = run_jobs(jobs, 1, finish, {})
    assert done == ['good'] and list(failed) == ['bad', 'after', 'odd']
    assert 'exit status 3' in failed['bad'] and failed['bad'].endswith('because')
    assert failed['after'] == 'it needs bad, which failed'
    assert failed['odd'].startswith('ValueError: nothing there')
    assert not os.path.exists('never')


def test_interrupting_ends_the_commands_and_their_children(tmp_path):
    child = 'import os, time; open(f"pid{os.getpid()}", "w").close(); time.sleep(60)'
    parent = f'import subprocess, sys; subprocess.run([sys.executable, "-c", {child!r}])'
    code = (
        'import sys, pathlib, runpy\n'
        f'jobs = runpy.run_path({jobs.__file__!r}, run_name="__main__")  # not all of soma\n'
        f'job = jobs["Job"]("a", "a", pathlib.Path("log"), [(sys.executable, "-c", {parent!r})])\n'
        'jobs["run_jobs"]([job], 1, print, {})\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (result := list(tmp_path.glob('pid*'))):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60)
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # until the system has noticed
            os.kill(int(result[0].name[3:]), 0)
            time.sleep(0.1)


def test_estimate_learns_from_what_is_done():
    assert seconds_left(['x', 'y'], [], {}, 2) is None
    known = {'x': [10.0, 30.0], 'y': [40.0]}
    assert seconds_left(['x', 'y', 'y'], [], known, 2) == (20 + 40 + 40) / 2
    assert seconds_left(['new'], [], known, 1) == 30  # the mean of the kinds
    assert seconds_left([], [('y', 15.0), ('x', 25.0)], known, 4) == 25  # the longest
    assert seconds_left([None, 'x'], [(None, 5.0)], known, 1) == 20
