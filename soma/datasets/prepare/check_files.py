"""Looks for what is wrong with an image and its labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..label_files import orientation, shown_size, why_unreadable
from ..label_reader import LabelError, LabelReader


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
        reader: Of the labels.
        smallest: What width and height must be at least.
    """

    image: Path
    label: Path | None
    reader: LabelReader
    smallest: int = 2


def check_pair(pair: Pair) -> tuple[list[Fault], np.ndarray | None]:
    """Read an image and its labels to their ends and compare them.

    Returns:
        What is wrong, and the number of pixels of each class and of what does not count (K + 1,)
        if the labels are good.
    """
    faults, counts, labels = [], None, None
    try:
        stored, shown, tag = read_sizes(pair.image)
        shape = shown[::-1]
    except Exception as error:  # broken bytes can raise anything
        faults, shape = [unreadable(pair.image, error)], None
    else:
        faults = check_smallest(pair.image, shown, pair.smallest)
    if pair.label is not None and not pair.label.exists():
        text = f'its labels {pair.label} are missing'
        if pair.label.stem.endswith('TrainIds'):
            text += ': tools/convert_datasets makes them'
        faults.append(Fault('no label', str(pair.image), text))
    elif pair.label is not None:
        try:
            labels = pair.reader.read(pair.label, shape, lambda: pair.image)
        except LabelError as error:
            faults.append(Fault(error.kind, str(pair.label), f'the labels {error}'))
        except Exception as error:
            faults.append(unreadable(pair.label, error))
    if labels is not None:
        counts = _count(pair.reader, labels)
        if not counts[:-1].any():
            faults.append(Fault('unlabelled', str(pair.label), 'nothing is labelled', False))
        if shape is not None:
            faults += check_sizes(pair.image, stored, shown, tag, labels.shape[::-1])
    return faults, counts


def _count(reader: LabelReader, labels: np.ndarray) -> np.ndarray:
    """Pixels of each class, and of what does not count (K + 1,)."""
    pixels = np.bincount(labels.ravel(), minlength=max(256, reader.classes))
    ignored = pixels[reader.ignore_index]
    pixels[reader.ignore_index] = 0
    return np.append(pixels[: reader.classes], ignored)


def read_sizes(path: Path) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Read an image to its end; its size as stored and as shown, and its EXIF orientation."""
    with Image.open(path) as image:
        image.load()
        return image.size, shown_size(image), orientation(image)


def unreadable(path: Path, error: Exception) -> Fault:
    """Say that a file could not be read, and why."""
    return Fault('unreadable', str(path), why_unreadable(path, error))


def check_smallest(image: Path, size: tuple[int, int], smallest: int) -> list[Fault]:
    """Compare width and height with the least that a network can use."""
    if min(size) >= smallest:
        return []
    text = '{} x {} pixels, the network needs {} each way'.format(*size, smallest)
    return [Fault('too small', str(image), text)]


def check_sizes(
    image: Path, stored: tuple, shown: tuple, tag: int, labels: tuple | None
) -> list[Fault]:
    """Compare sizes, which are width and height; images are loaded as they are to be shown.

    Where these do not tell that the labels of a turned image are turned, too, this is told of.
    """
    file = str(image)
    if labels in (None, shown):
        if tag == 1 or (labels and stored != shown):
            return []
        text = f'is turned when it is loaded (EXIF orientation {tag}); are its labels, too?'
        return [Fault('turned', file, text, False)]
    text = '{} x {} pixels, its labels {} x {}'.format(*shown, *labels)
    if stored == labels:
        text = f'is turned when it is loaded (EXIF orientation {tag}), its labels are not: {text}'
        return [Fault('turned', file, text)]
    return [Fault('transposed' if shown == labels[::-1] else 'sizes', file, text)]
