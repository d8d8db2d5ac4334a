"""Thumbnails of an image, its ground truth, its prediction, and where that is wrong."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import mmcv
import numpy as np
from PIL import Image, ImageDraw

from ..utils.colours import colour_overlay
from ..utils.page import data_uri
from .details import SIDE, BoxSets, Maps

SEGMENTED = ('image', 'ground truth', 'prediction', 'wrong in red, unlabelled in black')
DETECTED = ('image', 'ground truth', 'prediction', 'found green, missed red, false orange')
_RED, _GREEN, _ORANGE = (230, 30, 40), (40, 180, 80), (255, 150, 0)
_BLACK = (0, 0, 0)


def draw_maps(path: str, maps: Maps, palette: np.ndarray) -> list[np.ndarray]:
    """Draw what ``SEGMENTED`` names, classes in the colours of the legend alone.

    Args:
        path: The image's file.
        maps: Its ground truth and prediction.
        palette: RGB colours, shape ``(classes, 3)``, uint8.

    Returns:
        Thumbnails of shape ``(h, w, 3)``, uint8.
    """
    label, prediction = maps.unpack()
    image = _read(path, label.shape[::-1])
    grey = np.repeat(image.mean(2, keepdims=True) * 0.45 + 110, 3, 2).astype(np.uint8)
    kinds = np.where(label == prediction, 2, 0)  # wrong, not counted, right: without a colour
    kinds[label == np.iinfo(label.dtype).max] = 1
    flat = [colour_overlay(grey, values, palette, 1) for values in (label, prediction)]
    return [image, *flat, colour_overlay(grey, kinds, [_RED, _BLACK], 0.85)]


def draw_box_sets(path: str, sets: BoxSets, palette: np.ndarray) -> list[np.ndarray]:
    """Draw what ``DETECTED`` names; the arguments are those of :func:`draw_maps`."""
    image = _read(path)
    height, width = image.shape[:2]
    factor = min(1, SIDE / max(image.shape))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    sheet = Image.fromarray(image).resize(size, Image.Resampling.BOX)
    truth = zip(sets.gt_boxes, palette[sets.gt_labels], strict=True)
    predicted = zip(sets.boxes, palette[sets.labels], strict=True)
    kinds = (
        (sets.boxes[sets.right], _GREEN),
        (sets.boxes[sets.wrong], _ORANGE),
        (sets.gt_boxes[_missed(sets)], _RED),
    )
    errors = [(box, colour) for boxes, colour in kinds for box in boxes]
    drawn = [_frames(sheet, boxes, factor) for boxes in ((), truth, predicted, errors)]
    return [np.asarray(part) for part in drawn]


def _missed(sets: BoxSets) -> np.ndarray:
    """Which boxes no right detection is nearest to, as the metric matches them."""
    from mmdet.evaluation.functional import bbox_overlaps  # here, since it takes its time

    missed = np.ones(len(sets.gt_labels), bool)
    for box, label in zip(sets.boxes[sets.right], sets.labels[sets.right], strict=True):
        same = np.flatnonzero(sets.gt_labels == label)
        overlaps = bbox_overlaps(box[None], sets.gt_boxes[same], use_legacy_coordinate=True)
        missed[same[overlaps[0].argmax()]] = False
    return missed


def _frames(sheet: Image.Image, boxes: Iterable, factor: float) -> Image.Image:
    sheet = sheet.copy()
    draw = ImageDraw.Draw(sheet)
    for box, colour in boxes:
        draw.rectangle([*map(float, box * factor)], None, tuple(map(int, colour)), 2)
    return sheet


def _read(path: str, size: Sequence[int] | None = None) -> np.ndarray:
    """An image ``(h, w, 3)`` in RGB, of another size if asked for; grey if it cannot be read."""
    try:
        image = mmcv.imread(path, channel_order='rgb')
    except OSError:  # of a dataset that has no files
        image = None
    if image is None:
        image = np.full((*(size or (SIDE, SIDE))[::-1], 3), 128, np.uint8)
    if size is None:
        return image
    return np.asarray(Image.fromarray(image).resize(tuple(size), Image.Resampling.BOX))


def jpeg_uri(thumbnail: np.ndarray) -> str:
    """A thumbnail as the address of an ``<img>``, with all of it in there."""
    file = io.BytesIO()
    Image.fromarray(thumbnail).save(file, 'jpeg', quality=80)
    return data_uri(file.getvalue(), 'jpeg')
