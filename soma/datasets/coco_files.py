"""Reads COCO's JSON files, which hold the boxes of many images."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..io.files import InputError, atomic_path

TINY = 4  # pixels: thinner boxes are told of
_TOLERANCE = 0.5  # pixels that a rounded box may reach beyond its image


class CocoBox(NamedTuple):
    """One object.

    Attributes:
        category: Id of its class.
        box: Left, top, width and height in pixels, counted from 0.
        crowd: Whether tests leave it out.
        place: Its place among the file's annotations.
    """

    category: int | str
    box: tuple[float, float, float, float]
    crowd: bool = False
    place: int = 0


@dataclass
class CocoImage:
    """An image of a file.

    Attributes:
        id: Its id.
        name: Its file below the folder of the images.
        size: Width and height as the file says, None if it does not.
        place: Its place among the file's images.
        boxes: Its objects.
    """

    id: int | str
    name: str
    size: tuple[int, int] | None
    place: int = 0
    boxes: list[CocoBox] = field(default_factory=list)


@dataclass
class CocoFile:
    """What is in a file; masks and captions are left out.

    Attributes:
        path: The file.
        categories: Names of the classes by their ids, which are in order.
        images: The images in the order of the file.
        labelled: Whether there are annotations, be they none.
        faults: What is wrong with single entries, which are left out, by its kind.
    """

    path: Path
    categories: dict[int | str, str]
    images: list[CocoImage]
    labelled: bool
    faults: list[tuple[str, str]] = field(default_factory=list)


def read_coco(path: str | Path) -> CocoFile:
    """Read a file.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no JSON, or none with images and categories as COCO has them.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path} is no JSON file: {error}') from error
    for key in ('images', 'categories', 'annotations'):
        value = content.get(key) if isinstance(content, dict) else None
        if value is None and key == 'annotations' and key not in content:
            break
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise InputError(f'{path} is no JSON of COCO: it has no list of {key}')
    file = CocoFile(path, _categories(path, content['categories']), [], 'annotations' in content)
    _add_images(file, content['images'])
    _add_boxes(file, content.get('annotations', ()))
    return file


def write_part(file: CocoFile, images: Sequence[CocoImage], path: Path) -> None:
    """Write some of the images of a file, and their boxes, with all that the file says of them."""
    content = json.loads(file.path.read_bytes())
    boxes = sorted(box.place for image in images for box in image.boxes)
    content['images'] = [content['images'][image.place] for image in images]
    if file.labelled:
        content['annotations'] = [content['annotations'][place] for place in boxes]
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content))


def _categories(path: Path, entries: Sequence[Mapping]) -> dict[int | str, str]:
    pairs = [(entry.get('id'), entry.get('name')) for entry in entries]
    for pair in pairs:
        if not _is_id(pair[0]) or not isinstance(pair[1], str) or not pair[1].strip():
            raise InputError(f'{path}: a category needs an id and a name, got {pair}')
    if not pairs:
        raise InputError(f'{path} has no category: it needs the names of the classes')
    names = [name.lower() for _, name in pairs]
    for key, values in (('id', [identity for identity, _ in pairs]), ('name', names)):
        value, count = Counter(values).most_common(1)[0]
        if count > 1:
            raise InputError(f'{path} has {count} categories with the {key} {value!r}')
    return dict(sorted(pairs, key=lambda pair: (isinstance(pair[0], str), pair[0])))


def _add_images(file: CocoFile, entries: Sequence[Mapping]) -> None:
    ids, names = set(), set()
    for place, entry in enumerate(entries):
        identity, name = entry.get('id'), entry.get('file_name')
        if not isinstance(name, str) or not name or '\0' in name:
            fault = 'no name', f'the image {identity!r} has the file_name {name!r}'
        elif name.startswith('/') or '..' in name.split('/'):
            fault = 'outside folder', f'image {name} leads out of the folder of the images'
        elif not _is_id(identity):
            fault = 'no id', f'image {name} has the id {identity!r}: it must be a number or a text'
        elif identity in ids:
            fault = 'repeated', f'image {name} has the id {identity!r}, which another one has too'
        elif name in names:
            fault = 'repeated', f'image {name} is there twice, with the ids of two images'
        else:
            size = tuple(entry.get(key) for key in ('width', 'height'))
            size = tuple(map(int, size)) if all(_is_number(v) and v >= 1 for v in size) else None
            file.images.append(CocoImage(identity, name, size, place))
            ids.add(identity)
            names.add(name)
            continue
        file.faults.append(fault)


def _add_boxes(file: CocoFile, entries: Sequence[Mapping]) -> None:
    images, ids = {image.id: image for image in file.images}, set()
    for place, entry in enumerate(entries):
        identity, category, box = (entry.get(key) for key in ('id', 'category_id', 'bbox'))
        image = entry.get('image_id')
        image = images.get(image) if _is_id(image) else None
        if image is None:
            text = f'annotation {identity!r} is of the image {entry.get("image_id")!r}: none has it'
            file.faults.append(('unknown image', text))
            continue
        where = f'image {image.name}: annotation {identity!r}'
        if identity is not None and (not _is_id(identity) or identity in ids):
            fault = 'repeated', f'{where} has an id that another one has too'
        elif not _is_id(category) or category not in file.categories:
            fault = 'unknown class', f'{where} has the category_id {category!r}: no category has it'
        elif not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            fault = 'no box', f'{where} has the bbox {box!r}: it must be left, top, width, height'
        else:
            crowd = bool(entry.get('iscrowd') or entry.get('ignore'))
            image.boxes.append(CocoBox(category, tuple(map(float, box)), crowd, place))
            ids.add(identity)
            continue
        file.faults.append(fault)


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def sort_boxes(
    boxes: Sequence[CocoBox], size: tuple[int, int]
) -> tuple[list[CocoBox], dict[str, list[CocoBox]]]:
    """Tell the boxes that can be used from the others.

    Args:
        boxes: Those of an image.
        size: Its width and height.

    Returns:
        The boxes that can be used, and those that are odd by kind: ``no size`` (thinner than a
        pixel) and ``outside`` the image, which cannot, ``beyond`` its edges in part and ``tiny``.
    """
    good, odd = [], {}
    for box in boxes:
        left, top, width, height = box.box
        right, bottom = left + width, top + height
        if min(width, height) < 1:
            odd.setdefault('no size', []).append(box)
        elif min(right, size[0]) <= max(left, 0) or min(bottom, size[1]) <= max(top, 0):
            odd.setdefault('outside', []).append(box)
        else:
            good.append(box)
            over = max(-left, -top, right - size[0], bottom - size[1])
            if over > _TOLERANCE:
                odd.setdefault('beyond', []).append(box)
            if min(width, height) < TINY:
                odd.setdefault('tiny', []).append(box)
    return good, odd


def describe(kind: str, boxes: Sequence[CocoBox], names: Mapping, size: tuple[int, int]) -> str:
    """Say in words which boxes are odd, and name the first."""
    many = f'{len(boxes)} boxes' if len(boxes) > 1 else '1 box'
    what = {
        'no size': 'thinner than a pixel',
        'outside': 'outside the {} x {} pixels'.format(*size),
        'beyond': 'partly beyond the {} x {} pixels'.format(*size),
        'tiny': f'thinner than {TINY} pixels',
    }[kind]
    first = ', '.join(f'{value:g}' for value in boxes[0].box)
    return f'{many} {what}: {names[boxes[0].category]} [{first}]'
