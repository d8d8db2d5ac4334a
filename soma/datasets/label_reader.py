"""Reads the label files of a dataset: what a value or a colour means is said once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from ..io.files import InputError
from .label_files import SCALED, orientation, turn
from .labels import IGNORE

REST = '*'
Colour = tuple[int, int, int]
_COLOUR_MODES = ('RGB', 'RGBA', 'P', 'PA', 'L', 'LA', '1')
_MANY = 40  # different values without a meaning, which no label tool makes


class LabelError(ValueError):
    """Labels that cannot be used; ``the labels`` and the message make a sentence.

    Attributes:
        kind: In a word or two.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class LabelReader:
    """Reads label files as classes.

    Args:
        meanings: Label of each value, or of each colour: a place in the classes, or
            ``ignore_index``.
        classes: Number of classes, fewer than 255.
        ignore_index: Label of what does not count, from 0 to 255.
        rest: Label of all other values; None if they are an error.
        named: Whether ``label_map`` has said what they mean.
        turns: Whether labels that lie as their image is stored are turned as it is shown.
    """

    def __init__(
        self,
        meanings: Mapping[int, int] | Mapping[Colour, int],
        classes: int,
        ignore_index: int = IGNORE,
        rest: int | None = None,
        named: bool = False,
        turns: bool = True,
    ) -> None:
        self.meanings, self.classes, self.ignore_index = dict(meanings), classes, ignore_index
        self.rest, self.named, self.turns = rest, named, turns
        self.of_colours = any(isinstance(key, tuple) for key in meanings)
        free = {*range(256)} - {*meanings.values(), ignore_index}
        self._unknown = max(free, default=None)
        if not free:  # as in a dataset of mmseg with more classes than 8 bits have values
            self.rest = ignore_index

    @property
    def is_plain(self) -> bool:
        """Whether the values are the labels."""
        return self.rest is None and all(key == label for key, label in self.meanings.items())

    def read(
        self,
        file: Path | BinaryIO,
        shape: tuple[int, int] | None = None,
        image: Callable[[], Path | BinaryIO] | None = None,
    ) -> np.ndarray:
        """Read a label file to its end.

        Args:
            file: A file of palette indices or numbers, or of colours, without loss.
            shape: Height and width of the image as it was loaded.
            image: Gives the file of the image, which is looked at where the labels lie across.

        Returns:
            Labels ``(h, w)``, uint8, turned as the EXIF orientation of the file says; where it
            has none, as that of the image if the sizes tell that they lie as it is stored. Of
            square ones, and of half turns, they do not.

        Raises:
            LabelError: If it does not hold a class for each pixel.
            OSError: If it is missing, cut off or no image.
        """
        with Image.open(file) as content:
            labels, tag = self._labels(content), orientation(content)
        across = self.turns and shape is not None and labels.shape == shape[::-1] != shape
        if tag == 1 and across and image is not None:
            with Image.open(image()) as shown:
                tag = orientation(shown)
            tag = tag if tag >= 5 else 1
        return turn(labels, tag) if self.turns else labels

    def _labels(self, image: Image.Image) -> np.ndarray:
        values = read_pixels(image, self.of_colours)
        make_table = _colour_table if self.of_colours else _number_table
        rest = self._unknown if self.rest is None else self.rest
        table = make_table(tuple(self.meanings.items()), rest)
        if values.dtype == np.uint8:
            labels = cv2.LUT(np.ascontiguousarray(values), table[:256])  # faster than indexing
        elif self.of_colours:
            labels = table[values]
        else:  # some may be beyond the table
            last = len(table) - 1
            labels = table[np.where((values < 0) | (values > last), last, values)]
        if self.rest is None and (wrong := labels == self._unknown).any():
            raise LabelError('values', self._say_unknown(values[wrong]))
        return labels

    def _say_unknown(self, pixels: np.ndarray) -> str:
        values = np.unique(pixels)
        names = [str(unpacked(int(v)) if self.of_colours else v) for v in values[:5]]
        text = f'hold {", ".join(names)}{", ..." if len(values) > 5 else ""}'
        if self.named:
            text += f", which label_map does not name: name each, or '{REST}' for all others"
        else:
            text += f': neither one of the {self.classes} classes nor {self.ignore_index}'
        if len(values) > _MANY:
            text += '; so many come of JPEG or of smooth resizing, which blur classes'
        return f'{text} ({pixels.size} pixels)'


def read_pixels(image: Image.Image, of_colours: bool) -> np.ndarray:
    """Read an image to its end as values (h, w) of labels.

    Args:
        image: Palette indices, numbers or colours, without loss.
        of_colours: Whether to give colours, each as :func:`unpacked` takes it, and not numbers.

    Raises:
        LabelError: If it holds something else, of kind ``channels`` if these are colours.
        OSError: If it is cut off.
    """
    if image.format in ('JPEG', 'MPO'):
        text = 'are a JPEG, which blurs classes into each other: write PNG where they were made'
        raise LabelError('JPEG', text)
    raw = str(image.tile[0][3]) if image.tile else ''
    image.load()  # to the end
    if image.mode in ('RGB', 'RGBA', 'LA') and '16' in raw:
        raise LabelError('bits', 'have 16 bits a colour: write them with 8')
    if 'A' in image.getbands() and image.getchannel('A').getextrema()[0] < 255:
        text = 'are transparent in places, so that their classes are not certain'
        raise LabelError('transparent', text)
    return _packed(image) if of_colours else _numbers(image, raw)


