"""Makes COCO's JSON of boxes in YOLO's text files."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image

from ...io.files import InputError, atomic_path, check_folder, write_json
from ...utils.parallel import run_parallel
from ..image_files import list_files, without_suffix
from ..label_files import shown_size, why_unreadable
from .convert import REPORT, Summary, link_folder
from .counts import Counts

SPLITS = ('train', 'val', 'valid', 'test')
_CLASSES = ('classes.txt', 'labels/classes.txt')
_FAR = 1  # shares of the image that a box may reach beyond it before it is none of shares


@dataclass(frozen=True)
class YoloImage:
    """An image to read the boxes of.

    Attributes:
        image: The image.
        label: Its text file, which an image without boxes need not have.
        classes: The numbers of the classes.
        points: Whether key points follow the box in a line, instead of polygons in its place.
    """

    image: Path
    label: Path
    classes: frozenset[int]
    points: bool = False


class YoloBoxes(NamedTuple):
    """The boxes of an image.

    Attributes:
        size: Width and height of the image as it is shown, which YOLO's shares are of.
        boxes: Class, and left, top, width and height in pixels.
        failure: Why they could not be read, or ''.
        remark: What is unusual about them, or ''.
    """

    size: tuple[int, int] = (0, 0)
    boxes: Sequence[tuple[int, list[float]]] = ()
    failure: str = ''
    remark: str = ''


def read_yolo(item: YoloImage) -> YoloBoxes:
    """Read the boxes of an image; what is wrong with them does not stop the others."""
    try:
        with Image.open(item.image) as image:
            size = shown_size(image)
    except Exception as error:  # broken bytes can raise anything
        return YoloBoxes(failure=f'its image {item.image} {why_unreadable(item.image, error)}')
    try:
        text = item.label.read_text('utf-8-sig') if item.label.exists() else ''
    except (OSError, UnicodeDecodeError) as error:
        return YoloBoxes(failure=why_unreadable(item.label, error))
    boxes, odd, seen = [], Counter(), {''}
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        odd['there twice'] += bool(line) and line in seen
        if line in seen:
            continue
        seen.add(line)
        try:
            label, shares = _parse(line, item)
        except ValueError as error:
            return YoloBoxes(failure=f'has in line {number} {error}')
        inside = np.clip(shares, 0, 1)
        left, top, right, bottom = (inside * (*size, *size)).tolist()
        if right - left < 1 or bottom - top < 1:
            odd['thinner than a pixel, left out'] += 1
            continue
        odd['cut at the edges of the image'] += np.abs(shares - inside).max() * max(size) > 1
        boxes.append((label, [round(v, 3) for v in (left, top, right - left, bottom - top)]))
    remarks = ', '.join(f'{count} {what}' for what, count in odd.items() if count)
    return YoloBoxes(size, boxes, '', f'has boxes: {remarks}' if remarks else '')


def _parse(line: str, item: YoloImage) -> tuple[int, np.ndarray]:
    """Class of a line, and left, top, right and bottom as shares of the image.

    Raises:
        ValueError: It is no line of YOLO's, says the end of a sentence about the file.
    """
    try:
        label, *values = map(float, line.split())
    except ValueError:
        raise ValueError(f'no numbers: {line[:40]!r}') from None
    if label not in item.classes:
        raise ValueError(f'the class {label:g}, which has no name')
    points = np.array(values[:4] if item.points else values)
    if points.size == 4:
        corners = np.concatenate([points[:2] - points[2:] / 2, points[:2] + points[2:] / 2])
    elif points.size >= 6 and points.size % 2 == 0:  # a polygon
        points = points.reshape(-1, 2)
        corners = np.concatenate([points.min(0), points.max(0)])
    else:
        raise ValueError(f'{len(values) + 1} numbers: a class and 4 of a box, or a polygon')
    if not np.isfinite(corners).all() or corners.min() < -_FAR or corners.max() > 1 + _FAR:
        raise ValueError(f'what is no share of width and height: {line[:40]!r}; are these pixels?')
    return int(label), corners


def read_names(root: Path) -> tuple[dict[int, str], dict]:
    """Read the names of the classes by their numbers, and the rest of ``data.yaml``.

    Raises:
        FileNotFoundError: There is no such file, and no ``classes.txt``.
        InputError: It cannot be read, or names no classes.
    """
    files = [root / 'data.yaml', *sorted(root.glob('*.y*ml'))]
    if file := next((path for path in files if path.is_file()), None):
        try:
            content = yaml.safe_load(file.read_bytes())
        except yaml.YAMLError as error:
            raise InputError(f'{file} is no YAML: {" ".join(str(error).split())}') from error
        names = content.get('names') if isinstance(content, dict) else None
    else:
        file, content = next((root / n for n in _CLASSES if (root / n).is_file()), None), {}
        if file is None:
            raise FileNotFoundError(f'expected {root}/data.yaml or {root}/classes.txt, found none')
        lines = file.read_text(errors='replace').splitlines()
        names = [line.strip() for line in lines if line.strip()]
    names = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(names, dict) or not names or not all(isinstance(n, int) for n in names):
        raise InputError(f'{file} has no names: a list of the classes, or their names by number')
    if content.get('nc', len(names)) != len(names):
        raise InputError(f'{file} has nc: {content["nc"]}, and names of {len(names)} classes')
    names = {number: str(name).strip() for number, name in sorted(names.items())}
    name, count = Counter(map(str.lower, names.values())).most_common(1)[0]
    if count > 1 or '' in names.values():
        raise InputError(f'{file} has {count} classes of the name {name!r}: names must differ')
    return names, content


def find_splits(root: Path, content: Mapping) -> dict[str, list[Path]]:
    """Find the images of each split: those of ``data.yaml``, else of folders that are called so.

    A ``val`` or ``test`` that ``data.yaml`` names may be missing, as in exports of Roboflow.

    Raises:
        FileNotFoundError: There is no image, or no folder that it names, in the root.
    """
    named = {split: content[split] for split in SPLITS if content.get(split)}
    if not named:
        for split in SPLITS:
            folders = [f for f in (f'images/{split}', f'{split}/images') if (root / f).is_dir()]
            named |= {split: folders} if folders else {}
    if not named:
        named = {'all': 'images' if (root / 'images').is_dir() else '.'}
    splits = {}
    for split, entries in named.items():
        entries = entries if isinstance(entries, list) else [entries]
        try:
            paths = [_inside(root, content, str(entry)) for entry in entries]
        except FileNotFoundError:
            if 'train' not in splits:
                raise
            continue
        images = [image for path in paths for image in _images_of(root, content, path)]
        if not images:
            raise FileNotFoundError(f'expected images in {root}/{entries[0]}, found none')
        splits[split] = list(dict.fromkeys(images))
    return splits


def _images_of(root: Path, content: Mapping, path: Path) -> list[Path]:
    """The images of a folder, or of a list of them."""
    if path.is_dir():
        files = [file for file in list_files(path) if without_suffix(file, None) is not None]
        return [path / file for file in files if path != root or '/' not in file]
    lines = filter(None, map(str.strip, path.read_text(errors='replace').splitlines()))
    return [_inside(root, content, line) for line in lines]


def _inside(root: Path, content: Mapping, entry: str) -> Path:
    """A file or folder that ``data.yaml`` names; its paths often begin elsewhere."""
    below = entry
    while below.startswith(('./', '../')):
        below = below.partition('/')[2]
    for name in (entry, os.path.join(str(content.get('path', '')), entry), below):
        path = os.path.relpath(root / name, root)
        if not path.startswith('..') and (root / path).exists():
            return root / path
    raise FileNotFoundError(f'{entry}, which is to have images, is not in {root}')


def _label_of(root: Path, image: Path) -> Path:
    """The text file of an image: in ``labels`` for ``images``, else beside it."""
    parts = list(image.relative_to(root).parts)
    if 'images' in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index('images')] = 'labels'
    return Path(root, *parts).with_suffix('.txt')


def convert_yolo(root: str | Path, out: str | Path | None = None, nproc: int = 1) -> Summary:
    """Make a JSON file of each split, ``annotations_<split>.json``.

    The names of images in it count from `out`, which has links to their folders if it is not
    `root`. Images whose boxes cannot be read are left out of it.

    Args:
        root: Folder with ``data.yaml`` or ``classes.txt``.
        out: Folder to write to; `root` by default.
        nproc: Number of processes.

    Returns:
        What was made; ``conversion.json`` in `out` is the report.

    Raises:
        FileNotFoundError: Names, or images, are not where they are looked for.
        InputError: They cannot be read, or nothing can be written to `out`.
    """
    root, out = Path(root), Path(out or root)
    names, content = read_names(root)
    splits = find_splits(root, content)
    check_folder(out)
    images = [image for split in splits.values() for image in split]
    for folder in {image.relative_to(root).parts[0] for image in images}:
        if out.resolve() != root.resolve():
            link_folder(out / folder, root / folder)
    classes, points = frozenset(names), 'kpt_shape' in content
    items = [YoloImage(image, _label_of(root, image), classes, points) for image in images]
    results = dict(zip(images, run_parallel(read_yolo, items, nproc, 'reading'), strict=True))
    counts, made = Counts([*names.values()], 'boxes'), 0
    for split, paths in splits.items():
        good = {p.relative_to(root): results[p] for p in paths if not results[p].failure}
        made += _write(out / f'annotations_{split}.json', names, good, counts)
    by_label = {str(item.label): results[item.image] for item in items}
    shared = Counter(str(label) for _, label in {(item.image, item.label) for item in items})
    failures = {name: found.failure for name, found in by_label.items() if found.failure}
    remarks = {name: found.remark for name, found in by_label.items() if found.remark}
    absent = [content[split] for split in SPLITS if content.get(split) and split not in splits]
    remarks |= {str(entry): 'is not there, and data.yaml names it' for entry in absent}
    remarks |= {name: f'is of {n} images of this name' for name, n in shared.items() if n > 1}
    for folder in sorted({item.label.parent for item in items} - {root}):
        for path in sorted(folder.glob('*.txt')):
            if str(path) not in by_label and path.name != 'classes.txt':
                remarks[str(path)] = 'has no image'
    report = {'failures': failures, 'remarks': remarks, **counts.to_dict()}
    write_json(report, out / REPORT)
    return Summary(made, len(splits) - made, len(failures), failures, remarks, counts, images)


def _write(
    path: Path, names: Mapping[int, str], images: Mapping[Path, YoloBoxes], counts: Counts
) -> bool:
    """Write and count the boxes of a split, unless the file holds just these."""
    content = {
        'images': [],
        'categories': [dict(id=number, name=name) for number, name in names.items()],
        'annotations': [],
    }
    for identity, (name, found) in enumerate(images.items(), 1):
        size = dict(width=found.size[0], height=found.size[1])
        content['images'].append(dict(id=identity, file_name=name.as_posix(), **size))
        for number, box in found.boxes:
            entry = dict(id=len(content['annotations']) + 1, image_id=identity, category_id=number)
            entry |= dict(bbox=box, area=round(math.prod(box[2:]), 3), iscrowd=0)
            content['annotations'].append(entry)
        labels = [number for number, _ in found.boxes]
        counts.add(np.array([labels.count(number) for number in names]))
    text = json.dumps(content)
    if path.exists() and path.read_text() == text:
        return False
    with atomic_path(path) as temporary:
        temporary.write_text(text)
    return True
