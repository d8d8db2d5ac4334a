"""Reads and writes the XML files of Pascal VOC, which hold the boxes of one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from ..io.files import atomic_path


class VOCBox(NamedTuple):
    """One object.

    Attributes:
        name: Its class.
        corners: First column, first row, last column and last row, counted from 1.
        difficult: Whether tests leave it out.
        truncated: Whether it goes on beyond the image.
    """

    name: str
    corners: tuple[int, int, int, int]
    difficult: bool = False
    truncated: bool = False


def read_voc(path: str | Path) -> tuple[tuple[int, int] | None, list[VOCBox]]:
    """Read the boxes of an image.

    Returns:
        Width and height in the file, None if there are none, and the objects. Their classes are
        without capitals and without blanks around.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no XML, or lacks what VOC files have.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (SyntaxError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise ValueError(f'is no XML: {error}') from error
    size = root.find('size')
    if size is not None:
        size = tuple(_number(size, key, int) for key in ('width', 'height'))
    return size, [_read_box(element) for element in root.findall('object')]


def tidy_boxes(
    boxes: Sequence[VOCBox], size: tuple[int, int], classes: Sequence[str]
) -> tuple[list[VOCBox], dict[str, str]]:
    """Clip boxes to their image and drop those that are no good.

    Args:
        boxes: The objects.
        size: Width and height of the image.
        classes: The classes that there are.

    Returns:
        The good boxes, and what was odd by its kind: ``unknown class``, ``empty box`` (without
        width or height), ``outside`` the image, or ``beyond`` its edges in part.
    """
    odd: dict[str, list[VOCBox]] = {}
    good = []
    for box in boxes:
        left, top, right, bottom = box.corners
        x0, x1 = (min(max(x, 1), size[0]) for x in (left, right))
        y0, y1 = (min(max(y, 1), size[1]) for y in (top, bottom))
        if box.name not in classes:
            odd.setdefault('unknown class', []).append(box)
        elif right <= left or bottom <= top:
            odd.setdefault('empty box', []).append(box)
        elif x1 <= x0 or y1 <= y0:
            odd.setdefault('outside', []).append(box)
        else:
            if (x0, y0, x1, y1) != box.corners:
                odd.setdefault('beyond', []).append(box)
            good.append(box._replace(corners=(x0, y0, x1, y1)))
    if not boxes:
        return [], {'no box': 'no object'}
    return good, {kind: _describe(kind, odd[kind], size) for kind in odd}


def _describe(kind: str, boxes: list[VOCBox], size: tuple[int, int]) -> str:
    many = f'{len(boxes)} objects' if len(boxes) > 1 else '1 object'
    if kind == 'unknown class':
        names = ', '.join(repr(name) for name in dict.fromkeys(box.name for box in boxes))
        return f'{many} of classes that there are not: {names}'
    what = {
        'empty box': 'whose box has no width or no height',
        'outside': 'whose box is outside the {} x {} pixels'.format(*size),
        'beyond': 'whose box reaches beyond the {} x {} pixels'.format(*size),
    }[kind]
    return f'{many} {what}: {boxes[0].name} {boxes[0].corners}'


def count_boxes(boxes: Sequence[VOCBox], classes: Sequence[str]) -> np.ndarray:
    """How many boxes there are of each of the K classes (K,)."""
    return np.array([sum(box.name == name for box in boxes) for name in classes])


def _read_box(element: ElementTree.Element) -> VOCBox:
    name, corners = element.find('name'), element.find('bndbox')
    if name is None or corners is None:
        raise ValueError('has an object without a name or a bndbox')
    return VOCBox(
        (name.text or '').strip().lower(),
        tuple(_number(corners, key) for key in ('xmin', 'ymin', 'xmax', 'ymax')),
        element.find('difficult') is not None and bool(_number(element, 'difficult', int)),
        element.findtext('truncated', '').strip() == '1',  # nothing here depends on it
    )


def _number(element: ElementTree.Element, key: str, kind: type = float) -> int:
    text = element.findtext(key)
    try:
        return int(kind(text))
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f'has {text!r} where the number {key} belongs') from None


def write_voc(path: Path, image: str, size: tuple[int, int], boxes: Sequence[VOCBox]) -> bool:
    """Write the boxes of an image of a name and a size, unless the file holds just these.

    Returns:
        Whether the file was written.
    """
    text = _text(image, size, boxes)
    if path.exists() and path.read_bytes() == text.encode():
        return False
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())
    return True


def _text(image: str, size: tuple[int, int], boxes: Sequence[VOCBox]) -> str:
    root = ElementTree.Element('annotation')
    ElementTree.SubElement(root, 'filename').text = image
    _add(ElementTree.SubElement(root, 'size'), width=size[0], height=size[1], depth=3)
    for box in boxes:
        element = ElementTree.SubElement(root, 'object')
        _add(element, name=box.name, difficult=int(box.difficult), truncated=int(box.truncated))
        corners = zip(('xmin', 'ymin', 'xmax', 'ymax'), box.corners, strict=True)
        _add(ElementTree.SubElement(element, 'bndbox'), **dict(corners))
    ElementTree.indent(root)
    return ElementTree.tostring(root, 'unicode') + '\n'


def _add(element: ElementTree.Element, **values: str | int) -> None:
    for key, value in values.items():
        ElementTree.SubElement(element, key).text = str(value)
