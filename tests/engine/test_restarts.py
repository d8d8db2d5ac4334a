"""Trainings that a launcher starts again: torchrun after a death, Slurm when its time is over."""

import os
import sys
import time
from pathlib import Path

import pytest
import torch

from soma.io.checkpoint_files import read_checkpoint
from soma.utils.config import REPOSITORY

FAKES = REPOSITORY / 'tests/subprocesses/slurm'

# In the place of Python: notes its arguments; the first time it is told to stop, and does.
PYTHON = """#!/usr/bin/env bash
printf '%s\\n' "$@" >>"$FAKE_SLURM/python"
[ -e "$FAKE_SLURM/once" ] && exit 0
touch "$FAKE_SLURM/once"
[ -e "$FAKE_SLURM/batch" ] || exit 0
trap 'exit 0' USR1
kill -USR1 "$(cat "$FAKE_SLURM/batch")"
while :; do sleep 0.05; done
"""
# Comes from PYTHONPATH, by the config's custom_imports; after iteration 7, once.
HOOKS = """
import os
import signal
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

class OnceHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        mark = Path(runner.work_dir, 'mark')
        if runner.iter == 7 and runner.rank == 1 and not mark.exists():
            mark.touch()
            self.act()

@HOOKS.register_module()
class DieHook(OnceHook):
    def act(self):
        os.kill(os.getpid(), signal.SIGKILL)

@HOOKS.register_module()
class TimeHook(OnceHook):
    def act(self):
        os.kill(int(Path(os.environ['FAKE_SLURM'], 'batch').read_text()), signal.SIGUSR1)
"""


@pytest.fixture
def slurm(tmp_path):
    """The environment of a Slurm that is made up, and what its commands have noted."""
    (tmp_path / 'slurm').mkdir()
    (tmp_path / 'python').write_text(PYTHON)
    (tmp_path / 'python').chmod(0o755)
    path = f'{FAKES}{os.pathsep}{os.environ["PATH"]}'
    environment = dict(
        FAKE_SLURM=str(tmp_path / 'slurm'), PATH=path, PYTHON=str(tmp_path / 'python')
    )
    return environment, lambda name: (tmp_path / 'slurm' / name).read_text().splitlines()


def wait_for(file):
    deadline = time.monotonic() + 900
    while not file.exists() or not file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tensors_of(checkpoint):
    """The weights, and what the optimizer has gathered."""
    gathered = checkpoint['optimizer']['state'].items()
    state = {f'{place}.{key}': v for place, values in gathered for key, v in values.items()}
    return {**checkpoint['state_dict'], **state}


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh'])
def test_scripts_give_all_to_srun(script, run_tool, slurm):
    environment, noted = slurm
    files = ['a b.py', 'c.pth'] if script == 'slurm_test.sh' else ['a b.py']
    numbers = dict(GPUS='16', GPUS_PER_NODE='8', CPUS_PER_TASK='3')
    arguments = dict(SRUN_ARGS='--qos=* --time=5', PY_ARGS='--amp')
    options = ['--work-dir', 'd e']
    run_tool(script, 'p q', 'my job', *files, *options, **environment, **numbers, **arguments)
    own = ['--partition=p q', '--job-name=my job', '--gres=gpu:8', '--ntasks=16']
    own += ['--ntasks-per-node=8', '--cpus-per-task=3', '--kill-on-bad-exit=1', '--qos=*']
    place = noted('srun').index(environment['PYTHON'])
    assert {*noted('srun')[:place]} == {*own, '--time=5'}
    unbuffered, file, *rest = noted('python')
    assert (unbuffered, Path(file)) == ('-u', REPOSITORY / 'tools' / f'{script[6:-3]}.py')
    assert rest == [*files, *options, '--amp', '--launcher', 'slurm']


