"""Find the checkpoint to resume or to start from."""

from __future__ import annotations

import logging
import os
import re
import zipfile
from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..io.checkpoint_files import CheckpointError, read_checkpoint
from ..io.files import InputError
from ..io.hub import checkpoint_in, last_in
from ..utils.config import matching_files


def only_file(path: str | os.PathLike, resume: bool = False) -> str:
    """The file that a path means to start from.

    Args:
        path: A file, a pattern such as ``best_*.pth``, or a work dir, for its best checkpoint
            (:func:`~soma.io.hub.checkpoint_in`).
        resume: Whether to go on from it: then a work dir is for its newest one.

    Raises:
        InputError: If none or several fit the pattern, or the work dir has none.
    """
    if Path(path).is_dir():
        file = newest_checkpoint(path) if resume else checkpoint_in(path)
        if file is None:
            raise InputError(f'no checkpoint to resume from in {path}')
        return str(file)
    if '*' not in Path(path).name:
        return str(path)
    if len(files := matching_files(path)) != 1:
        names = ', '.join(file.name for file in files) or 'none'
        raise InputError(f'load_from={path} must fit one file, it fits {names}: name the file')
    return str(files[0])


def warn_of_earlier(runner: Runner) -> None:
    """Warn that a training which starts anew does so beside the checkpoints of another."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    for hook in [] if runner._resume else hooks:
        folder = Path(runner.work_dir)
        folder = Path(hook.out_dir, folder.name) if hook.out_dir else folder
        pattern = re.compile(''.join(name_pattern(hook)))
        if earlier := sorted(f.name for f in folder.glob('*') if pattern.fullmatch(f.name)):
            runner.logger.warning(
                f'{folder} holds checkpoints of an earlier run ({", ".join(earlier)}): this one '
                'starts anew beside them and will replace those of the same name; to go on from '
                'them, stop it and add --resume'
            )


def name_pattern(hook: CheckpointHook) -> tuple[str, str]:
    """Regular expressions of the names of a hook's checkpoints, and of their suffix."""
    stem, suffix = map(re.escape, os.path.splitext(hook.filename_tmpl))
    return re.sub(r'\\\{.*?\\\}', r'\\d+', rf'(best_.+_)?{stem}(-\w{{8}})?'), suffix


def newest_checkpoint(work_dir: str | os.PathLike) -> str | None:
    """Find the newest training checkpoint of a run that is whole.

    Broken ones are passed over with a warning.

    Args:
        work_dir: Folder of the run, or of the ``last_checkpoint`` that names a file elsewhere.

    Returns:
        The file, or None.
    """
    last = last_in(work_dir)
    files = list((last.parent if last else Path(work_dir)).glob('[!.]*.pth'))
    after = _age(last) if last else (0, -1)

    def order(file: Path) -> tuple:
        # The time alone would be wrong in a copy, the step alone after a new start.
        age = _age(file)
        return all(new >= old for new, old in zip(age, after, strict=True)), age

    for file in sorted(files, key=order, reverse=True):
        try:
            if can_resume(file):
                return str(file)
        except CheckpointError as error:
            print_log(f'passed over: {error}', logger='current', level=logging.WARNING)
    return None


def can_resume(file: str | os.PathLike) -> bool:
    """Whether a checkpoint, which must be whole, holds an optimizer to resume with.

    Raises:
        CheckpointError: If it is damaged.
    """
    content = read_checkpoint(file, mmap=True)
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
    except Exception as error:  # broken bytes can raise anything
        raise CheckpointError(f'{file} is damaged: {error}') from error
    if broken is not None:
        raise CheckpointError(f'{file} is damaged: the checksum of {broken} is wrong')
    return isinstance(content, dict) and 'optimizer' in content


def _age(file: Path) -> tuple[int, int]:
    """Time of the last change, and the step in the name."""
    step = re.search(r'(\d+)$', file.stem)
    return file.stat().st_mtime_ns, int(step[1]) if step else -1
