"""Writes detections."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..io.files import atomic_path


class Boxes(NamedTuple):
    """The detections of an image.

    Attributes:
        name: File name of the image.
        labels: Class of each, ``(n,)``.
        boxes: Left, top, right, bottom in pixels, and score, ``(n, 5)``.
        image_id: The image's id.
        category_ids: The category of each class in a COCO file.
    """

    name: str
    labels: np.ndarray
    boxes: np.ndarray
    image_id: int | str
    category_ids: Sequence[int | str] | None = None


def write_boxes(images: Iterable[Boxes], classes: Sequence[str], path: Path) -> None:
    """Write detections as JSON, a line each, as COCO's results are.

    A line has ``image_id``, ``file_name``, ``category`` (the class's name), ``category_id`` where
    there is one, ``bbox`` (left, top, width, height in pixels) and ``score``.

    Args:
        images: The detections.
        classes: Name of each class.
        path: The file; written under a temporary name.
    """
    with atomic_path(path) as temporary, temporary.open('w') as file:
        file.write('[')
        lines = chain.from_iterable(_lines(image, classes) for image in images)
        for index, line in enumerate(lines):  # one at a time: a domain may have millions
            file.write((',\n' if index else '\n') + line)
        file.write('\n]\n')


def _lines(image: Boxes, classes: Sequence[str]) -> Iterator[str]:
    for label, box in zip(image.labels, image.boxes.astype(float).tolist(), strict=True):
        left, top, right, bottom, score = box
        entry = dict(
            image_id=image.image_id,
            file_name=image.name,
            category=classes[label],
            bbox=[left, top, right - left, bottom - top],
            score=score,
        )
        if image.category_ids is not None:
            entry['category_id'] = image.category_ids[label]
        yield json.dumps(entry)
