"""Finds out which classes masks have, and what their values mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...io.files import InputError
from ..label_reader import LabelError, read_pixels, unpacked
from ..labels import IGNORE

Value = int | tuple[int, int, int]
_MOST = 64  # values in one mask; more are no classes but shades
_NAMES = ('classes.txt', 'class_names.txt', 'labels.txt')


@dataclass(frozen=True)
class MaskClasses:
    """The classes of masks.

    Attributes:
        names: Their names.
        label_map: Name of each value or colour, None for what does not count; None if the values
            are the places of the classes, and 255.
        rows: Pixels of each class, and then of what does not count, shape ``(masks, classes + 1)``.
        remarks: What was assumed.
    """

    names: list[str]
    label_map: dict[Value, str | None] | None
    rows: np.ndarray
    remarks: list[str]

    @property
    def palette(self) -> list[list[int]] | None:
        """The colours, if the masks have just one for each class."""
        colours = {name: value for value, name in (self.label_map or {}).items()}
        is_one_each = len(colours) == len(self.label_map or {})
        if not is_one_each or not all(isinstance(colours.get(n), tuple) for n in self.names):
            return None
        return [list(colours[name]) for name in self.names]


def count_values(image: Image.Image, of_colours: bool = False) -> Counter[Value]:
    """The number of pixels of each value of a mask.

    Args:
        image: The mask.
        of_colours: Whether to give colours where there might be numbers, too.

    Raises:
        LabelError: If it has so many values that they are no classes, or as for
            :func:`~..label_reader.read_pixels`.
        OSError: If it is cut off.
    """
    try:
        pixels = read_pixels(image, of_colours)
    except LabelError as error:
        if of_colours or error.kind != 'channels':
            raise
        pixels, of_colours = read_pixels(image, True), True
    if not of_colours and not 0 <= pixels.min() <= pixels.max() < 1 << 16:
        raise LabelError('values', f'hold values from {pixels.min()} to {pixels.max()}')
    places = np.zeros(1 << (24 if of_colours else 16), np.uint8)  # quicker than sorting pixels
    places[pixels] = 1
    values = np.flatnonzero(places)
    if len(values) > _MOST:
        raise LabelError(
            'values',
            f'hold {len(values)} different values, which are no classes: is it a photo, or were '
            'they resized smoothly?',
        )
    places[values] = np.arange(len(values))
    amounts = np.bincount(places[pixels].ravel()).tolist()
    keys = [unpacked(value) if of_colours else value for value in values.tolist()]
    return Counter(dict(zip(keys, amounts, strict=True)))


def find_classes(
    files: Sequence[Counter[Value]],
    root: Path,
    names: Sequence[str] | None = None,
    table: Mapping[Value, str] | None = None,
) -> MaskClasses:
    """Make classes of the values of masks.

    Args:
        files: The values of each mask, all numbers or all colours.
        root: Folder that may have a ``classes.txt`` with a name a line.
        names: Names of the classes; those of the table or of such a file, or made up, if None.
        table: What the folder says that the values are (:func:`read_table`).

    Raises:
        InputError: If the names do not fit, or there are too few classes or too many.
    """
    values = sorted({value for file in files for value in file})
    names = list(names or ())
    if table and not names:
        labels, remarks = _of_table(values, table, root)
    else:
        names = names or _read_names(root)
        of_colours = isinstance(values[0], tuple)
        labels, remarks = (_of_colours if of_colours else _of_numbers)(values, names)
    names = names or list(dict.fromkeys(name for name in labels.values() if name is not None))
    if not 2 <= len(names) <= 254:
        raise InputError(
            f'{root}: the masks have {len(names)} classes, with the values {_listed(values)}: '
            'there must be 2 to tell apart, and at most 254'
        )
    plain = all(
        value == (IGNORE if name is None else names.index(name)) for value, name in labels.items()
    )
    rows = np.zeros((len(files), len(names) + 1), np.int64)
    for row, file in zip(rows, files, strict=True):
        for value, amount in file.items():
            row[-1 if labels[value] is None else names.index(labels[value])] += amount
    return MaskClasses(names, None if plain else labels, rows, remarks)


def _of_table(values: list[Value], table: Mapping[Value, str], root: Path) -> tuple[dict, list]:
    """Name of each value of a table, and what was assumed."""
    unnamed = [value for value in values if value not in table and value != IGNORE]
    if unnamed:
        raise InputError(
            f'{root}: the masks hold {_listed(unnamed)}, which its list of classes does not name: '
            'name them there, or all classes by --classes'
        )
    ignored = {IGNORE: None} if IGNORE in values and IGNORE not in table else {}
    return {**table, **ignored}, ['255 does not count'] if ignored else []


def _of_numbers(values: list[int], names: list[str]) -> tuple[dict, list[str]]:
    """Name of each number, and what was assumed."""
    if values == [0, IGNORE]:
        names = names or ['background', 'object']
        _check_count(names, values)
        remark = f'0 and 255 were taken for two classes, {" and ".join(names)}'
        return dict(zip(values, names, strict=True)), [remark]
    ignored, remarks = {}, []
    if values[-1] == IGNORE and len(values) > 1:
        values, ignored = values[:-1], {IGNORE: None}
        remarks.append('255 does not count')
    last = values[-1]
    if not names and values[0] == 0 and last < 2 * len(values):
        names = [f'class_{value}' for value in range(last + 1)]
    if last < len(names):  # they are places
        return {**dict(enumerate(names)), **ignored}, remarks
    names = names or [f'class_{value}' for value in values]
    _check_count(names, values)
    return {**dict(zip(values, names, strict=True)), **ignored}, remarks


def _of_colours(values: list[Value], names: list[str]) -> tuple[dict, list[str]]:
    """Name of each colour, and what was assumed."""
    if not names:
        return {value: 'colour_{:02x}{:02x}{:02x}'.format(*value) for value in values}, []
    _check_count(names, values)
    labels = dict(zip(values, names, strict=True))
    pairs = ', '.join(f'{name} {value}' for value, name in labels.items())
    return labels, [f'colours were named in the order of red, green and blue: {pairs}']


def _check_count(names: Sequence[str], values: Sequence[Value]) -> None:
    if len(names) != len(values):
        raise InputError(
            f'{len(names)} classes are named ({", ".join(names[:8])}), and the masks have '
            f'{len(values)} values ({_listed(values)}): name as many, in that order'
        )


def _listed(values: Sequence[Value]) -> str:
    return ', '.join(map(str, values[:8])) + (', ...' if len(values) > 8 else '')


def _read_names(root: Path) -> list[str]:
    """The names that a file in the folder has, a line each."""
    file = next((root / name for name in _NAMES if (root / name).is_file()), None)
    return list(filter(None, map(str.strip, _lines(file)))) if file else []


def read_table(root: Path) -> dict[Value, str] | None:
    """Read what the values of masks are, where CVAT or Roboflow say it.

    That is ``labelmap.txt``, of colours, with lines ``name:r,g,b:parts:actions``, or
    ``_classes.csv`` in the folder or in one of a split, with lines ``value, name``.

    Raises:
        InputError: If the file has other lines.
    """
    table, file = {}, root / 'labelmap.txt'
    if is_map := file.is_file():
        rows = [line.split(':') for line in _lines(file) if line.strip() and line[0] != '#']
    else:
        files = [*root.glob('_classes.csv'), *sorted(root.glob('*/_classes.csv'))]
        rows = [line.split(',') for line in _lines(files[0])] if files else [['']]
        if rows[0][0].strip().lower() != 'pixel value':
            return None
        del rows[0]
        file = files[0]
    for row in rows:
        try:
            if is_map:
                red, green, blue = map(int, row[1].split(','))
                table[red, green, blue] = row[0].strip()
            elif any(row):
                table[int(row[0])] = row[1].strip()
        except (ValueError, IndexError):
            raise InputError(f'{file} does not say a class: {",".join(row)[:60]!r}') from None
    return table


def _lines(file: Path) -> list[str]:
    return file.read_text('utf-8-sig', errors='replace').splitlines()
