"""Looks for what is wrong with an image and its boxes in a COCO file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..coco_files import CocoFile, CocoImage, describe, sort_boxes
from .check_boxes import choose
from .check_files import Fault, check_sizes, check_smallest, read_sizes, unreadable

if TYPE_CHECKING:
    from ..domain_coco import DomainCocoDataset


@dataclass(frozen=True)
class CocoPair:
    """An image and what the file says of it.

    Attributes:
        image: File of the image.
        entry: What the file says.
        names: Names of the classes by the ids of their categories, those that are left out too.
        classes: The K classes.
        labelled: Whether the file has annotations.
        smallest: What width and height must be at least.
    """

    image: Path
    entry: CocoImage
    names: Mapping[int | str, str]
    classes: tuple[str, ...]
    labelled: bool = True
    smallest: int = 2


def list_coco_pairs(
    dataset: DomainCocoDataset, indices: int | Sequence[int] | None = None, smallest: int = 2
) -> tuple[CocoFile, list[CocoPair]]:
    """List the images of a dataset.

    Args:
        dataset: The dataset; it need not be able to read them.
        indices: Which of them it uses, as for mmengine's ``BaseDataset``.
        smallest: What width and height must be at least.

    Returns:
        What is in the file, and the images.

    Raises:
        FileNotFoundError: As for ``DomainCocoDataset.read_file``.
        InputError: As for the same.
    """
    file, classes = dataset.read_file(), tuple(dataset.metainfo['classes'])
    pairs = [
        CocoPair(
            dataset.image_path(image), image, file.categories, classes, file.labelled, smallest
        )
        for image in choose(file.images, indices)
    ]
    return file, pairs


def check_coco_pair(pair: CocoPair) -> tuple[list[Fault], np.ndarray | None]:
    """Read an image to its end, and compare it with its boxes.

    Returns:
        What is wrong, and the number of good boxes of each class (K,), unless the image is bad.
    """
    file = str(pair.image)
    try:
        sizes = read_sizes(pair.image)
    except FileNotFoundError:
        return [Fault('no image', file, 'is missing')], None
    except Exception as error:  # broken bytes can raise anything
        return [unreadable(pair.image, error)], None
    size = sizes[1]
    faults = check_smallest(pair.image, size, pair.smallest)
    faults += check_sizes(pair.image, *sizes, pair.entry.size)
    boxes = [box for box in pair.entry.boxes if pair.names[box.category] in pair.classes]
    good, odd = sort_boxes(boxes, size)
    # The others are left out while reading, clipped or filtered by the pipelines.
    faults += [
        Fault(kind, file, f'has {describe(kind, odd[kind], pair.names, size)}', kind == 'outside')
        for kind in odd
    ]
    if pair.labelled and not boxes:
        faults.append(Fault('no box', file, 'has no box', False))
    found = [pair.names[box.category] for box in good]
    return faults, np.array([found.count(name) for name in pair.classes])
