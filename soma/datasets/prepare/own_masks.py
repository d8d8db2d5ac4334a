"""A folder of one's own images with masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...io.files import InputError
from ...utils.parallel import run_parallel
from ..label_files import shown_size, why_unreadable
from ..lists import write_names
from .counts import IGNORED, Counts
from .mask_classes import count_values, find_classes
from .own_data import OwnData, assign_splits
from .scan import Pairs, Sample, find_pairs


def read_masks(
    root: Path, out: Path, classes: Sequence[str] | None, val_split: float, nproc: int
) -> OwnData:
    """Find pairs of images and masks, read all masks, and write a list of each split.

    Args:
        root: The folder.
        out: The config, beside which the lists are written.
        classes: Names of the classes; made up if None.
        val_split: Share of the images to validate on, where the folder has no split.
        nproc: Number of processes.

    Raises:
        InputError: As for :func:`~.scan.find_pairs` and :func:`~.mask_classes.find_classes`.
    """
    parts = find_pairs(root)
    samples = [sample for part in parts.values() for sample in part.samples]
    looks = run_parallel(_look, samples, nproc, 'reading masks')
    if failures := [look for look in looks if isinstance(look, str)]:
        raise InputError(f'{len(failures)} of {len(looks)} pairs cannot be used: {failures[0]}')
    masks = find_classes([values for _, values in looks], root, classes)
    remarks = [
        f'{part.alone} images in {split or part.images or root} have no mask: they are left out'
        for split, part in parts.items()
        if part.alone
    ]
    remarks += masks.remarks
    options = dict(data_root=str(root), classes=masks.names)
    if masks.palette:
        options['palette'] = masks.palette
    if masks.label_map:
        options['label_map'] = 'palette' if masks.palette else masks.label_map
    ends = np.cumsum([len(part.samples) for part in parts.values()])[:-1]
    rows = dict(zip(parts, np.split(masks.rows, ends), strict=True))
    splits, counts = {}, {}
    for name, (source, indices) in assign_splits(
        {split: row[:, :-1] for split, row in rows.items()}, val_split
    ).items():
        file = out.with_name(f'{out.stem}_{name}.txt')
        write_names(file, [parts[source].samples[index].name for index in indices])
        splits[name] = dict(ann_file=str(file), **_places(parts[source]))
        counts[name] = Counts((*masks.names, IGNORED))
        for index in indices:
            counts[name].add(rows[source][index])
    sizes = Counter(size for size, _ in looks)
    return OwnData(options, splits, masks.names, counts, sizes, remarks)


def _places(part: Pairs) -> dict:
    """The arguments of the dataset that say where images and masks are."""
    places = dict(data_prefix=dict(img_path=part.images, seg_map_path=part.masks))
    if part.mask_suffix != '.png':
        places['seg_map_suffix'] = part.mask_suffix
    return places


def _look(sample: Sample) -> tuple[tuple[int, int], Counter] | str:
    """Size of an image and the values of its mask, or what is wrong."""
    try:
        with Image.open(sample.image) as image:
            size = shown_size(image)
        return size, count_values(sample.mask)
    except InputError as error:
        return str(error)
    except Exception as error:  # broken bytes can raise anything
        return f'the image {sample.image} {why_unreadable(sample.image, error)}'
