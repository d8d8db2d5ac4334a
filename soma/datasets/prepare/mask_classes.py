"""Finds out which classes masks have, and what their values mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...io.files import InputError
from ..label_files import why_unreadable
from ..labels import IGNORE

Value = int | tuple[int, int, int]
_MOST = 64  # colours; more are no classes but shades
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
        """The colours, if the masks have them."""
        named = {name: value for value, name in (self.label_map or {}).items() if name}
        if not all(isinstance(named.get(name), tuple) for name in self.names):
            return None
        return [list(named[name]) for name in self.names]


def count_values(file: Path) -> Counter[Value]:
    """The number of pixels of each value, or of each colour, of a mask.

    Raises:
        InputError: If it cannot be read, or has so many values that they are no classes.
    """
    try:
        with Image.open(file) as image:
            is_lossy = image.format in ('JPEG', 'MPO')
            pixels = np.array(image.convert('RGB') if image.mode in ('RGBA', 'LA') else image)
    except Exception as error:  # broken bytes can raise anything
        raise InputError(f'the mask {file} {why_unreadable(file, error)}') from error
    if is_lossy:
        raise InputError(f'the mask {file} is a JPEG, which blurs classes: save masks as PNG')
    coloured = pixels.ndim == 3 and (pixels != pixels[..., :1]).any()
    if coloured:
        pixels = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    elif pixels.ndim == 3:
        pixels = pixels[..., 0]
    amounts = np.bincount(pixels.ravel())
    values = np.flatnonzero(amounts).tolist()
    keys = [(v >> 16, v >> 8 & 255, v & 255) for v in values] if coloured else values
    if len(keys) > (_MOST if coloured else 256):
        raise InputError(
            f'the mask {file} has {len(keys)} different values, which are no classes: is it a '
            'photo, or was it resized smoothly?'
        )
    return Counter(dict(zip(keys, amounts[values].tolist(), strict=True)))


def find_classes(
    files: Sequence[Counter[Value]], root: Path, names: Sequence[str] | None = None
) -> MaskClasses:
    """Make classes of the values of masks.

    Args:
        files: The values of each mask.
        root: Folder that may have a ``classes.txt`` with a name a line, or CVAT's ``labelmap.txt``.
        names: Names of the classes; those of such a file, or made up, if None.

    Raises:
        InputError: If some masks have colours and others numbers, or the names do not fit.
    """
    values = sorted({value for file in files for value in file}, key=str)
    if len({type(value) for value in values}) > 1:
        grey = {(v, v, v) if isinstance(v, int) else v for v in values}
        files = [Counter({_as_colour(k): n for k, n in file.items()}) for file in files]
        values = sorted(grey)
    if len(values) > 256:
        raise InputError(f'the masks have {len(values)} different values: these are no classes')
    values.sort()
    names = list(names) if names else _read_names(root)
    if isinstance(values[0], tuple):
        labels, remarks = _of_colours(values, names, root)
    else:
        labels, remarks = _of_numbers(values, names)
    found = list(dict.fromkeys(name for name in labels.values() if name is not None))
    names = names if names and {*names} >= {*found} else found
    plain = all(
        value == (IGNORE if name is None else names.index(name)) for value, name in labels.items()
    )
    rows = np.zeros((len(files), len(names) + 1), np.int64)
    for row, file in zip(rows, files, strict=True):
        for value, amount in file.items():
            row[-1 if labels[value] is None else names.index(labels[value])] += amount
    return MaskClasses(names, None if plain else labels, rows, remarks)


def _as_colour(value: Value) -> Value:
    return (value, value, value) if isinstance(value, int) else value


def _of_numbers(values: list[int], names: list[str] | None) -> tuple[dict, list[str]]:
    """Name of each number, and what was assumed."""
    if values == [0, 255]:
        names = names or ['background', 'object']
        _check_count(names, 2, values)
        return dict(zip(values, names, strict=True)), ['0 and 255 were taken for two classes']
    remarks = []
    labels: dict[int, str | None] = {}
    if values[-1] == IGNORE and len(values) > 1:
        labels[values.pop()] = None
        remarks.append('255 does not count')
    if names and values[-1] < len(names):
        return {**{value: names[value] for value in values}, **labels}, remarks
    if not names and values[-1] < 2 * len(values):
        every = [f'class_{value}' for value in range(values[-1] + 1)]
        if values[0] == 0:
            missing = [str(value) for value in range(values[-1]) if value not in values]
            if missing:
                remarks.append(f'no mask has the value {", ".join(missing)}')
            return {**{value: every[value] for value in range(len(every))}, **labels}, remarks
    chosen = names or [f'class_{value}' for value in values]
    _check_count(chosen, len(values), values)
    return {**dict(zip(values, chosen, strict=True)), **labels}, remarks


def _of_colours(values: list[Value], names: list[str] | None, root: Path) -> tuple[dict, list[str]]:
    """Name of each colour, and what was assumed."""
    if table := _read_labelmap(root / 'labelmap.txt'):
        unknown = [value for value in values if value not in table]
        if unknown:
            raise InputError(f'{root / "labelmap.txt"} does not name the colour {unknown[0]}')
        return table, [f'the colours are named by {root / "labelmap.txt"}']
    chosen = names or ['colour_{:02x}{:02x}{:02x}'.format(*value) for value in values]
    _check_count(chosen, len(values), values)
    return dict(zip(values, chosen, strict=True)), []


def _check_count(names: Sequence[str], count: int, values: Sequence[Value]) -> None:
    if len(names) != count:
        listed = ', '.join(map(str, values[:8]))
        raise InputError(
            f'{len(names)} classes are named ({", ".join(names[:8])}), and the masks have {count} '
            f'values ({listed}): name as many, in that order'
        )


def _read_names(root: Path) -> list[str] | None:
    """The names that a file in the folder has, a line each."""
    for name in _NAMES:
        if (root / name).is_file():
            lines = [line.strip() for line in (root / name).read_text().splitlines()]
            return [line for line in lines if line] or None
    table = _read_labelmap(root / 'labelmap.txt')
    return list(dict.fromkeys(table.values())) if table else None


def _read_labelmap(file: Path) -> dict[Value, str]:
    """The colours of CVAT's ``labelmap.txt``: lines ``name:r,g,b:parts:actions``."""
    table = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        name, _, rest = line.partition(':')
        colour = rest.partition(':')[0].split(',')
        if not line.startswith('#') and len(colour) == 3:
            table[tuple(map(int, colour))] = name.strip()
    return table