def _numbers(image: Image.Image, raw: str) -> np.ndarray:
    """Palette indices or numbers (h, w) of an image, also of grey that is stored as colours."""
    if image.mode in ('PA', 'LA'):
        image = image.getchannel(0)
    if image.mode in ('RGB', 'RGBA'):
        colours = np.asarray(image)[..., :3]
        if (colours != colours[..., :1]).any():
            text = "are colours: say what each means (label_map={(255, 0, 0): 'car'}, or 'palette')"
            raise LabelError('channels', text)
        return colours[..., 0]
    if image.mode not in ('P', 'L', 'I', '1') and not image.mode.startswith('I;16'):
        raise LabelError('channels', f'have pixels of the kind {image.mode}, none of classes')
    values = np.asarray(image)
    if raw in SCALED:
        values = values // SCALED[raw]
    return values.astype(np.uint8) if values.dtype == bool else values


def _packed(image: Image.Image) -> np.ndarray:
    """Colours (h, w) of an image in one number each: red + 256 green + 65536 blue."""
    if image.mode not in _COLOUR_MODES:
        raise LabelError('channels', f'have pixels of the kind {image.mode}, none of colours')
    if image.mode != 'RGBA':
        image = image.convert('RGB').convert('RGBA')
    return np.asarray(image).view('<u4')[..., 0] & 0xFFFFFF


def unpacked(value: int) -> Colour:
    """Red, green and blue of a packed colour."""
    return value & 255, value >> 8 & 255, value >> 16


@cache
def _number_table(meanings: tuple[tuple[int, int], ...], rest: int) -> np.ndarray:
    """Label of each value, and in the last place that of values beyond."""
    table = np.full(max(256, *(value + 1 for value, _ in meanings)) + 1, rest, np.uint8)
    for value, label in meanings:
        table[value] = label
    return table


@cache
def _colour_table(meanings: tuple[tuple[Colour, int], ...], rest: int) -> np.ndarray:
    """Label of each packed colour: 16 MB, which look-ups need no search in."""
    table = np.full(1 << 24, rest, np.uint8)
    for (red, green, blue), label in meanings:
        table[red | green << 8 | blue << 16] = label
    return table


def reader_of_values(
    classes: int,
    ignore_index: int = IGNORE,
    label_map: Mapping[int, int] | None = None,
    reduce_zero_label: bool = False,
    turns: bool = True,
) -> LabelReader:
    """Make the reader of values that are labels, or become labels as mmseg makes them.

    Args:
        classes: As for :class:`LabelReader`.
        ignore_index: As for :class:`LabelReader`.
        label_map: Label of each train id that the classes were chosen from.
        reduce_zero_label: Whether 0 does not count, and 1 is the first label.
        turns: As for :class:`LabelReader`.
    """
    meanings = {}
    for value in range(256):
        label = value
        if reduce_zero_label:
            label = ignore_index if value in (0, 255) else value - 1
        label = (label_map or {}).get(label, label)
        if label < classes or label == ignore_index:
            meanings[value] = label
    return LabelReader(meanings, classes, ignore_index, turns=turns)


def reader_of_map(
    label_map: Mapping | str,
    names: Sequence[str],
    palette: Sequence[Sequence[int]] | None,
    ignore_index: int = IGNORE,
) -> LabelReader:
    """Make the reader of a ``label_map`` as :class:`~.domain_dataset.DomainDataset` takes it.

    Raises:
        InputError: If it is no such map, or a class has no value.
    """
    if label_map == 'palette':
        if palette is None:
            raise InputError("label_map='palette' needs the colours of the classes: write palette")
        label_map = dict(zip((tuple(colour) for colour in palette), names, strict=True))
        if len(label_map) < len(names):
            raise InputError("label_map='palette' needs a palette of different colours")
    if not isinstance(label_map, Mapping) or not label_map:
        raise InputError(
            "label_map must be 'palette' or say which class each value or colour is, got "
            f'{label_map!r}'
        )
    meanings = {key: _label(key, name, names, ignore_index) for key, name in label_map.items()}
    rest = meanings.pop(REST, None)
    kinds = {_kind(key) for key in meanings}
    if len(kinds) != 1 or None in kinds:
        raise InputError(
            'label_map needs values from 0 to 65535, or colours (red, green, blue), and perhaps '
            f"'{REST}' for all others; got {', '.join(map(repr, label_map))}"
        )
    unused = [name for i, name in enumerate(names) if i not in {*meanings.values(), rest}]
    if unused:
        raise InputError(f'label_map has no value for {", ".join(unused)}')
    if kinds == {int}:
        meanings.setdefault(ignore_index, ignore_index)
    return LabelReader(meanings, len(names), ignore_index, rest, named=True)


def _label(key: object, name: object, names: Sequence[str], ignore_index: int) -> int:
    """The label of a class; that of what does not count for None."""
    if name is None:
        return ignore_index
    if name not in names:
        known = ', '.join(names)
        raise InputError(f'label_map[{key!r}]={name!r} is none of {known}; None is not counted')
    return list(names).index(name)


def _kind(key: object) -> type | None:
    """What a key of a ``label_map`` is: ``int``, ``tuple``, or None for neither."""
    if isinstance(key, tuple) and len(key) == 3 and all(_is_below(part, 256) for part in key):
        return tuple
    return int if _is_below(key, 1 << 16) else None


def _is_below(value: object, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < end
