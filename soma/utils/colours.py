"""The colours of classes, and an image under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import cv2
import numpy as np

# Okabe's and Ito's, which the colour-blind can tell apart, too; without their black.
_FIRST = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
_BACKGROUND = 70, 70, 70
_DARKEST = 40  # lightness, 0 to 100


def colours_of(meta: Mapping) -> np.ndarray:
    """The RGB colours ``(classes, 3)`` of a dataset's classes, distinct ones if it has none."""
    classes, palette = meta['classes'], meta.get('palette')
    if not palette or len(palette) != len(classes):
        palette = colours_for(classes)
    return np.array(palette, np.uint8).reshape(-1, 3)


def colours_for(classes: Sequence[str]) -> list[list[int]]:
    """Distinct RGB colours of classes; a background's is grey."""
    others = iter(_distinct(len(classes)).tolist())
    return [[*_BACKGROUND] if name == 'background' else next(others) for name in classes]


@cache
def _distinct(count: int) -> np.ndarray:
    """RGB colours ``(count, 3)`` that are bright and far apart; the first of more are the same.

    After some that are known, each is the one of a grid that is farthest (in CIELAB) from all
    before it.
    """
    levels = np.arange(0, 256, 17)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)
    colours = np.concatenate([_FIRST, grid]).astype(np.uint8)
    places = cv2.cvtColor(colours[None] / np.float32(255), cv2.COLOR_RGB2LAB)[0]
    nearest = np.where(places[:, 0] < _DARKEST, -1, np.inf)
    order = []
    for index in range(count):
        order.append(index if index < len(_FIRST) else nearest.argmax())
        nearest = np.minimum(nearest, np.square(places - places[order[-1]]).sum(1))
    return colours[order]


def colour_overlay(
    image: np.ndarray, labels: np.ndarray, palette: np.ndarray, opacity: float = 0.6
) -> np.ndarray:
    """Lay the colours of the classes over an image.

    Args:
        image: Shape ``(h, w, 3)``, uint8, RGB.
        labels: Class of each pixel, shape ``(h, w)``; values without a colour (ignore) show the
            image.
        palette: RGB colours, shape ``(classes, 3)``.
        opacity: Share of the colour, 0 to 1.

    Returns:
        Shape ``(h, w, 3)``, uint8.

    Raises:
        ValueError: If the sizes differ.
    """
    if image.shape[:2] != labels.shape:
        raise ValueError(f'image {image.shape[:2]} and labels {labels.shape} differ in size')
    colours = np.asarray(palette, np.uint8)[np.minimum(labels, len(palette) - 1)]
    image = np.ascontiguousarray(image)
    mixed = cv2.addWeighted(image, 1 - opacity, colours, opacity, 0)
    unknown = labels >= len(palette)
    mixed[unknown] = image[unknown]
    return mixed
