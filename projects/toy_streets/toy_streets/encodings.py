"""Writes labels as the real datasets do."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from mmseg.datasets import CityscapesDataset
from PIL import Image

from soma.datasets.labels import (
    CITYSCAPES_TO_TRAIN,
    CLASSES,
    IGNORE,
    MAPILLARY_TO_TRAIN,
    SYNTHIA_TO_TRAIN,
    URBANSYN_TO_TRAIN,
)
from soma.datasets.voc_files import write_voc
from soma.io.files import atomic_path

from .boxes import visible_boxes
from .render import Rendering

# Writes the labels of an image to a file in the way of a dataset.
Writer = Callable[[Path, Rendering], None]


def _raw_values(labels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Values that `table` translates to the train ids `labels` (H, W).

    Where several mean the same class, they take turns in blocks of 4 pixels, so that every value
    of the dataset is used.
    """
    rows, columns = np.indices(labels.shape) // 4
    turn = rows + columns
    raw = np.empty_like(labels)
    for train_id in (*range(CLASSES), IGNORE):
        values, here = np.flatnonzero(table == train_id), labels == train_id
        if here.any():
            raw[here] = values[turn[here] % len(values)]
    return raw


def _save(path: Path, image: Image.Image) -> None:
    with atomic_path(path) as temporary:
        image.save(temporary)


def _save_values(path: Path, rendering: Rendering, table: np.ndarray, palette: bool) -> None:
    image = Image.fromarray(_raw_values(rendering.labels, table))
    if palette:
        colours = np.zeros((256, 3), np.uint8)
        known = table < CLASSES
        colours[known] = np.array(CityscapesDataset.METAINFO['palette'])[table[known]]
        image.putpalette(colours.tobytes())
    _save(path, image)


def cityscapes_ids(palette: bool = False) -> Writer:
    """Cityscapes ids, as Cityscapes, ACDC and (in a palette image) GTA have them."""
    return partial(_save_values, table=CITYSCAPES_TO_TRAIN, palette=palette)


mapillary_ids: Writer = partial(_save_values, table=MAPILLARY_TO_TRAIN, palette=True)


def train_ids(path: Path, rendering: Rendering) -> None:
    """Train ids, as BDD100K and ACDC have them."""
    _save(path, Image.fromarray(rendering.labels))


def urbansyn_ids(path: Path, rendering: Rendering) -> None:
    """Train ids, and 19 where nothing is labelled, with an alpha channel."""
    image = Image.fromarray(_raw_values(rendering.labels, URBANSYN_TO_TRAIN))
    image.putalpha(255)
    _save(path, image)


def synthia_ids(path: Path, rendering: Rendering) -> None:
    """16-bit colours: the class in red, an instance in green."""
    labels = rendering.labels
    red = _raw_values(labels, SYNTHIA_TO_TRAIN).astype(np.uint16)
    green = np.where(np.isin(labels, [11, 13]), 300, 0).astype(np.uint16)
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), np.dstack([np.zeros_like(red), green, red])):
            raise OSError(f'could not write {path}')


def polygons(path: Path, rendering: Rendering) -> None:
    """The polygons of Cityscapes, which give these very pixels when they are drawn in turn."""
    labels = rendering.labels
    names = dict(enumerate(CityscapesDataset.METAINFO['classes'])) | {IGNORE: 'static'}
    outlines = []
    for train_id in np.unique(labels):
        # Diagonal neighbours are two areas: no outline then crosses another.
        count, areas = cv2.connectedComponents((labels == train_id).astype(np.uint8), None, 4)
        for area in range(1, count):
            mask = (areas == area).astype(np.uint8)
            (outline,), _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            filled = cv2.contourArea(outline) + len(outline) / 2
            points = outline[:, 0].tolist()
            outlines.append(
                (filled, names[int(train_id)], points if len(points) > 2 else points * 3)
            )
    outlines.sort(key=lambda entry: -entry[0])  # what encloses others comes first
    content = {
        'imgHeight': labels.shape[0],
        'imgWidth': labels.shape[1],
        'objects': [{'label': name, 'polygon': outline} for _, name, outline in outlines],
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content))


def boxes(path: Path, rendering: Rendering) -> None:
    """Boxes of Pascal VOC, as Diverse Weather has them."""
    height, width = rendering.labels.shape
    write_voc(path, f'{path.stem}.jpg', (width, height), visible_boxes(rendering))
