"""The boxes that a careful person would draw around what an image shows."""

import cv2
import numpy as np

from soma.datasets.voc_files import VOCBox

from .render import Rendering

# The classes of Diverse Weather by Cityscapes train id.
NAMES = {11: 'person', 12: 'rider', 13: 'car', 14: 'truck', 15: 'bus', 17: 'motor', 18: 'bike'}
_CYCLES = (17, 18)  # thin, and in pieces behind their riders
_MIN_SIDE = 10  # pixels
_MIN_PIXELS = 20
_MIN_SHARE = 0.25  # of the box that the thing fills
_MIN_CONTRAST = 5.0  # grey levels
_SPECK = 0.2  # an area of less than this share of the largest is not looked at


def visible_boxes(rendering: Rendering) -> list[VOCBox]:
    """Draw a box around what is seen of each vehicle, cycle, rider and person.

    Left out is what nobody would make out: too small, hidden but for specks, lost in fog or night.
    """
    known = np.isin(rendering.labels, list(NAMES))
    keys = np.where(known, rendering.instances * 32 + rendering.labels, 0)
    grey = cv2.blur(cv2.cvtColor(rendering.image, cv2.COLOR_RGB2GRAY), (3, 3)).astype(np.float32)
    height, width = keys.shape
    boxes = []
    for key in np.unique(keys[known]).tolist():
        label = key % 32
        mask = (keys == key).astype(np.uint8)
        if label not in _CYCLES:
            mask = _without_specks(mask)
        x, y, w, h = cv2.boundingRect(mask)
        share = mask.sum() / (w * h)
        if min(w, h) < _MIN_SIDE or mask.sum() < _MIN_PIXELS:
            continue
        if share < _MIN_SHARE and label not in _CYCLES:
            continue
        if _contrast(grey, mask, (x, y, w, h)) < _MIN_CONTRAST:
            continue
        cut = x == 0 or y == 0 or x + w == width or y + h == height
        boxes.append(VOCBox(NAMES[label], (x + 1, y + 1, x + w, y + h), truncated=cut))
    return boxes


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Keep the connected areas that are not small beside the largest."""
    count, areas, stats, _ = cv2.connectedComponentsWithStats(mask, None, 8)
    if count <= 2:
        return mask
    sizes = stats[:, cv2.CC_STAT_AREA]
    sizes[0] = 0
    return (sizes >= _SPECK * sizes.max())[areas].astype(np.uint8)


def _contrast(grey: np.ndarray, mask: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """How much a thing stands out from what is around, or its parts from each other."""
    x, y, w, h = box
    around = slice(max(y - 3, 0), y + h + 3), slice(max(x - 3, 0), x + w + 3)
    inside = mask[around] > 0
    thing, rest = grey[around][inside], grey[around][~inside]
    apart = abs(thing.mean() - rest.mean()) if rest.size else 0.0
    return float(max(apart, thing.std()))
