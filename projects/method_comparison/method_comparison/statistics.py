"""Intervals of mIoU and of its differences, over the images of a test and the seeds of a training.

The two are taken apart. Seeds are few, so their part is that of a mean, with Student's t. The
images are the same for all runs, so theirs is by bootstrap, in which all runs lose and repeat the
same ones. Images next to each other in a drive are alike: they are drawn in blocks, and the blocks
count as so many observations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np
from scipy import stats

RESAMPLES = 2000


class Interval(NamedTuple):
    """A mean, and where it lies in 95 of 100 such comparisons; None of a single seed."""

    mean: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1 if all of the interval is above zero, -1 if below, else 0."""
        if self.low is None:
            return 0
        return (self.low > 0) - (self.high < 0)

    def text(self, digits: int = 1) -> str:
        """``+mean [low, high]``."""
        mean = f'{self.mean:+.{digits}f}'
        if self.low is None:
            return mean
        return f'{mean} [{self.low:+.{digits}f}, {self.high:+.{digits}f}]'


class Counts(NamedTuple):
    """Of a domain in a run: pixels of each class in each image.

    Attributes:
        images: Their paths, in the order of the drive.
        intersection: Shape ``(classes, images)``.
        union: The same.
        label: The same, of the ground truth.
    """

    images: tuple[str, ...]
    intersection: np.ndarray
    union: np.ndarray
    label: np.ndarray

    @classmethod
    def of(cls, per_image: Mapping) -> Counts:
        """Read ``per_image`` of a domain in a report of ``DomainIoUMetric``."""
        counts = (np.array(per_image[key], float) for key in ('intersection', 'union', 'label'))
        return cls(tuple(per_image['images']), *counts)

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """Compute mIoU where images count so many times.

        A class that is in none of the images drawn, and in others, counts for no method: else
        some would have it at 0, for predicting it, and some not.

        Args:
            weights: Shape ``(b, images)``.

        Returns:
            Percent, shape ``(b,)``.
        """
        hits, unions, labels = (counts @ weights.T for counts in self[1:])
        lost = (labels == 0) & (self.label.sum(1, keepdims=True) > 0)
        iou = np.divide(hits, unions, out=np.full_like(hits, np.nan), where=(unions > 0) & ~lost)
        return 100 * np.nanmean(iou, axis=0)


class Resampling:
    """Draws images, the same ones wherever the images are the same.

    A block is ``n^(1/3)`` of n images (Hall, Horowitz and Jing, On blocking rules for the
    bootstrap with dependent data, 1995), and goes on from the last image to the first.

    Args:
        number: How many times to draw.
    """

    def __init__(self, number: int = RESAMPLES) -> None:
        self.number = number
        self._weights: dict[tuple[str, ...], np.ndarray] = {}

    def weights(self, images: tuple[str, ...]) -> np.ndarray:
        """How many times each image counts, shape ``(1 + number, n)``: first once each."""
        if images not in self._weights:
            size = len(images)
            block, count = _blocks(size)
            generator = np.random.default_rng(crc32('\n'.join(images).encode()))
            starts = generator.integers(size, size=(self.number, count))
            drawn = (starts[:, :, None] + np.arange(block)) % size
            drawn = drawn.reshape(self.number, -1)[:, :size]
            counts = [np.ones(size), *(np.bincount(row, minlength=size) for row in drawn)]
            self._weights[images] = np.stack(counts)
        return self._weights[images]

    def scores(self, domains: Sequence[Counts]) -> np.ndarray:
        """Mean mIoU of some domains of a run ``(1 + number,)``, first that of all images."""
        return np.mean([part.scores(self.weights(part.images)) for part in domains], axis=0)


def freedom_of(domains: Sequence[Counts]) -> int:
    """Degrees of freedom of the choice of images: of each set of them, its blocks less one."""
    return sum(_blocks(len(images))[1] - 1 for images in {part.images for part in domains})


def _blocks(size: int) -> tuple[int, int]:
    block = round(size ** (1 / 3))
    return block, math.ceil(size / block)


def interval(scores: Sequence[np.ndarray], freedom: int) -> Interval:
    """The interval of a score, or of a difference of two, from that of each seed.

    The squared errors of the mean over seeds and of the choice of images add up; their degrees of
    freedom are Satterthwaite's (1946).

    Args:
        scores: Of each seed, shape ``(1 + n,)`` as of :meth:`Resampling.scores`.
        freedom: Of the images, as of :func:`freedom_of`.
    """
    values = np.stack(scores)
    count, mean = len(values), float(values[:, 0].mean())
    if count < 2:
        return Interval(mean, None, None)
    of_seeds = values[:, 0].var(ddof=1) / count
    of_images = values[:, 1:].mean(0).var(ddof=1)
    squared = of_seeds + of_images
    if not squared:
        return Interval(mean, mean, mean)
    parts = of_seeds**2 / (count - 1) + of_images**2 / max(1, freedom)
    half = float(stats.t.ppf(0.975, squared**2 / parts) * math.sqrt(squared))
    return Interval(mean, mean - half, mean + half)
