"""The scores that tests leave behind."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from .files import InputError, read_json

logger = logging.getLogger(__name__)

REPORT = 'report of a test (domains_test.json)'
_KINDS = {'score': str, 'domains': dict, 'mean_over': list, 'mean': dict}


def find_report(path: str | os.PathLike) -> Path:
    """The newest report of a test below a work dir; without one, that of a validation, logged.

    Args:
        path: The work dir, or the report itself.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        InputError: If the folder has no report.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist: name a report or a work dir')
    if path.is_file():
        return path
    for pattern in ('domains_test.json', 'domains_iter_*.json'):
        if files := [*path.rglob(pattern)]:
            file = max(files, key=lambda file: (file.stat().st_mtime_ns, str(file)))
            if file.name != 'domains_test.json':
                logger.warning('%s has no test: its validation %s is taken', path, file.name)
            return file
    # with a metric's prefix: there may be several of one test, and --corruptions makes many
    if named := min(path.rglob('domains_test_*.json'), default=None):
        raise InputError(f'{path} has no domains_test.json: name a report, such as {named}')
    raise InputError(
        f'{path} has no domains_test.json: python tools/test.py CONFIG CHECKPOINT writes it there'
    )


def read_report(path: str | os.PathLike) -> dict:
    """Read the ``domains_test.json`` of ``tools/test.py``.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is something else.
    """
    return read_json(path, REPORT, _KINDS)
