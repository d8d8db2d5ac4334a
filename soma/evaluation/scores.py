"""Scores of a segmentation, from counts of pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..io.files import InputError


def confusion_matrix(
    prediction: np.ndarray, label: np.ndarray, classes: int, ignore_index: int = 255
) -> np.ndarray:
    """Count the pixels of each pair of label and prediction.

    Args:
        prediction: Class of each pixel, any shape.
        label: Ground truth of each pixel, the same shape.
        classes: Number of classes.
        ignore_index: Label of pixels that do not count.

    Returns:
        Shape ``(classes, classes)``, int64; row: label, column: prediction.

    Raises:
        InputError: If the shapes differ or a class is out of range.
    """
    if prediction.shape != label.shape:
        raise InputError(f'prediction {prediction.shape} and label {label.shape} differ in shape')
    counted = label != ignore_index
    label, prediction = label[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, values in (('label', label), ('prediction', prediction)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise InputError(
                f'{name} holds {values.min()} to {values.max()}, outside of the {classes} classes'
            )
    pairs = np.bincount(label * classes + prediction, minlength=classes**2)
    return pairs.reshape(classes, classes)


class Scores(NamedTuple):
    """Scores in percent; NaN where there is nothing to score.

    Attributes:
        iou: Intersection over union of each class; NaN for one that is neither there nor predicted.
        acc: Share of each class's pixels that is found; NaN for one that is not there.
    """

    iou: np.ndarray
    acc: np.ndarray
    mIoU: float
    aAcc: float
    mAcc: float

    @classmethod
    def of(cls, counts: np.ndarray) -> Scores:
        """Compute the scores of a confusion matrix ``(classes, classes)``; row: label."""
        hits, labels = counts.diagonal(), counts.sum(1)
        with np.errstate(invalid='ignore'):
            iou = 100 * hits / (labels + counts.sum(0) - hits)
            acc = 100 * hits / labels
            overall = float(np.float64(100 * hits.sum()) / labels.sum())
        return cls(iou, acc, mean(iou), overall, mean(acc))


def mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float('nan')
