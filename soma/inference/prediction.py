"""What a model sees in an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.structures import InstanceData
from PIL import Image

from ..evaluation.predictions import Boxes, write_boxes
from ..io.files import atomic_path
from ..models.probabilities import class_probabilities
from .drawing import draw_result

_ROWS = 64  # of an image whose probabilities are in memory at once


@dataclass(frozen=True)
class Prediction:
    """A segmentation of an image, or the objects in it.

    Attributes:
        image: Shape ``(h, w, 3)``, uint8, RGB, as it is to be shown.
        labels: Of a segmentor the class of each pixel, shape ``(h, w)``, uint8 (uint16 where a
            class needs it); of a detector that of each box, shape ``(n,)``.
        scores: How sure the model is, 0 to 1: at each pixel, shape ``(h, w)`` and float32, None
            where that was not asked for; or of each box, shape ``(n,)``.
        classes: Names of the classes.
        palette: RGB colours of the classes, shape ``(classes, 3)``.
        boxes: Of a detector, left, top, right and bottom in pixels, shape ``(n, 4)``.
        entropy: With ``scores`` of pixels, the entropy of the classes at each pixel over its
            largest value, 0 (one class) to 1 (all alike), shape ``(h, w)`` and float32.
    """

    image: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None
    classes: Sequence[str]
    palette: np.ndarray
    boxes: np.ndarray | None = None
    entropy: np.ndarray | None = None

    def overlay(self, opacity: float = 0.6, score_thr: float = 0.3) -> np.ndarray:
        """Draw it over the image.

        Args:
            opacity: Share of the classes' colours, 0 to 1.
            score_thr: Boxes with lower scores are left out.

        Returns:
            Shape ``(h, w, 3)``, uint8, RGB.
        """
        result = self.labels
        if self.boxes is not None:
            parts = dict(bboxes=self.boxes, labels=self.labels, scores=self.scores)
            result = InstanceData(**parts)
        return draw_result(self.image, result, self.classes, self.palette, score_thr, opacity)

    def shares(self, score_thr: float = 0) -> dict[str, float]:
        """The share of the pixels of each class, 0 to 1; of a detector the number of boxes.

        Args:
            score_thr: Boxes with lower scores do not count.
        """
        labels = self.labels if self.boxes is None else self.labels[self.scores >= score_thr]
        counts = np.bincount(labels.ravel(), minlength=len(self.classes))
        whole = 1 if self.boxes is not None else self.labels.size
        return {
            name: float(count / whole) for name, count in zip(self.classes, counts, strict=False)
        }

    def save(
        self, path: str | os.PathLike, name: str | None = None, identity: str | None = None
    ) -> None:
        """Write the class of each pixel as PNG, or boxes as JSON much as COCO's results are.

        Args:
            path: The file.
            name: Of the image, as boxes tell it; that of the file if None.
            identity: The image's id, as boxes tell it; its name without a suffix if None.

        Raises:
            WriteError: If it cannot be written.
        """
        if self.boxes is not None:
            name = name or Path(path).name
            identity = identity or str(Path(name).with_suffix(''))
            boxes = np.concatenate([self.boxes, self.scores[:, None]], 1)
            image = Boxes(name, self.labels, boxes, identity)
            write_boxes([image], self.classes, Path(path))
            return
        with atomic_path(path) as temporary:
            Image.fromarray(self.labels).save(temporary, 'PNG')


def confidence_maps(model: torch.nn.Module, scores: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The largest probability and the entropy at each pixel, which tell how sure a segmentor is.

    Args:
        model: The segmentor.
        scores: What it gives an image, shape ``(classes, h, w)``.

    Returns:
        As ``scores`` and ``entropy`` of a :class:`Prediction`.
    """
    maps = []
    for rows in scores.split(_ROWS, 1):
        shares = class_probabilities(model, rows)
        entropy = torch.special.entr(shares).sum(0) / np.log(max(2, len(shares)))
        maps.append(torch.stack([shares.max(0).values, entropy]))
    return tuple(torch.cat(maps, 1).cpu().numpy())
