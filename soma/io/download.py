"""Download a public file: on from where it broke off, checked, whole or not at all.

Beside a file stand, while it comes, ``<file>.part`` and ``<file>.part.etag``, and then
``<file>.sha256``, in the format of ``sha256sum``: a file that is read later must still have it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from .files import CheckpointError, InputError, WriteError, atomic_path, check_folder

_BLOCK = 2**20  # bytes
_TRIES, _PAUSE, _TIMEOUT = 5, 1.0, 30.0  # seconds
_SHA256 = re.compile(r'[0-9a-f]{64}')


def download(
    url: str, path: str | os.PathLike, sha256: str = '', schemes: tuple[str, ...] = ('https',)
) -> None:
    """Download a file, unless another process just has; while one does, others wait.

    Args:
        url: Its address. What a server then redirects to must be of the schemes, too.
        path: Where to put it.
        sha256: What its hash starts with. If nothing is known, what ``<file>.sha256`` says from
            an earlier download counts, or what the Hugging Face hub says.
        schemes: Those that are allowed.

    Raises:
        InputError: If it cannot be had, is another file than it should be, or does not fit on the
            disk. What has come so far is kept, unless it is whole and wrong.
    """
    path = Path(path)
    part, etag = (path.with_name(f'{path.name}.{end}') for end in ('part', 'part.etag'))
    redirects = _Redirects(schemes)
    redirects.check(url)
    check_folder(path.parent)
    with _alone(part, etag) as file:
        if path.exists():
            return
        _receive_all(url, file, etag, redirects)
        expected = sha256 or noted_sha256(path) or redirects.sha256
        digest = file_sha256(part)
        etag.unlink(missing_ok=True)
        if not digest.startswith(expected):
            part.unlink()
            raise InputError(
                f'{url} is not the file that it should be: its sha256 is {digest}, not {expected}; '
                'it was removed'
            )
        os.fsync(file)
        with atomic_path(_note(path)) as note:
            note.write_text(f'{digest}  {path.name}\n')
        part.replace(path)


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def noted_sha256(path: str | os.PathLike) -> str:
    """The hash that ``<file>.sha256`` has; '' without one.

    Raises:
        CheckpointError: If there is none in it.
    """
    note = _note(path)
    if not note.is_file():
        return ''
    words = note.read_text(errors='replace').split()
    if not words or not _SHA256.fullmatch(words[0]):
        raise CheckpointError(f'{note} does not start with a sha256: remove it')
    return words[0]


def check_noted(path: str | os.PathLike) -> None:
    """Compare a file with its ``<file>.sha256``, if it has one.

    Raises:
        CheckpointError: If it is another one.
    """
    noted = noted_sha256(path)
    if noted and (digest := file_sha256(path)) != noted:
        raise CheckpointError(
            f'{path} is not the file that was downloaded: its sha256 is {digest}, {_note(path)} '
            f'has {noted}: remove both and download it again, or only the note to keep it'
        )


def _note(path: str | os.PathLike) -> Path:
    path = Path(path).expanduser()
    return path.with_name(f'{path.name}.sha256')


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to allowed schemes; keeps the hash that the hub's redirect tells."""

    def __init__(self, schemes: tuple[str, ...]) -> None:
        self.schemes, self.sha256 = schemes, ''

    def check(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in self.schemes or not parts.hostname:
            raise InputError(f'{url} is no address that starts with {self.schemes[0]}://')

    def redirect_request(self, req, fp, code, msg, headers, newurl) -> Request | None:
        self.check(newurl)
        linked = headers.get('X-Linked-Etag', '').strip('"')
        self.sha256 = linked if _SHA256.fullmatch(linked) else self.sha256
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _alone(path: Path, etag: Path) -> Iterator[IO[bytes]]:
    """Open a file to append to that no other process has; wait for one that has it.

    If it stays empty, it is removed with its ``etag``.
    """
    while True:
        with open(path, 'ab') as file:
            _lock(file)
            try:
                is_it = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                is_it = False
            if not is_it:  # its owner has just finished
                continue
            file.seek(0, os.SEEK_END)  # where the one before has left it
            try:
                yield file
            finally:
                if not os.fstat(file.fileno()).st_size:
                    path.unlink(missing_ok=True)
                    etag.unlink(missing_ok=True)
            return


def _lock(file: IO[bytes]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write(f'another process writes {file.name}: waiting for it\n')
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        raise InputError(
            f'{file.name} cannot be locked ({error.strerror}): name a folder on another disk'
        ) from error


def _receive_all(url: str, file: IO[bytes], etag: Path, redirects: _Redirects) -> None:
    """Request a file until all of it is there; after a lost connection, what is missing."""
    opener = build_opener(redirects)
    for attempt in range(_TRIES):
        time.sleep(_PAUSE if attempt else 0)
        done = file.tell()
        headers = {'User-Agent': 'soma'}
        if done and etag.is_file():  # without one the server cannot tell whether it is the same
            headers |= {'Range': f'bytes={done}-', 'If-Range': etag.read_text()}
        try:
            with opener.open(Request(url, headers=headers), timeout=_TIMEOUT) as response:
                _receive(response, file, etag)
            return
        except InputError:
            raise
        except HTTPError as error:
            reason = f'answers {error.code} {error.reason}'
            if error.code == 416:  # there is no such part: nothing is missing, or start anew
                if error.headers.get('Content-Range') == f'bytes */{done}':
                    return
                etag.unlink(missing_ok=True)
            elif error.code < 500 and error.code != 429:
                break
        except URLError as error:
            reason = f'cannot be reached ({error.reason})'
            if not attempt:
                break
        except (OSError, HTTPException) as error:
            reason = f'broke off ({error})'
    folder, name = Path(file.name).parent, Path(file.name).name.removesuffix('.part')
    kept = f'; {file.tell()} bytes are kept, to go on from' if file.tell() else ''
    raise InputError(f'{url} {reason}: get it elsewhere and put it into {folder} as {name}{kept}')


def _receive(response: HTTPResponse, file: IO[bytes], etag: Path) -> None:
    """Append what comes; from the start, unless it is the rest.

    Raises:
        ConnectionError: If not all of it came.
        InputError: If it does not fit on the disk.
    """
    done = file.tell()
    if not _is_rest(response, done, etag):
        file.truncate(0)
        file.seek(0)
        etag.unlink(missing_ok=True)
        if response.status == 206:
            raise ConnectionError('it answered with another part')
        done = 0
        if (tag := response.headers.get('ETag', '')).startswith('"'):  # no weak one
            etag.write_text(tag)
    length = response.headers.get('Content-Length')
    total = None if length is None else done + int(length)
    folder = Path(file.name).parent
    free = shutil.disk_usage(folder).free
    if total is not None and total - done > free:
        raise InputError(
            f'{response.url} needs {(total - done) / 1e6:.0f} MB, {folder} has {free / 1e6:.0f} MB '
            'free: make room or name another folder'
        )
    for block in _with_progress(response, done, total, Path(file.name).stem):
        try:
            file.write(block)
            file.flush()
        except OSError as error:
            raise WriteError(f'{file.name} is not written to its end ({error.strerror})') from error
    if total is not None and file.tell() < total:
        raise ConnectionError(f'it ended after {file.tell()} of {total} bytes')


def _is_rest(response: HTTPResponse, place: int, etag: Path) -> bool:
    if response.status != 206 or response.headers.get('ETag') != etag.read_text():
        return False  # some servers send a part of another version
    return response.headers.get('Content-Range', '').startswith(f'bytes {place}-')


def _with_progress(
    response: HTTPResponse, done: int, total: int | None, title: str
) -> Iterator[bytes]:
    from rich.progress import (  # here, for most files are there already
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn('{task.description}'), BarColumn(), DownloadColumn())
    columns += (TransferSpeedColumn(), TextColumn('left'), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(title, total=total, completed=done)
        while block := response.read(_BLOCK):
            yield block
            progress.advance(task, len(block))
