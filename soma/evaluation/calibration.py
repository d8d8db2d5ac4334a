"""Whether a segmentor is as sure as it is right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BINS = 15
_PARTS = 200  # of a bin: counts of whole numbers add up to the same on any number of processes


def confidence_counts(
    probabilities: Tensor, prediction: Tensor, label: Tensor, ignore_index: int = 255
) -> np.ndarray:
    """Count pixels by the probability of the class that is predicted, on the tensors' device.

    Args:
        probabilities: Of each class, shape ``(classes, h, w)``.
        prediction: Class of each pixel, shape ``(h, w)``.
        label: Ground truth, the same shape.
        ignore_index: Label of pixels that do not count.

    Returns:
        Wrong pixels and right ones in each of many small steps of probability, shape
        ``(2, steps)``, int64.
    """
    prediction, label = (values.to(probabilities.device).long() for values in (prediction, label))
    confidence = probabilities.gather(0, prediction[None])[0]
    steps = BINS * _PARTS
    index = (confidence.nan_to_num() * steps).ceil().long().sub_(1).clamp_(0, steps - 1)
    index += steps * (prediction == label)
    counts = torch.bincount(index[label != ignore_index], minlength=2 * steps)
    return counts.cpu().numpy().reshape(2, steps)


class Calibration(NamedTuple):
    """Confidence and accuracy in 15 bins of confidence of one width.

    Attributes:
        confidence: Mean confidence of each bin, shape ``(15,)``; NaN for an empty one.
        accuracy: Share of right pixels, shape ``(15,)``; NaN for an empty one.
        share: Share of all pixels, shape ``(15,)``.
        ece: Expected calibration error in percent (arXiv 1706.04599); NaN without pixels.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray
    ece: float

    @classmethod
    def of(cls, counts: np.ndarray) -> Calibration:
        """Sum up what :func:`confidence_counts` gives; confidences to 1 / 6000."""
        total = counts.sum(0)
        middle = (np.arange(total.size) + 0.5) / total.size
        sums = [values.reshape(BINS, -1).sum(1) for values in (total, total * middle, counts[1])]
        pixels, confidence, right = sums
        with np.errstate(invalid='ignore'):
            ece = 100 * np.float64(np.abs(right - confidence).sum()) / pixels.sum()
            shares = confidence / pixels, right / pixels, pixels / pixels.sum()
        return cls(*shares, float(ece))
