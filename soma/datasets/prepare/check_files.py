"""Looks for what is wrong with an image and its labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..label_files import orientation, shown_size, why_unreadable


class Fault(NamedTuple):
    """Something wrong with a file.

    Attributes:
        kind: In a word or two.
        file: The file or folder.
        text: What is wrong.
        breaks: Whether training or testing would fail on it, or learn nonsense.
    """

    kind: str
    file: str
    text: str
    breaks: bool = True


@dataclass(frozen=True)
class Pair:
    """An image and its labels.

    Attributes:
        image: File of the image.
        label: File of the labels; None if there are to be none.
        classes: Number K of classes.
        table: Class of each value of the labels (256,), see :func:`class_table`.
        smallest: What width and height must be at least.
    """

    image: Path
    label: Path | None
    classes: int
    table: np.ndarray
    smallest: int = 2


def check_pair(pair: Pair) -> tuple[list[Fault], np.ndarray | None]:
    """Read an image and its labels to their ends and compare them.

    Returns:
        What is wrong, and the number of pixels of each class and of what does not count (K + 1,)
        if the labels are good.
    """
    faults, counts, size = [], None, None
    if pair.label is not None and not pair.label.exists():
        text = f'its labels {pair.label} are missing: tools/convert_datasets makes them'
        faults.append(Fault('no label', str(pair.image), text))
    elif pair.label is not None:
        try:
            with Image.open(pair.label) as image:
                labels = np.array(image)
        except Exception as error:  # broken bytes can raise anything
            faults.append(unreadable(pair.label, error))
        else:
            size = labels.shape[1::-1]
            counts, in_labels = _check_values(pair, labels)
            faults += in_labels
    try:
        sizes = read_sizes(pair.image)
    except Exception as error:
        return [*faults, unreadable(pair.image, error)], counts
    faults += check_smallest(pair.image, sizes[1], pair.smallest)
    if size is not None:
        faults += check_sizes(pair.image, *sizes, size)
    return faults, counts


def read_sizes(path: Path) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Read an image to its end; its size as stored and as shown, and its EXIF orientation."""
    with Image.open(path) as image:
        image.load()
        return image.size, shown_size(image), orientation(image)


def unreadable(path: Path, error: Exception) -> Fault:
    """Say that a file could not be read, and why."""
    return Fault('unreadable', str(path), why_unreadable(path, error))


def _check_values(pair: Pair, labels: np.ndarray) -> tuple[np.ndarray | None, list[Fault]]:
    if labels.ndim != 2:
        text = f'has {labels.shape[2]} channels, labels have one'
        return None, [Fault('channels', str(pair.label), text)]
    outside = labels[(labels < 0) | (labels > 255)] if labels.dtype != np.uint8 else labels[:0]
    pixels = np.bincount(labels[(labels >= 0) & (labels < 256)].ravel(), minlength=256)
    known = pair.table >= 0
    wrong = [*np.flatnonzero(pixels * ~known), *np.unique(outside)]
    if wrong:
        number = pixels[~known].sum() + outside.size
        wrong_values = ', '.join(map(str, wrong[:5])) + (', ...' if len(wrong) > 5 else '')
        values = np.flatnonzero(known)
        parts = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
        labels = ', '.join(f'{p[0]} to {p[-1]}' if len(p) > 1 else str(p[0]) for p in parts)
        text = f'{number} pixels with the values {wrong_values}; labels are {labels}'
        return None, [Fault('values', str(pair.label), text)]
    counts = np.zeros(pair.classes + 1, np.int64)
    np.add.at(counts, pair.table[known], pixels[known])
    if not counts[:-1].any():
        fault = Fault('unlabelled', str(pair.label), 'nothing is labelled', False)
        return counts, [fault]
    return counts, []


def check_smallest(image: Path, size: tuple[int, int], smallest: int) -> list[Fault]:
    """Compare width and height with the least that a network can use."""
    if min(size) >= smallest:
        return []
    text = '{} x {} pixels, the network needs {} each way'.format(*size, smallest)
    return [Fault('too small', str(image), text)]


def check_sizes(image: Path, stored: tuple, shown: tuple, tag: int, labels: tuple) -> list[Fault]:
    """Compare sizes, which are width and height; images are loaded as they are to be shown."""
    file = str(image)
    if shown == labels:
        if tag == 1:
            return []
        text = f'is turned when it is loaded (EXIF orientation {tag}); are its labels, too?'
        return [Fault('turned', file, text, False)]
    text = '{} x {} pixels, its labels {} x {}'.format(*shown, *labels)
    if stored == labels:
        text = f'is turned when it is loaded (EXIF orientation {tag}), its labels are not: {text}'
        return [Fault('turned', file, text)]
    return [Fault('transposed' if shown == labels[::-1] else 'sizes', file, text)]
