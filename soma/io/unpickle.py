"""Unpickle tensors, plain data and what mmengine's checkpoints hold, and nothing else."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import torch

_trusted = False
_torch_load = torch.load  # itself, while engine/schemes.py has something else in its place


class _History(dict):
    """What is kept of a pickled ``HistoryBuffer`` of mmengine: the arguments that make it again."""

    def __setstate__(self, state: Mapping) -> None:
        names = ('_log_history', '_count_history', 'max_length')
        self.update({name.lstrip('_'): np.asarray(state[name]).tolist() for name in names})


def _statistic(owner: type, name: str) -> None:
    """A stand-in for ``getattr``, by which pickled history buffers name their statistics."""
    if owner is not _History or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'GLOBAL builtins.getattr of {owner} and {name!r}')


# All that an OpenMMLab training checkpoint holds besides tensors and plain data; by its name there,
# if it has another here. Numpy has renamed its core.
_ALLOWED: list[Callable | tuple[Callable, str]] = [
    (_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (_statistic, 'builtins.getattr'),
    np.ndarray,
    np.dtype,
    *[type(np.dtype(code)) for code in 'bBhHiIlLqQefd?'],
    *[
        (function, f'numpy.{core}.multiarray.{name}')
        for core in ('core', '_core')
        for name, function in (
            ('scalar', np.float64(0).__reduce__()[0]),
            ('_reconstruct', np.empty(0).__reduce__()[0]),
        )
    ],
]


@contextmanager
def trust_files(trust: bool = True) -> Iterator[None]:
    """Let :func:`unpickle` run the code that a file holds.

    Args:
        trust: Whether to; if False, nothing changes.
    """
    global _trusted
    before, _trusted = _trusted, _trusted or trust
    try:
        yield
    finally:
        _trusted = before


def unpickle(
    file: str | os.PathLike | BinaryIO, map_location: str | torch.device | None, mmap: bool = False
) -> Any:
    """Read a file of ``torch.save``.

    Args:
        file: The file, or its content as a stream.
        map_location: Device of the tensors.
        mmap: Read a tensor from the disk only when it is used.

    Returns:
        What the file holds, without the config that mmengine would run as Python when it resumes.

    Raises:
        pickle.UnpicklingError: If it holds more, and is not trusted (:func:`trust_files`).
        ValueError: If it holds more bytes than it has, which would fill the memory.
    """
    file = os.fspath(file) if isinstance(file, os.PathLike) else file
    is_zip = isinstance(file, str) and zipfile.is_zipfile(file)  # not before torch 1.6
    if is_zip:
        with zipfile.ZipFile(file) as archive:  # torch.save does not compress
            if sum(part.file_size for part in archive.infolist()) > os.path.getsize(file):
                raise ValueError('its parts are larger than the file')
    mmap = mmap and is_zip
    with _allowed_names():
        content = _torch_load(file, map_location, weights_only=not _trusted, mmap=mmap)
    if isinstance(content, dict) and isinstance(content.get('meta'), dict):
        content['meta'].pop('config', None)
    return content


@contextmanager
def _allowed_names() -> Iterator[None]:
    """Allow our names and no others; mmengine's loaders allow the true ``getattr``."""
    # Before torch 2.6 the safe reader cannot be told of other names.
    if tuple(map(int, torch.__version__.split('.')[:2])) < (2, 6):
        yield
        return
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            yield
    finally:
        torch.serialization.add_safe_globals(others)
