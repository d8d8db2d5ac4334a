"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Input that cannot be used; the message says in one line which file, key or value, and why.

    Scripts show such a message without a traceback, which is for faults of the program.
    """


class WriteError(InputError, OSError):
    """A file that the system does not let be written; one that was there is as it was."""


class CheckpointError(InputError):
    """A checkpoint file that cannot be used; the message names it and says why, in one line."""


def check_output(
    path: str | os.PathLike,
    inputs: Iterable[str | os.PathLike | None] = (),
    suffixes: tuple[str, ...] = ('.pth', '.pt', '.safetensors'),
) -> None:
    """Make sure that a file can be written, before the work is done.

    Args:
        path: The file; it may exist. Its folder is made if need be.
        inputs: Files that must not be written over.
        suffixes: The kinds that it may be of.

    Raises:
        CheckpointError: If it is a directory, one of the inputs or of another kind.
        InputError: If nothing can be written to its folder.
    """
    from .hub import checkpoint_in  # which imports from here, as the next does
    from .public import local_file

    path = Path(path).expanduser()
    if path.is_dir():
        raise CheckpointError(f'{path} is a directory: name a file in it')
    if path.suffix not in suffixes:
        raise CheckpointError(f'{path} must end in {" or ".join(suffixes)}')
    for file in filter(None, inputs):
        file = Path(checkpoint_in(local_file(file))).expanduser()
        if path.exists() and file.exists() and path.samefile(file):
            raise CheckpointError(f'{path} is read too: name another file to write')
    check_folder(path.parent)


def check_folder(path: str | os.PathLike, make: bool = True) -> None:
    """Make a folder, and make sure that files can be written into it, before the work is done.

    Args:
        path: The folder.
        make: Whether to make it; else it is enough that it can be made.

    Raises:
        InputError: If they cannot.
    """
    folder = Path(path).expanduser()
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        there = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise InputError(
            f'nothing can be written to the folder {folder} ({error.strerror}): name another one'
        ) from error


def write_json(content: dict, path: str | os.PathLike) -> None:
    """Write plain data as JSON that a person can read, under a temporary name, then rename it."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + '\n')


def read_json(path: str | os.PathLike, what: str, kinds: Mapping[str, type]) -> dict:
    """Read what :func:`write_json` has written.

    Args:
        path: The file.
        what: What it is, in words, for the messages.
        kinds: Keys that it has, and the types of their values.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is something else.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist: name a {what}')
    try:
        content = json.loads(path.read_text())
    except ValueError:  # no text, or no JSON
        content = None
    known = content if isinstance(content, dict) else {}
    if not all(isinstance(known.get(key), kind) for key, kind in kinds.items()):
        raise InputError(f'{path} is no {what}')
    return known


@contextmanager
def atomic_path(path: str | os.PathLike, flush: bool = False) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; rename it when all went well.

    Args:
        path: The file to write; its folder is made if need be.
        flush: Whether to wait until the disk has it before the name changes.

    Yields:
        The temporary path. It is removed if the body raises.

    Raises:
        WriteError: If the disk is full or the folder cannot be written to.
    """
    path = Path(path).expanduser()
    # The suffix stays, since writers of images choose their format by it.
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if flush:
            with open(temporary, 'rb+') as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        written = (None, os.fspath(temporary), os.fspath(path.parent))
        if error.errno is None or error.filename not in written:  # of a file that the body reads
            raise
        raise WriteError(
            f'{path} is not written ({error.strerror}); a file that was there is as it was'
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
