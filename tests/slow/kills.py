"""Kill trainings at every boundary of saving and validating, or at random; resume them; compare.

Usage: ``python kills.py FOLDER CASE:PROCESSES:KILLS ...`` with ``FOLDER/CASE.py`` a config and
KILLS ``all``, every n-th boundary as ``/n``, or a number of kills at random in one training. Prints
a line for each kill, and ``differs`` with the reason if the resumed training does not end as one
that was never killed. With ``stop`` it is stopped by SIGUSR1 instead, twice. Trainings are forked,
since imports would take most of their time; hence one thread.
"""

import gc
import json
import os
import random
import re
import shutil
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

import mmengine.runner.runner
import torch
import yapf.yapflib.yapf_api
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS

import soma
from soma.engine.hooks.stop import StopHook
from soma.engine.runner import SomaRunner
from soma.evaluation import domain_metric, report_hook
from soma.io.checkpoint_files import read_checkpoint
from soma.io.files import atomic_path

MOMENTS = (
    'before_train',
    'before_val_epoch',
    'after_val_iter',
    'after_val_epoch',
    'before_train_iter',
    'after_train',
    'after_run',
)


def watch(reach):
    """Call a function before all that changes files, and at each moment of the hooks."""

    def watched(function, name):
        def call(*args, **kwargs):
            if name is None:
                if args[1] in MOMENTS:
                    reach(args[1])
            elif os.path.exists(args[0]):
                reach(f'before {name} ' + re.sub(r'\.\d+(?=\.|$)', '', Path(args[-1]).name))
            return function(*args, **kwargs)

        return call

    for name in ('replace', 'unlink'):
        setattr(os, name, watched(getattr(os, name), name))
    SomaRunner.call_hook = watched(SomaRunner.call_hook, None)


def train(path, work_dir, processes=1, place=None, record=None, stop=None):
    """Train a config in forked processes, killed at a place if one is given; whether it ended.

    Args:
        path: The config.
        work_dir: Its folder.
        processes: Their number.
        place: Number of the boundary at which all of them are killed.
        record: File for the names of the boundaries.
        stop: Iteration in which the last process gets SIGUSR1.
    """
    children = start(path, work_dir, processes, place, record, stop)
    ends = set()
    while children:
        child, status = os.wait()
        children.remove(child)
        ends.add(status)
        for other in children if status else ():
            os.kill(other, signal.SIGKILL)
    if signal.SIGKILL not in ends if place is not None else ends != {0}:
        output = work_dir.with_suffix('.txt').read_text()[-3000:]
        sys.exit(f'{path} at {place}: {ends}\n{output}')


def start(path, work_dir, processes=1, place=None, record=None, stop=None):
    """Fork the processes of a training; their numbers."""
    work_dir.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    children = set()
    for rank in range(processes):
        child = os.fork()
        if not child:
            ranks = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=processes)
            os.environ.update({name: str(value) for name, value in ranks.items()})
            os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
            run(path, work_dir, processes, place if rank == 0 else None, record, stop)
        children.add(child)
    return children


def run(path, work_dir, processes, place, record, stop):
    """Train in this process, which ends here."""
    code = 1
    with open(work_dir.with_suffix('.txt'), 'a') as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    names = []

    def reach(name):
        if len(names) == place:
            os.kill(os.getpid(), signal.SIGKILL)
        names.append(name)

    try:
        config = Config.fromfile(path)
        config.work_dir = str(work_dir)
        config.experiment_name = f'attempt_{os.getpid()}'
        config.launcher = 'pytorch' if processes > 1 else 'none'
        runner = RUNNERS.build(config)
        if os.environ['RANK'] == '0' and (record or place is not None):
            watch(reach)
        with StopHook('the command') as hook:
            runner.register_hook(hook)
            if stop is not None and os.environ['RANK'] == str(processes - 1):
                runner.register_hook(Signal(stop))
            runner.train()
        if record and os.environ['RANK'] == '0':
            record.write_text('\n'.join(names))
        code = 0
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


