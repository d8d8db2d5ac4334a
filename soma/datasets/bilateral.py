"""A blur that keeps edges."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmengine.registry import TRANSFORMS

from ..io.files import InputError


@TRANSFORMS.register_module()
class BilateralFilter(BaseTransform):
    """Smooths texture and keeps edges, with OpenCV's bilateral filter of a random diameter.

    One of the augmentations whose models ReVT averages (arXiv 2308.13331). As in its public
    configs: of half of the images, before the flip, with a diameter of less than 16 and 75 for
    both deviations. Our choice: odd diameters only, each as often, since OpenCV takes the next
    odd one anyway; and none of 0, for which it would take 225 pixels and seconds.

    Args:
        prob: Share of the images that are filtered.
        max_diameter: The largest diameter in pixels; one of 3, 5, 7 ... is drawn.
        sigma_color: How far colours may lie apart that are averaged, of 255.
        sigma_space: How much a distance in pixels counts; 75 means hardly, within so few.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(
        self,
        prob: float = 0.5,
        max_diameter: int = 15,
        sigma_color: float = 75.0,
        sigma_space: float = 75.0,
    ) -> None:
        if not 0 < prob <= 1 or max_diameter < 3 or sigma_color <= 0 or sigma_space <= 0:
            raise InputError(
                'BilateralFilter needs a prob above 0 and at most 1, a max_diameter of at least 3 '
                f'and sigmas above 0, got prob={prob}, max_diameter={max_diameter}, '
                f'sigma_color={sigma_color}, sigma_space={sigma_space}'
            )
        self.prob, self.max_diameter = prob, max_diameter
        self.sigma_color, self.sigma_space = sigma_color, sigma_space

    def transform(self, results: dict) -> dict:
        """Filter an image.

        Args:
            results: With ``img``, uint8, ``(h, w, 3)``.

        Returns:
            The same dict, perhaps with another ``img`` of this kind.

        Raises:
            InputError: If ``img`` is of another kind.
        """
        image, diameter = results['img'], self._draw_diameter()
        if image.dtype != np.uint8:
            raise InputError(
                'BilateralFilter needs an image of 0 to 255 as it is loaded, before any '
                f'normalisation, got {image.dtype}'
            )
        if diameter:
            sigmas = self.sigma_color, self.sigma_space
            results['img'] = cv2.bilateralFilter(image, diameter, *sigmas)
        return results

    @cache_randomness
    def _draw_diameter(self) -> int:
        """Draw an odd diameter, or 0 to leave an image as it is."""
        if np.random.random() >= self.prob:
            return 0
        return 2 * np.random.randint(1, (self.max_diameter - 1) // 2 + 1) + 1

    def __repr__(self) -> str:
        return (
            f'BilateralFilter(prob={self.prob}, max_diameter={self.max_diameter}, '
            f'sigma_color={self.sigma_color}, sigma_space={self.sigma_space})'
        )
