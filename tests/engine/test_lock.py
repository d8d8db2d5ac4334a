"""One training at a time writes to a work dir."""

import errno
import fcntl
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from soma.engine.lock import is_locked, locked
from soma.io.files import InputError


@pytest.fixture
def other(tmp_path):
    """Lock a folder in another process, which has a worker; its number."""
    children = []

    def lock(folder):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            with locked(folder):
                worker = os.fork()
                if worker:
                    os.write(write, str(worker).encode())
                time.sleep(60)
            os._exit(0)
        children.extend((child, int(os.read(read, 20))))
        return child

    yield lock
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def test_a_second_training_is_refused_as_long_as_the_first_lives(tiny_config, build_runner, other):
    work = Path(tiny_config.work_dir)
    process = other(work)
    before = sorted(work.glob('*.py'))
    message = (
        rf'another training \(process {process} on .+\) writes to {work}: .*--resume.*--work-dir'
    )
    runner = build_runner(tiny_config)
    with pytest.raises(InputError, match=message) as error:
        runner.train()
    assert '\n' not in str(error.value)
    assert sorted(work.glob('*.py')) == before and not list(work.glob('*.pth'))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)  # its worker lives on
    build_runner(tiny_config).train()
    assert (work / 'iter_4.pth').exists() and not (work / '.lock').exists()


def test_other_folders_of_checkpoints_are_locked_too(tiny_config, build_runner, other, tmp_path):
    other(tmp_path / 'out' / 'work')
    options = {'default_hooks.checkpoint.out_dir': str(tmp_path / 'out')}
    options['default_hooks.checkpoint.type'] = 'AdapterCheckpointHook'
    with pytest.raises(InputError, match=rf'writes to {tmp_path}/out/work: '):
        build_runner(tiny_config, options).train()


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    def lockf(*args):
        raise OSError(errno.ENOLCK, 'No locks available')

    warnings = []
    monkeypatch.setattr(fcntl, 'lockf', lockf)
    monkeypatch.setattr('soma.engine.lock.print_log', lambda text, **_: warnings.append(text))
    with locked(tmp_path):
        pass
    (warning,) = warnings
    assert warning.startswith(f'{tmp_path} cannot be locked (No locks available): ')
    assert not (tmp_path / '.lock').exists()


def test_a_folder_that_cannot_be_written_to_is_named():
    message = r'^nothing can be written to the folder /proc/x \('
    with pytest.raises(InputError, match=message), locked('/proc/x'):
        pass


def test_checkpoints_of_an_earlier_run_are_named(tiny_config, build_runner, capsys):
    options = {'default_hooks.checkpoint.type': 'AdapterCheckpointHook'}
    # beyond the end, where both happen all the same
    options |= {'train_cfg.val_interval': 100, 'default_hooks.checkpoint.interval': 100}
    options['default_hooks.checkpoint.save_best'] = 'mean_mIoU'
    build_runner(tiny_config, options).train()
    assert 'earlier run' not in capsys.readouterr().out
    Path(tiny_config.work_dir, 'iter_x.pth').touch()  # a user's own
    build_runner(tiny_config, options).train()
    line = 'work holds checkpoints of an earlier run (best_mean_mIoU_iter_4.pth, iter_4.pth): this '
    log = capsys.readouterr().out
    assert line in log.splitlines()[0] and log.count(line) == 1
    build_runner(tiny_config, options | {'resume': True}).train()
    assert 'earlier run' not in capsys.readouterr().out


def test_asking_does_not_unlock(tmp_path, other):
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path) and (tmp_path / '.lock').exists()
    assert not is_locked(tmp_path)
    (tmp_path / 'other').mkdir()
    other(tmp_path / 'other')
    assert is_locked(tmp_path / 'other')
    with pytest.raises(InputError, match='another training'), locked(tmp_path / 'other'):
        pass
