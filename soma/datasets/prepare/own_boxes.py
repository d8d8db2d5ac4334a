"""A folder of one's own images with boxes in COCO's JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ...io.files import InputError
from ..coco_files import CocoFile, read_coco, write_part
from ..image_files import list_files
from .counts import Counts
from .own_data import OwnData, assign_splits
from .scan import split_of

_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_TRIED = 20  # images that are looked for in each folder


def find_coco(root: Path) -> dict[str, Path]:
    """Find JSON files of COCO's kind in a folder, by split: ``train``, ``val``, ``test`` or ''.

    Of several in a split, such as COCO's own, the one called ``instances...`` counts.

    Raises:
        InputError: If there are several of a split.
    """
    found = defaultdict(list)
    for name in list_files(root):
        path = root / name
        if path.suffix.lower() == '.json' and path.is_file():
            content = path.read_bytes()  # not parsed: there may be many, of other kinds
            if all(key in content for key in _KEYS):
                found[split_of(Path(name))].append(path)
    files = {}
    for split, paths in found.items():
        paths = [path for path in paths if path.name.startswith('instances')] or paths
        if len(paths) > 1:
            raise InputError(f'{paths[0]} and {paths[1]} both have boxes: move one elsewhere')
        files[split] = paths[0]
    return files


def read_boxes(
    root: Path,
    paths: Mapping[str, Path],
    out: Path,
    classes: Sequence[str] | None,
    val_split: float,
) -> OwnData:
    """Read the JSON files of a folder.

    Args:
        root: The folder.
        paths: The files by split (:func:`find_coco`).
        out: The config, beside which a file belongs for each split that is drawn.
        classes: Names of the classes to find; all that have boxes if None.
        val_split: Share of the images to validate on, where the folder has no split.

    Raises:
        InputError: As for :func:`~..coco_files.read_coco`, if a class is in none of the files, or
            there are no boxes or no images.
    """
    files = {split: read_coco(path) for split, path in paths.items()}
    known = dict.fromkeys(name for file in files.values() for name in file.categories.values())
    names = list(classes or known)
    if unknown := [name for name in names if name not in known]:
        listed = ', '.join(known)
        raise InputError(f'{root} has no category {unknown[0]!r}: it has {listed}')
    rows = {split: _count(file, names) for split, file in files.items()}
    remarks = [_say_left_out(file) for file in files.values() if file.faults]
    has_boxes = sum(part.sum(0) for part in rows.values()) > 0
    if not has_boxes.any():
        raise InputError(f'{root} has no box of {", ".join(names)}')
    if not classes and not has_boxes.all():  # Roboflow names a class above all others
        absent = ', '.join(n for n, has in zip(names, has_boxes, strict=True) if not has)
        remarks.append(f'there is no box of {absent}: left out')
        names = [name for name, has in zip(names, has_boxes, strict=True) if has]
        rows = {split: part[:, has_boxes] for split, part in rows.items()}
    splits, counts, written = {}, {}, {}
    for name, (source, indices) in assign_splits(rows, val_split).items():
        file, path = files[source], paths[source]
        if len(indices) < len(file.images):
            path = out.with_name(f'{out.stem}_{name}.json')
            written[path] = partial(write_part, file, [file.images[index] for index in indices])
        folder = _image_folder(root, file)
        splits[name] = dict(ann_file=str(path), data_prefix=dict(img=folder))
        if name != 'train':
            splits[name]['test_mode'] = True
        counts[name] = Counts(names, 'boxes')
        for index in indices:
            counts[name].add(rows[source][index])
    options = dict(data_root=str(root), classes=names)
    sizes = Counter(i.size for file in files.values() for i in file.images if i.size)
    return OwnData(options, splits, names, counts, sizes, written, remarks)


def _say_left_out(file: CocoFile) -> str:
    more = f' (and {len(file.faults) - 3} more)' if len(file.faults) > 3 else ''
    return f'{file.path}: left out: {"; ".join(text for _, text in file.faults[:3])}{more}'


def _count(file: CocoFile, names: Sequence[str]) -> np.ndarray:
    """Boxes of each class in each image, shape ``(images, classes)``."""
    places = {name: place for place, name in enumerate(names)}
    rows = np.zeros((len(file.images), len(names)), np.int64)
    for row, image in zip(rows, file.images, strict=True):
        for box in image.boxes:
            if (name := file.categories[box.category]) in places:
                row[places[name]] += 1
    return rows


def _image_folder(root: Path, file: CocoFile) -> str:
    """The folder below the root that the names of the images count from."""
    names, beside = [image.name for image in file.images[:_TRIED]], file.path.parent
    split = split_of(file.path.relative_to(root))
    places = [beside, *(beside / n for n in ('images', file.path.stem, split)), beside.parent]
    places += [root, root / 'images', root / split, root / 'images' / split]
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    places += sorted(folders, key=lambda folder: split_of(Path(folder.name)) != split)
    places = [place for place in places if place.is_relative_to(root)]
    best = max(places, key=lambda place: sum((place / name).is_file() for name in names))
    if not any((best / name).is_file() for name in names):
        which = f'names {names[0]}, which is nowhere in {root}' if names else 'has no image'
        raise InputError(f'{file.path} {which}')
    return '' if best == root else str(best.relative_to(root))
