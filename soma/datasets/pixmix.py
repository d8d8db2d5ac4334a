"""Images mixed with copies of themselves and with fractals (PixMix, arXiv 2112.05135)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import PhotoMetricDistortion

from ..io.files import InputError

_SUFFIXES = ('.png', '.jpg', '.jpeg')
_LOWEST = 1e-37  # in the place of 0, whose negative powers are infinite, in float32 too
_MARGIN = 1.125  # how much larger than the image a fractal is, before the cut


def mix_by_addition(x: np.ndarray, y: np.ndarray, a: float, b: float, white: int = 1) -> np.ndarray:
    """Add ``a x + b y`` about the middle grey, of values from 0 to ``white`` (section 3)."""
    return (a * (2 * x - white) + b * (2 * y - white) + white) / 2


def mix_by_multiplication(x: np.ndarray, y: np.ndarray, a: float, b: float) -> np.ndarray:
    """Multiply ``x^a y^b``, with middle grey as 1, of values from 0 to 1 (section 3)."""
    return (2 * x) ** a * (2 * y).clip(_LOWEST) ** b / 2


MIXINGS = (mix_by_addition, mix_by_multiplication)


class Round(NamedTuple):
    """What happens in one round.

    Attributes:
        fractal: Whether the fractal is mixed in, else an augmented copy.
        mixing: Index of ``MIXINGS``.
        a: Weight or exponent of the image so far, about 1.
        b: Of what is mixed in, about 0.
    """

    fractal: bool
    mixing: int
    a: float
    b: float


class Plan(NamedTuple):
    """What happens to one image.

    Attributes:
        augmented: Whether an augmented copy is the start, else the image as it is.
        rounds: The rounds, perhaps none.
        fractal: Index of the fractal image.
        place: Where it is cut out, from 0 (top, left) to 1.
    """

    augmented: bool
    rounds: list[Round]
    fractal: int
    place: tuple[float, float]


@TRANSFORMS.register_module()
class PixMix(BaseTransform):
    """Mixes an image with augmented copies of itself and with a fractal, in up to ``k`` rounds.

    As in ReVT (arXiv 2308.13331), which trains with it in the place of ``PhotoMetricDistortion``.
    The start is the image or an augmented copy; each of 0 to ``k`` rounds adds or multiplies
    another augmented copy, or the fractal. Whole numbers from 0 to 255 come out, as they came in.
    Labels stay as they are.

    In the paper all values are from 0 to 1. ReVT's published numbers are of its release, which
    mixes images of 0 to 255, in bytes, with fractals of 0 to 1. So doubled bytes wrap around, and a
    fractal is nearly black. Where the two exponents do not add up to 1, little is left or all is
    white. A street changes by 74 grey levels on average, in the paper's scale by 21.

    Args:
        mixing_set: Folder of fractals, or other complex images; those in its folders count too.
        k: The largest number of rounds.
        beta: Of the beta distributions of the weights; the larger it is, the less is mixed in.
        prob: Share of the images that are mixed.
        scale: ``'paper'`` or ``'release'``, as above.

    Raises:
        FileNotFoundError: If there is no image in ``mixing_set``.
        InputError: If another value is out of range.
    """

    def __init__(
        self,
        mixing_set: str | Path,
        k: int = 4,
        beta: float = 3.0,
        prob: float = 1.0,
        scale: str = 'paper',
    ) -> None:
        if not isinstance(k, int) or k < 1 or beta <= 0 or not 0 < prob <= 1:
            raise InputError(
                'PixMix needs a whole k of at least 1, a beta above 0 and a prob above 0 and at '
                f'most 1, got k={k}, beta={beta}, prob={prob}'
            )
        if scale not in ('paper', 'release'):
            raise InputError(f"PixMix: scale must be 'paper' or 'release', got {scale!r}")
        files = Path(mixing_set).rglob('[!.]*')
        self.fractals = sorted(str(file) for file in files if file.suffix.lower() in _SUFFIXES)
        if not self.fractals:
            raise FileNotFoundError(
                f'PixMix: no images in {mixing_set}; to make fractals: '
                f'python tools/make_fractals.py {mixing_set}'
            )
        self.mixing_set, self.k, self.beta, self.prob = mixing_set, k, beta, prob
        self.scale = scale
        # PixMix also rotates, shears and shifts its copies. Mixed in, they would show things where
        # the labels have others, so that copies here differ in brightness and colour only.
        self.augment = PhotoMetricDistortion()

    def transform(self, results: dict) -> dict:
        """Mix an image.

        Args:
            results: With ``img``, uint8, ``(h, w, 3)``.

        Returns:
            The same dict with another ``img`` of this kind.

        Raises:
            InputError: If ``img`` is of another kind.
        """
        plan, image = self._draw_plan(), results['img']
        if image.dtype != np.uint8 or image.shape[2:] != (3,):
            raise InputError(
                'PixMix needs a colour image of 0 to 255 as it is loaded, before any '
                f'normalisation, got {image.dtype} of shape {image.shape}'
            )
        if plan is None:
            return results
        if self.scale == 'paper':
            mixed = 255 * self._mix(plan, image, _to_unit, white=1)
        else:
            mixed = self._mix(plan, image, np.asarray, white=255)
        results['img'] = mixed.round().astype(np.uint8)
        return results

    def _mix(self, plan: Plan, image: np.ndarray, scaled: Callable, white: int) -> np.ndarray:
        """Do what is planned, on images that ``scaled`` makes values from 0 to ``white`` of."""
        mixings = (partial(mix_by_addition, white=white), mix_by_multiplication)
        mixed = scaled(self._augmented(image) if plan.augmented else image)
        fractal = None
        for step in plan.rounds:
            if step.fractal and fractal is None:  # read only if it is needed
                fractal = _to_unit(self._read_fractal(plan, image.shape[:2]))
            other = fractal if step.fractal else scaled(self._augmented(image))
            with np.errstate(over='ignore'):  # infinite is white too
                mixed = mixings[step.mixing](mixed, other, step.a, step.b).clip(0, white)
        return mixed

    @cache_randomness
    def _draw_plan(self) -> Plan | None:
        """Draw all that is random, but for the augmented copies; None to leave an image as is."""
        if np.random.random() >= self.prob:
            return None
        augmented, count = np.random.random() < 0.5, np.random.randint(self.k + 1)
        rounds = [
            Round(np.random.random() < 0.5, np.random.randint(len(MIXINGS)), *self._draw_weights())
            for _ in range(count)
        ]
        place = np.random.random(), np.random.random()
        return Plan(augmented, rounds, np.random.randint(len(self.fractals)), place)

    def _draw_weights(self) -> tuple[float, float]:
        """Draw a and b: both from 0 to 1, or a from 1 to 2 and b from -1 to 0."""
        small = np.random.beta(1, self.beta)
        if np.random.random() < 0.5:
            return np.random.beta(self.beta, 1), small
        return 1 + np.random.beta(1, self.beta), -small

    def _augmented(self, image: np.ndarray) -> np.ndarray:
        return self.augment.transform({'img': image})['img']

    def _read_fractal(self, plan: Plan, size: tuple[int, int]) -> np.ndarray:
        """Read a fractal, resize it to a little more than an image's size and cut that out."""
        path = self.fractals[plan.fractal]
        try:
            fractal = mmcv.imread(path)
        except cv2.error:  # an empty file, or an enormous image
            fractal = None
        if fractal is None:
            raise OSError(f'PixMix: {path} is no image that can be read: delete it')
        ratios = (side / length for side, length in zip(size, fractal.shape, strict=False))
        scale = _MARGIN * max(ratios)
        height, width = (max(round(scale * side), 1) for side in fractal.shape[:2])
        fractal = mmcv.imresize(fractal, (width, height))
        top, left = (
            round(share * (length - side))
            for share, length, side in zip(plan.place, (height, width), size, strict=True)
        )
        return fractal[top : top + size[0], left : left + size[1]]

    def __repr__(self) -> str:
        return (
            f'PixMix(mixing_set={str(self.mixing_set)!r}, k={self.k}, beta={self.beta}, '
            f'prob={self.prob}, scale={self.scale!r})'
        )


def _to_unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255
