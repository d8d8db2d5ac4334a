"""Intervals of mIoU and of its differences, over the images of a test and the seeds of a training.

The two are taken apart. Seeds are few, so their part of the variance is that of a mean, with
Student's t; images are many, and the same for all runs, so theirs is by bootstrap, in which all
runs lose and repeat the same ones. Images next to each other in a drive are alike: they are drawn
in blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
    """Of a domain in a run: pixels in intersection and union of each class in each image.

    Attributes:
        images: Their names, in the order of the drive.
        intersection: Shape ``(classes, images)``.
        union: The same.
    """

    images: tuple[str, ...]
    intersection: np.ndarray
    union: np.ndarray

    @classmethod
    def of(cls, per_image: Mapping) -> Counts:
        """Read ``per_image`` of a domain in a report of ``DomainIoUMetric``."""
        counts = (np.array(per_image[key], float) for key in ('intersection', 'union'))
        return cls(tuple(per_image['images']), *counts)

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """Return mIoU in percent ``(b,)`` of images that count ``weights (b, images)`` times."""
        with np.errstate(invalid='ignore'):
            iou = (self.intersection @ weights.T) / (self.union @ weights.T)
        return 100 * np.nanmean(iou, axis=0)


class Resampling:
    """Draws images, the same ones wherever their names are the same.

    A block is ``n^(1/3)`` of n images (Hall, Horowitz and Jing, On blocking rules for the
    bootstrap with dependent data, 1995), and goes on from the last image to the first.

    Args:
        number: How many times to draw.
        seed: Of the draws.
    """

    def __init__(self, number: int = RESAMPLES, seed: int = 0) -> None:
        self.number, self.seed = number, seed
        self._weights: dict[tuple[str, ...], np.ndarray] = {}

    def weights(self, images: tuple[str, ...]) -> np.ndarray:
        """How many times each image counts, shape ``(1 + number, n)``: first once each."""
        if images not in self._weights:
            size = len(images)
            block = round(size ** (1 / 3))
            starts = np.random.default_rng(self.seed).integers(
                size, size=(self.number, math.ceil(size / block))
            )
            drawn = (starts[:, :, None] + np.arange(block)) % size
            drawn = drawn.reshape(self.number, -1)[:, :size]
            counts = [np.ones(size), *(np.bincount(row, minlength=size) for row in drawn)]
            self._weights[images] = np.stack(counts)
        return self._weights[images]

    def scores(self, domains: Sequence[Counts]) -> np.ndarray:
        """Mean mIoU of some domains of a run ``(1 + number,)``, first that of all images."""
        return np.mean([part.scores(self.weights(part.images)) for part in domains], axis=0)


def interval(scores: Sequence[np.ndarray]) -> Interval:
    """The interval of a score, or of a difference of two, from that of each seed.

    The squared errors of the mean over seeds and of the choice of images add up; the degrees of
    freedom are Satterthwaite's (1946), those of the images without end.

    Args:
        scores: Of each seed, shape ``(1 + n,)`` as of :meth:`Resampling.scores`.
    """
    values = np.stack(scores)
    count, mean = len(values), float(values[:, 0].mean())
    if count < 2:
        return Interval(mean, None, None)
    of_seeds = values[:, 0].var(ddof=1) / count
    squared = of_seeds + values[:, 1:].mean(0).var(ddof=1)
    if not squared:
        return Interval(mean, mean, mean)
    freedom = (count - 1) * (squared / of_seeds) ** 2 if of_seeds else np.inf
    half = float(stats.t.ppf(0.975, freedom) * math.sqrt(squared))
    return Interval(mean, mean - half, mean + half)
