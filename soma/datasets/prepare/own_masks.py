"""A folder of one's own images with masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ...io.files import InputError
from ...utils.parallel import run_parallel
from ..label_files import shown_size, why_unreadable
from ..label_reader import LabelError
from ..lists import write_names
from .counts import IGNORED, Counts
from .mask_classes import count_values, find_classes, read_table
from .own_data import OwnData, assign_splits
from .scan import Sample, find_pairs


def read_masks(
    root: Path, out: Path, classes: Sequence[str] | None, val_split: float, nproc: int
) -> OwnData:
    """Find pairs of images and masks, and read all masks.

    Args:
        root: The folder.
        out: The config, beside which a list of each split belongs.
        classes: Names of the classes; made up if None.
        val_split: Share of the images to validate on, where the folder has no split.
        nproc: Number of processes.

    Raises:
        InputError: As for :func:`~.scan.find_pairs` and :func:`~.mask_classes.find_classes`, or if
            an image or a mask cannot be used.
    """
    parts, table = find_pairs(root), read_table(root)
    samples = [sample for part in parts.values() for sample in part.samples]
    of_colours = any(isinstance(value, tuple) for value in table or ())
    sizes, values = _read(samples, of_colours, nproc)
    if len({type(value) for file in values for value in file}) > 1:  # colours, some of them grey
        sizes, values = _read(samples, True, nproc)
    masks = find_classes(values, root, classes, table)
    remarks = [_say_alone(part.alone) for part in parts.values() if part.alone] + masks.remarks
    if absent := [name for name, n in zip(masks.names, masks.rows.sum(0), strict=False) if not n]:
        remarks.append(f'no mask has {", ".join(absent)}: nothing can be learned of it')
    options = dict(data_root=str(root), classes=masks.names)
    if masks.palette:
        options['palette'] = masks.palette
    if masks.label_map:
        options['label_map'] = 'palette' if masks.palette else masks.label_map
    ends = np.cumsum([len(part.samples) for part in parts.values()])[:-1]
    rows = dict(zip(parts, np.split(masks.rows, ends), strict=True))
    splits, counts, files = {}, {}, {}
    for name, (source, indices) in assign_splits(
        {split: row[:, :-1] for split, row in rows.items()}, val_split
    ).items():
        part, file = parts[source], out.with_name(f'{out.stem}_{name}.txt')
        files[file] = partial(write_names, names=[part.samples[index].name for index in indices])
        splits[name] = dict(ann_file=str(file), **part.options)
        counts[name] = Counts((*masks.names, IGNORED))
        for index in indices:
            counts[name].add(rows[source][index])
    return OwnData(options, splits, masks.names, counts, Counter(sizes), files, remarks)


def _say_alone(files: Sequence[Path]) -> str:
    verb = 'files have' if len(files) > 1 else 'file has'
    return f'{len(files)} {verb} no partner of its name, such as {files[0]}: left out'


def _read(
    samples: Sequence[Sample], of_colours: bool, nproc: int
) -> tuple[list[tuple[int, int]], list[Counter]]:
    """Sizes of images, and the values of their masks."""
    looks = run_parallel(partial(_look, of_colours), samples, nproc, 'reading masks')
    if failures := [look for look in looks if isinstance(look, str)]:
        raise InputError(
            f'{len(failures)} of {len(looks)} pairs cannot be used: {"; ".join(failures[:2])}'
            f'{"; ..." if len(failures) > 2 else ""}'
        )
    return [size for size, _ in looks], [values for _, values in looks]


def _look(of_colours: bool, sample: Sample) -> tuple[tuple[int, int], Counter] | str:
    """Size of an image and the values of its mask, or what is wrong."""
    file = sample.image
    try:
        with Image.open(file) as image:
            size, stored = shown_size(image), image.size
        file = sample.mask
        with Image.open(file) as mask:
            if mask.size not in (size, stored):
                text = '{} x {} pixels, its image {} x {}'.format(*mask.size, *size)
                return f'the mask {file} has {text}'
            return size, count_values(mask, of_colours)
    except LabelError as error:
        return f'the labels in {file} {error}'
    except Exception as error:  # broken bytes can raise anything
        return f'{file} {why_unreadable(file, error)}'