def test_a_job_whose_time_is_over_is_requeued_and_goes_on(run_tool, slurm, tmp_path):
    environment, noted = slurm
    arguments = ['part', 'job', 'a b.py']
    run_tool('slurm_train.sh', *arguments, SUBMIT='1', GPUS='2', SIGNAL_SECONDS='90', **environment)
    wait_for(tmp_path / 'slurm/status')
    assert {'--requeue', '--signal=B:USR1@90', '--ntasks=2', '--gres=gpu:2'} <= {*noted('sbatch')}
    once = [noted('python')[1], 'a b.py', '--launcher', 'slurm', '--resume']
    assert noted('python') == ['-u', *once] * 2 and noted('status') == ['0']


def test_a_job_that_is_not_asked_to_stop_ends_as_its_script(run_tool, slurm, tmp_path):
    environment, noted = slurm
    (tmp_path / 'python').write_text('#!/bin/sh\nexit 3\n')
    run_tool('slurm_test.sh', 'part', 'job', 'a.py', 'b.pth', SUBMIT='1', **environment)
    wait_for(tmp_path / 'slurm/status')
    assert noted('status') == ['3'] and '--requeue' not in noted('sbatch')


@pytest.mark.parametrize(
    ('command', 'environment', 'message'),
    [
        (['slurm_train.sh', 'part', 'job'], {}, 'usage: '),
        (['slurm_test.sh', 'part', 'job', 'a.py'], {}, 'usage: '),
        (['slurm_train.sh', 'part', 'job', 'a.py'], dict(GPUS='x'), 'GPUS.* whole numbers'),
        (['dist_train.sh', 'a.py', '2', '--amp'], dict(MAX_RESTARTS='1'), 'needs --resume'),
        (
            ['dist_train.sh', 'a.py', '2', '--resume'],
            dict(MAX_RESTARTS='1', NNODES='2'),
            'one node',
        ),
    ],
)
def test_wrong_use_is_one_line(command, environment, message, run_tool):
    with pytest.raises(AssertionError, match=rf'\A[^\n]*{message}[^\n]*\n'):
        run_tool(*command, **environment)


@pytest.mark.slow
def test_two_processes_end_as_if_nothing_had_happened(
    tiny_config, run_tools, run_tool, slurm, port, tmp_path, monkeypatch
):
    """One dies and torchrun starts both again; Slurm's time is over and it starts both again."""
    (tmp_path / 'once.py').write_text(HOOKS)
    tiny_config.custom_imports = dict(imports=['soma', 'once'])
    tiny_config.default_hooks.checkpoint.update(type='AdapterCheckpointHook', interval=6)
    tiny_config.train_cfg.update(max_iters=12, val_interval=12)

    def write(name, *hooks):
        config = tiny_config.copy()
        config.work_dir = str(tmp_path / name)
        config.custom_hooks = [*config.custom_hooks, *(dict(type=hook) for hook in hooks)]
        config.dump(tmp_path / f'{name}.py')
        return tmp_path / f'{name}.py'

    folders = f'{tmp_path}:{REPOSITORY}:{os.environ["PYTHONPATH"]}'
    python = dict(PYTHON=sys.executable, PYTHONPATH=folders)
    whole, killed = write('whole'), write('killed', 'DieHook')
    commands = [['train.py', file, '--resume'] for file in (whole, killed)]
    run_tools(*commands, processes=2, MAX_RESTARTS='1', PORT=port, **python)

    environment, noted = slurm
    environment.update(python)
    environment.update(GPUS='2', FAKE_NTASKS='2', SUBMIT='1', PORT=port)
    run_tool('slurm_train.sh', 'part', 'job', write('timed', 'TimeHook'), **environment)
    wait_for(tmp_path / 'slurm/status')
    assert noted('status') == ['0'], noted('log')
    assert 'stopped as asked after iteration 10' in '\n'.join(noted('log'))

    states = [read_checkpoint(tmp_path / n / 'iter_12.pth') for n in ('whole', 'killed', 'timed')]
    for name in ('killed', 'timed'):
        assert (tmp_path / name / 'mark').exists()
    whole, *others = map(tensors_of, states)
    for other in others:
        assert other.keys() == whole.keys()
        assert [name for name, value in whole.items() if not torch.equal(value, other[name])] == []
