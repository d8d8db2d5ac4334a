"""Find the checkpoint to resume from."""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path

from mmengine.logging import print_log

from ..files import CheckpointError, read_checkpoint


def newest_checkpoint(work_dir: str | os.PathLike) -> str | None:
    """Find the newest training checkpoint of a run that is whole.

    Broken ones are passed over with a warning.

    Args:
        work_dir: Folder of the run; where its ``last_checkpoint`` points to is searched too.

    Returns:
        The file, or None.
    """
    folders = {Path(work_dir)}
    pointer = Path(work_dir) / 'last_checkpoint'
    if pointer.is_file():
        folders.add(Path(pointer.read_text().strip()).parent)
    files = [file for folder in folders for file in folder.glob('[!.]*.pth')]
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True):
        try:
            if is_whole(file):
                return str(file)
        except CheckpointError as error:
            print_log(f'passed over: {error}', logger='current', level=logging.WARNING)
    return None


def is_whole(file: str | os.PathLike) -> bool:
    """Verify a training checkpoint.

    Args:
        file: Written by ``torch.save``.

    Returns:
        Whether it holds an optimizer, without which nothing can be resumed.

    Raises:
        CheckpointError: If it is damaged.
    """
    content = read_checkpoint(file, mmap=True)
    if zipfile.is_zipfile(file) and (broken := zipfile.ZipFile(file).testzip()):
        raise CheckpointError(f'{file} is damaged: the checksum of {broken} is wrong')
    return 'optimizer' in content
