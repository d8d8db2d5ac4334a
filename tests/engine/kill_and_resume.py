"""Train configs in child processes that are killed at random moments; then to their end.

Usage: ``python kill_and_resume.py CONFIG:KILLS ...``. Prints a line for each that was killed. The
children are forked, since imports would take most of their time; hence one thread.
"""

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
import yapf.yapflib.yapf_api
from mmengine.config import Config
from mmengine.registry import RUNNERS

import soma  # noqa: F401


def train(config, log):
    """Train in a child process; its number."""
    child = os.fork()
    if child:
        return child
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    code = 1
    try:
        config.experiment_name = f'attempt_{os.getpid()}'
        RUNNERS.build(config).train()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


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


def kill_and_resume(path, kills):
    """Train a config, killed some times, to its end."""
    config = Config.fromfile(path)
    folder = Path(config.work_dir)
    folder.mkdir()
    dice = random.Random(0)
    with open(folder / 'output.txt', 'w') as log:
        for attempt in range(kills):
            child = train(config, log)
            moment, limit = time.time() + dice.uniform(0, 0.5), newest(folder) + 10
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
            print(f'{path} killed at iteration {newest(folder)}, half written: {left}', flush=True)
        _, status = os.waitpid(train(config, log), 0)
    if status:
        sys.exit(f'{path} failed')


if __name__ == '__main__':
    torch.set_num_threads(1)
    # The layout of logged configs takes most of a short run.
    yapf.yapflib.yapf_api.FormatCode = lambda text, **options: (text, True)
    for pair in sys.argv[1:]:
        path, _, kills = pair.rpartition(':')
        kill_and_resume(path, int(kills))
