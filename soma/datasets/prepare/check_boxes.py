"""Looks for what is wrong with an image and its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..voc_files import count_boxes, read_voc, tidy_boxes
from .check_files import Fault, check_sizes, check_smallest, read_sizes, unreadable

if TYPE_CHECKING:
    from ..domain_voc import DomainVOCDataset


@dataclass(frozen=True)
class BoxPair:
    """An image and its boxes.

    Attributes:
        image: File of the image.
        xml: File of the boxes.
        classes: Names of the classes, without capitals as :func:`read_voc` gives them.
        smallest: What width and height must be at least.
    """

    image: Path
    xml: Path
    classes: tuple[str, ...]
    smallest: int = 2


def choose(files: list, indices: int | Sequence[int] | None) -> list:
    """The entries that a dataset uses by its ``indices``, as mmengine's ``BaseDataset``."""
    if isinstance(indices, int):
        return files[:indices] if indices >= 0 else files[indices:]
    return files if indices is None else [files[index] for index in indices]


def list_box_pairs(
    dataset: DomainVOCDataset, indices: int | Sequence[int] | None = None, smallest: int = 2
) -> tuple[list[BoxPair], list[str]]:
    """List the files of a dataset.

    Args:
        dataset: The dataset; it need not be able to read them.
        indices: Which of them it uses, as for mmengine's ``BaseDataset``.
        smallest: What width and height must be at least.

    Returns:
        The files, and the name that a list has for each.

    Raises:
        FileNotFoundError: As for ``DomainVOCDataset.list_files``.
    """
    files = choose(dataset.list_files(), indices)
    classes = tuple(name.lower() for name in dataset.metainfo['classes'])
    pairs = [
        BoxPair(
            Path(dataset.sub_data_root, file['file_name']),
            Path(file['xml_path']),
            classes,
            smallest,
        )
        for file in files
    ]
    return pairs, [file['img_id'] for file in files]


def check_box_pair(pair: BoxPair) -> tuple[list[Fault], np.ndarray | None]:
    """Read an image and its boxes to their ends and compare them.

    Returns:
        What is wrong, and the number of good boxes of each class (K,), unless a file is bad.
    """
    faults, stated, boxes = [], None, None
    try:
        stated, boxes = read_voc(pair.xml)
    except FileNotFoundError:
        faults.append(Fault('no XML', str(pair.image), f'its boxes {pair.xml} are missing'))
    except (OSError, ValueError) as error:
        faults.append(unreadable(pair.xml, error))
    try:
        sizes = read_sizes(pair.image)
    except FileNotFoundError:
        return [*faults, Fault('no image', str(pair.image), 'is missing')], None
    except Exception as error:  # broken bytes can raise anything
        return [*faults, unreadable(pair.image, error)], None
    faults += check_smallest(pair.image, sizes[1], pair.smallest)
    if boxes is None:
        return faults, None
    faults += check_sizes(pair.image, *sizes, stated)
    good, oddities = tidy_boxes(boxes, sizes[1], pair.classes)
    # The others are left out while reading, clipped or filtered by the pipelines.
    faults += [
        Fault(kind, str(pair.xml), f'has {text}', kind == 'outside')
        for kind, text in oddities.items()
    ]
    return faults, count_boxes(good, pair.classes)
