"""Bilinear interpolation by its definition: pixels outside of the map are zero."""

import math


def bilinear(image, y, x):
    """Samples ``image (H, W)`` at pixel centres ``y, x``, the first centre being at 0."""
    top, left = math.floor(y), math.floor(x)
    value = 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * image[row, column]
    return value
