"""How many pixels of each class label files have."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from ..io.files import InputError, WriteError, atomic_path
from ..utils.parallel import run_parallel
from .label_files import read_labels, why_unreadable
from .packed_files import is_packed


def label_pixels(files: Sequence[str], classes: int, counts_file: Path) -> np.ndarray:
    """Count the pixels of each class in label files; of several processes, the first does.

    Args:
        files: The label files.
        classes: Number K of classes.
        counts_file: A file (``.npz``) to keep the numbers in, so that the next start need not count
            again. It counts for files of these names, sizes and times.

    Returns:
        Shape ``(len(files), K)``.

    Raises:
        InputError: If a file is missing or cannot be read as labels.
    """
    result: list[np.ndarray | InputError | None] = [None]
    if is_main_process():
        try:
            result = [_read_or_count(files, classes, counts_file)]
        except InputError as error:  # the others would wait for ever
            result = [error]
    broadcast_object_list(result)
    if isinstance(result[0], InputError):
        raise result[0]
    return result[0]


def _read_or_count(files: Sequence[str], classes: int, counts_file: Path) -> np.ndarray:
    digest = hashlib.sha256(f'{classes}'.encode())
    for file in files:
        if is_packed(file):
            raise InputError(f'only a DomainDataset reads packed files ({file})')
        try:
            stat = os.stat(file)
        except OSError as error:
            raise InputError(
                f'the label file {file} {why_unreadable(Path(file), error)}'
            ) from error
        digest.update(f'{Path(file).name} {stat.st_size} {stat.st_mtime_ns}\n'.encode())
    if (pixels := _read(counts_file, digest.hexdigest())) is not None:
        return pixels
    title = f'looking for classes in {counts_file.parent}'
    pixels = np.stack(run_parallel(partial(_count, classes), files, title=title))
    try:
        with atomic_path(counts_file) as temporary:
            np.savez_compressed(temporary, stamp=digest.hexdigest(), pixels=pixels)
    except WriteError as error:
        print_log(f'{error}; the next start counts again', 'current', logging.WARNING)
    return pixels


def _read(file: Path, stamp: str) -> np.ndarray | None:
    """What an earlier start has kept, if it is of the same files and whole."""
    try:
        with np.load(file) as content:
            return content['pixels'] if str(content['stamp']) == stamp else None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # missing or damaged
        return None


def _count(classes: int, file: str) -> np.ndarray:
    try:
        labels = read_labels(Path(file))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f'the label file {file} {why_unreadable(Path(file), error)}') from error
    values = labels[(labels >= 0) & (labels < classes)]
    return np.bincount(values, minlength=classes).astype(np.int32)
