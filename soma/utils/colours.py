"""The colours of classes, and an image under them."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np


def colours_of(meta: Mapping) -> np.ndarray:
    """The RGB colours ``(classes, 3)`` of a dataset's classes; drawn at random if it has none."""
    classes, palette = meta['classes'], meta.get('palette')
    if not palette or len(palette) != len(classes):
        palette = np.random.default_rng(0).integers(0, 256, (len(classes), 3))
    return np.array(palette, np.uint8)


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
