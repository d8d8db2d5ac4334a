"""A folder of one's own images with boxes in COCO's JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...io.files import InputError
from ..coco_files import CocoFile, read_coco, write_part
from ..image_files import list_files
from .counts import Counts
from .own_data import OwnData, assign_splits
from .scan import split_of

_KEYS = {'images', 'annotations', 'categories'}


def find_coco(root: Path) -> dict[str, Path]:
    """Find JSON files of COCO's kind in a folder, by split: ``train``, ``val``, ``test`` or ''.

    Raises:
        InputError: If there are several of a split.
    """
    files: dict[str, Path] = {}
    for name in list_files(root):
        path = root / name
        if path.suffix.lower() != '.json' or not _is_coco(path):
            continue
        split = split_of(Path(name))
        if split in files:
            raise InputError(f'{files[split]} and {path} both have boxes: move one elsewhere')
        files[split] = path
    return files


def read_boxes(root: Path, out: Path, classes: Sequence[str] | None, val_split: float) -> OwnData:
    """Read the JSON files of a folder, and write one for each split that is drawn.

    Args:
        root: The folder.
        out: The config, beside which files are written.
        classes: Names of the classes to find; all if None.
        val_split: Share of the images to validate on, where the folder has no split.

    Raises:
        InputError: As for :func:`~..coco_files.read_coco`; if images are missing.
    """
    files = {split: read_coco(path) for split, path in find_coco(root).items()}
    first = next(iter(files.values()))
    names = list(classes or first.categories.values())
    rows = {split: _count(file, names) for split, file in files.items()}
    sizes = Counter(i.size for file in files.values() for i in file.images if i.size)
    splits, counts = {}, {}
    for name, (source, indices) in assign_splits(rows, val_split).items():
        file = files[source]
        path = file.path
        if len(indices) < len(file.images):
            path = out.with_name(f'{out.stem}_{name}.json')
            write_part(file, [file.images[index] for index in indices], path)
        folder = _image_folder(root, file)
        splits[name] = dict(ann_file=str(path), data_prefix=dict(img=folder))
        counts[name] = Counts(names, 'boxes')
        for index in indices:
            counts[name].add(rows[source][index])
    options = dict(data_root=str(root), classes=names)
    remarks = [f'{text}: left out' for file in files.values() for _, text in file.faults[:3]]
    return OwnData(options, splits, names, counts, sizes, remarks)


def _is_coco(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.keys() >= _KEYS


def _count(file: CocoFile, names: Sequence[str]) -> np.ndarray:
    """Boxes of each class in each image, shape ``(images, classes)``."""
    if unknown := [name for name in names if name not in file.categories.values()]:
        known = ', '.join(file.categories.values())
        raise InputError(f'{file.path} has no category {unknown[0]!r}: it has {known}')
    rows = np.zeros((len(file.images), len(names)), np.int64)
    for row, image in zip(rows, file.images, strict=True):
        for box in image.boxes:
            if (name := file.categories[box.category]) in names:
                row[names.index(name)] += 1
    return rows


def _image_folder(root: Path, file: CocoFile) -> str:
    """The folder below the root that the names of the images count from."""
    if not file.images:
        raise InputError(f'{file.path} has no image')
    name, beside = file.images[0].name, file.path.parent
    split = split_of(file.path.relative_to(root))
    places = [beside, *(beside / n for n in ('images', file.path.stem, split)), beside.parent]
    places += [root, root / 'images', root / split, root / 'images' / split]
    places += [root / folder for folder in sorted(p for p in root.iterdir() if p.is_dir())]
    for place in places:
        if (place / name).is_file():
            return '' if place == root else str(place.relative_to(root))
    raise InputError(f'{file.path} names {name}, which is nowhere in {root}')