class Signal(Hook):
    """Send SIGUSR1 to this process in an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            os.kill(os.getpid(), signal.SIGUSR1)


def result(folder):
    """All that a training has left: names of files, what they hold, scores and reports."""
    logs = [path for path in folder.iterdir() if path.is_dir()]
    names = {path.name for path in folder.iterdir() if path not in logs and path.suffix != '.py'}
    left = {'names': sorted(re.sub(r'-\w{8}', '-', name) for name in names)}
    left['hidden'] = [path.name for path in folder.rglob('.*')]
    for file in folder.glob('*.pth'):
        content = read_checkpoint(file)
        if hub := content.get('message_hub'):
            for name in ('cfg', 'experiment_name', 'iter', 'epoch', 'loop_stage', 'eta'):
                hub['runtime_info'].pop(name, None)
            for name in [name for name in hub['log_scalars'] if 'time' in name]:
                del hub['log_scalars'][name]
        content['meta'] = {name: content['meta'][name] for name in ('epoch', 'iter', 'seed')}
        left[re.sub(r'-\w{8}', '-', file.name)] = content
    pointer = folder / 'last_checkpoint'
    left['pointer'] = pointer.read_text() if pointer.exists() else None
    for file in sorted(folder.glob('*/domains_*.json')):
        left.setdefault(file.name, json.loads(file.read_text()))
        assert left[file.name] == json.loads(file.read_text()), f'two reports {file.name}'
    for file in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in map(json.loads, file.read_text().splitlines()):
            if any('mIoU' in name for name in line):
                line = {n: v for n, v in line.items() if 'time' not in n}
                place = f'scores at {line["step"]}'
                assert left.setdefault(place, line) == line, f'two {place}'
    return left


def difference(actual, expected, folders, where=''):
    """Where two results differ, or None; the folders in paths do not count."""
    if type(actual) is not type(expected):
        return f'{where}: {actual} is not {expected}'
    if isinstance(actual, dict):
        if actual.keys() != expected.keys():
            return f'{where}: {sorted(actual)} is not {sorted(expected)}'
        pairs = [(key, actual[key], expected[key]) for key in actual]
    elif isinstance(actual, list | tuple):
        if len(actual) != len(expected):
            return f'{where}: {actual} is not {expected}'
        pairs = zip(range(len(actual)), actual, expected, strict=True)
    else:
        if isinstance(actual, str):
            actual = actual.replace(*folders)
        same = torch.equal(actual, expected) if torch.is_tensor(actual) else actual == expected
        return None if same else f'{where}: {actual} is not {expected}'
    wrong = (difference(a, e, folders, f'{where} {place}') for place, a, e in pairs)
    return next(filter(None, wrong), None)


def compare(folder, whole, expected, label):
    """Print whether a training has ended as the whole one has; remove it if so."""
    wrong = difference(result(folder), expected, (str(folder), str(whole)))
    print(f'{folder.name}: {label}' + (f', differs: {wrong}' if wrong else ''), flush=True)
    if not wrong:
        shutil.rmtree(folder)


def kill_at_boundaries(path, processes, every):
    """Kill a training at one boundary after the other, each time a new one."""
    whole = path.with_name(f'{path.stem}_{processes}_whole')
    names = whole.with_suffix('.boundaries')
    train(path, whole, processes, record=names)
    expected = result(whole)
    boundaries = names.read_text().splitlines()
    for place in range(0, len(boundaries), every):
        folder = path.with_name(f'{path.stem}_{processes}_{place}')
        train(path, folder, processes, place)
        train(path, folder, processes)
        compare(folder, whole, expected, f'killed {boundaries[place]}')


def stop_twice(path, processes):
    """Stop a training after one iteration and after three."""
    whole = path.with_name(f'{path.stem}_{processes}_whole')
    folder = path.with_name(f'{path.stem}_{processes}_stopped')
    for iteration in (1, 3):
        train(path, folder, processes, stop=iteration - 1)
        files = ' '.join(sorted(file.name for file in folder.glob('iter_*')))
        print(f'{folder.name}: {files}', flush=True)
    train(path, folder, processes)
    compare(folder, whole, result(whole), 'resumed')


def kill_at_random(path, kills):
    """Kill a training at random, half of the times in the middle of writing a checkpoint."""
    whole = path.with_name(f'{path.stem}_whole')
    train(path, whole)
    folder = path.with_name(f'{path.stem}_random')
    dice = random.Random(0)
    for attempt in range(kills):
        (child,) = start(path, folder)
        moment, limit = time.time() + dice.uniform(0, 1), newest(folder) + 10
        # half of them at any moment, half while they write a checkpoint; none comes to the end
        while newest(folder) < limit and not (
            saving(folder, child) if attempt % 2 else time.time() > moment
        ):
            if os.waitpid(child, os.WNOHANG) != (0, 0):
                sys.exit(f'attempt {attempt} of {path} ended by itself')
            time.sleep(0.0002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        left = [file.name for file in folder.glob('.*.pth')]
        print(
            f'{path.stem}: killed at iteration {newest(folder)}, half written: {left}', flush=True
        )
    train(path, folder)
    compare(folder, whole, result(whole), 'resumed')


def saving(folder, child):
    """Whether a child is in the middle of writing a checkpoint; it is stopped if so."""
    if not any(folder.glob(f'.*.{child}.pth')):
        return False
    os.kill(child, signal.SIGSTOP)
    if any(folder.glob(f'.*.{child}.pth')):
        return True
    os.kill(child, signal.SIGCONT)  # just too late
    return False


def newest(folder):
    """The last iteration that was saved."""
    return max((int(file.stem[5:]) for file in folder.glob('iter_*.pth')), default=0)


def save_chart(path, report):
    """Write a file where the chart would be."""
    with atomic_path(path) as temporary:
        temporary.touch()


if __name__ == '__main__':
    torch.set_num_threads(1)
    gc.freeze()  # so that the children do not copy what is there
    # What takes most of a short run: layout of configs and tables, git, the disk, charts.
    yapf.yapflib.yapf_api.FormatCode = lambda text, **options: (text, True)
    mmengine.runner.runner.get_git_hash = str
    domain_metric.as_text = str
    os.fsync = id
    soma.engine.hooks.stop._EVERY = 1
    report_hook.save_chart = save_chart
    for argument in sys.argv[2:]:
        case, processes, kills = argument.split(':')
        path = Path(sys.argv[1], f'{case}.py')
        if kills == 'stop':
            stop_twice(path, int(processes))
        elif kills == 'all' or kills[0] == '/':
            kill_at_boundaries(path, int(processes), int(kills[1:]) if kills[0] == '/' else 1)
        else:
            kill_at_random(path, int(kills))
