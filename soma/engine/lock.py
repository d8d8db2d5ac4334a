"""A folder that one training at a time writes to."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from ..io.files import InputError, check_folder

_held: set[str] = set()  # lock files of this process
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # file systems


@contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Keep other trainings out of a folder that this one writes to.

    The main process has the lock. It ends with the process, however that dies, and workers that
    outlive it do not have it.

    Args:
        folder: Made if need be.

    Raises:
        InputError: In each process, if another training is there or nothing can be written.
    """
    file, problem = None, [None]
    if is_main_process():
        try:
            file = _lock(Path(folder))
        except (InputError, OSError) as error:
            problem = [str(error)]
    broadcast_object_list(problem)
    if problem[0]:
        raise InputError(problem[0])
    try:
        yield
    finally:
        if file:
            _unlock(file)


def is_locked(folder: str | os.PathLike) -> bool:
    """Whether a training has locked a folder, in this process or in another."""
    path = Path(folder, '.lock')
    # A process that closes such a file loses its own lock.
    if os.path.realpath(path) in _held:
        return True
    try:
        with open(path) as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno not in _WITHOUT_LOCKS
    return False


def _lock(folder: Path) -> IO[str]:
    check_folder(folder)
    path = folder / '.lock'
    file = open(path, 'a+')  # noqa: SIM115, open as long as the lock is held
    try:
        # Unlike that of flock, this lock is not inherited by workers.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        with file:
            owner = file.read()
        if error.errno not in _WITHOUT_LOCKS:
            raise InputError(
                f'another training ({owner}) writes to {folder}: wait for its end, then go on from '
                'it with --resume, or name another --work-dir'
            ) from error
        print_log(
            f'{folder} cannot be locked ({error.strerror}): let no other training write there',
            logger='current',
            level=logging.WARNING,
        )
        return open(path, 'a')
    if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        file.close()  # its owner has just removed it
        return _lock(folder)
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
    _held.add(os.path.realpath(path))
    return file


def _unlock(file: IO[str]) -> None:
    _held.discard(os.path.realpath(file.name))
    Path(file.name).unlink(missing_ok=True)
    file.close()
