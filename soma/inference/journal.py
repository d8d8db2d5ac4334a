"""What has been predicted in a folder, so that a script that was stopped goes on."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..io.download import file_sha256
from ..io.files import InputError, atomic_path, check_folder, write_json
from ..utils.version import __version__
from .inferencer import Inferencer
from .pipeline import test_steps
from .sources import Source

SUMMARY, MADE_BY = 'summary.csv', 'predict.json'
_PATHS = ('checkpoint', 'base', 'config')  # which may be somewhere else: their content counts
_TEXT = dict(encoding='utf-8', errors='surrogateescape')  # names of files need not be UTF-8


def short(numbers: Iterable[float]) -> list[str]:
    """Write numbers with six digits."""
    return [f'{number:.6g}' for number in numbers]


def made_by(model: Inferencer, **settings: object) -> dict:
    """What predictions follow from: the weights, the config and settings."""
    parts = [model.config.model.to_dict(), test_steps(model.config)]
    config = json.dumps(parts, default=str, sort_keys=True)
    return {
        **settings,
        'checkpoint': str(model.checkpoint),
        'checkpoint_sha256': file_sha256(model.checkpoint),
        'base': model.base and str(model.base),
        'base_sha256': model.base and file_sha256(model.base),
        'config': str(model.config.filename or 'that of the checkpoint'),
        'config_sha256': hashlib.sha256(config.encode()).hexdigest(),
    }


class Journal:
    """``summary.csv``: a line for each image or video, written as soon as its files are there.

    ``predict.json`` beside it tells what made them.

    Args:
        folder: Where they are.
        made: What makes predictions now, as of :func:`made_by`.
        columns: Names of the numbers in a line.
        overwrite: Forget what is there.

    Raises:
        InputError: If something else has made what is there, or nothing can be written.
    """

    def __init__(self, folder: Path, made: dict, columns: Sequence[str], overwrite: bool) -> None:
        self._file, self._columns = folder / SUMMARY, ['file', 'name', *columns]
        if not overwrite:
            _compare(read_made_by(folder) or {}, made, folder)
        self._rows = {} if overwrite else self._read()
        write_json({'soma': __version__, **made}, folder / MADE_BY)

    def check_names(self, sources: Iterable[Source]) -> None:
        """Make sure that nothing of other sources is written over.

        Raises:
            InputError: If a source of that name is there, or two are to be.
        """
        names: dict[tuple[str, bool], Source] = {}
        for source in (*self._rows, *sources):
            other = names.setdefault((source.name, source.kind == 'image'), source)
            if other != source:
                raise InputError(
                    f'{self._file.parent} has what was predicted of {other}, in the place of '
                    f'{source}: name another folder'
                )

    def has(self, source: Source, files: Iterable[Path]) -> bool:
        """Whether all of a source was predicted, and it has not changed since."""
        if source not in self._rows or source.kind == 'camera':
            return False
        changed = source.path.stat().st_mtime
        return all(file.is_file() and file.stat().st_mtime >= changed for file in files)

    def begin(self, sources: Iterable[Source]) -> None:
        """Take out the lines of sources that will be predicted."""
        for source in sources:
            self._rows.pop(source, None)
        self.finish()

    def add(self, source: Source, numbers: Iterable[float]) -> None:
        """Add a line."""
        row = self._rows[source] = [str(source), source.name, *short(numbers)]
        _append(self._file, [row])

    def finish(self) -> list[Source]:
        """Put the lines in order, and tell of which sources they are."""
        self._rows = dict(sorted(self._rows.items(), key=lambda item: item[1]))
        with atomic_path(self._file) as temporary:
            _append(temporary, [self._columns, *self._rows.values()])
        return [*self._rows]

    def _read(self) -> dict[Source, list[str]]:
        if not self._file.is_file():
            return {}
        with self._file.open(newline='', **_TEXT) as file:
            header, *rows = [*csv.reader(file)] or [[]]
        # the last line may have been cut off
        rows = [row for row in rows if header == self._columns and len(row) == len(header)]
        return {_source_of(*row[:2]): row for row in rows}


def _append(path: Path, rows: Iterable[Sequence[str]]) -> None:
    with path.open('a', newline='', **_TEXT) as file:
        csv.writer(file).writerows(rows)


def _source_of(file: str, name: str) -> Source:
    number = file.removeprefix('camera ')
    return Source.of_camera(int(number)) if number.isdecimal() else Source.of_file(Path(file), name)


def read_made_by(folder: Path) -> dict | None:
    """What ``predict.json`` of a folder says; None if it is not there.

    Raises:
        InputError: If it cannot be read.
    """
    file = folder / MADE_BY
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text())
        return {key: content[key] for key in content if key != 'soma'}
    except (ValueError, TypeError) as error:
        raise InputError(f'{file} is damaged: delete it, or name another folder') from error


def check_place(folder: Path, names: Sequence[str]) -> None:
    """Make sure that a folder can be written to, and that nothing of others is written over.

    Args:
        folder: The folder.
        names: Files and folders in it that will be written.

    Raises:
        InputError: If one of them is there, and no ``predict.json``.
    """
    check_folder(folder, make=False)
    if read_made_by(folder) is not None:
        return
    for name in names:
        if (folder / name).exists():
            raise InputError(f'{folder / name} was not written by this script: name another folder')


def _compare(before: dict, made: dict, folder: Path) -> None:
    """Refuse to add to predictions that something else has made."""
    for key, now in made.items():
        if not before or key in _PATHS or before.get(key) == now:
            continue
        name = key.removesuffix('_sha256')
        was, now = before.get(name), made[name]
        other = ' with another content' if was == now else ''
        raise InputError(
            f'what is in {folder} was made with {name} {was}, this is {now}{other}: name another '
            'folder, or predict all anew with --overwrite'
        )
