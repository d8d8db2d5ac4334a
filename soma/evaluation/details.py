"""What is kept of single images in a test, for the page that shows its results."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mmengine.model import BaseTTAModel
from torch import nn

from .calibration import Calibration, Confidences, confidences_of
from .scores import Scores, mean

SIDE = 360  # pixels of an image's longer side
SURE = 0.3  # score from which a detection counts as shown
_WORST, _MEDIAN = 10, 5
_PIXELS = 2**18  # of an image whose confidence is counted


class ImageScore(NamedTuple):
    """How well an image went.

    Attributes:
        path: Of its file.
        score: The higher the better; NaN if there is nothing to score.
        text: The score in words.
    """

    path: str
    score: float
    text: str


class SegmentationDetails(NamedTuple):
    """Of a domain: confusion matrix ``(classes, classes)``, calibration if known, images."""

    confusion: np.ndarray
    calibration: Calibration | None
    images: list[ImageScore]


class DetectionDetails(NamedTuple):
    """Of a domain: recall and precision ``(2, n)`` of each class that it has, images."""

    curves: dict[str, np.ndarray]
    images: list[ImageScore]


class Maps(NamedTuple):
    """Ground truth and prediction, small and packed.

    Attributes:
        shape: ``(2, h, w)``.
        dtype: Name of the type of the numbers.
        packed: The numbers; a pixel that does not count has the highest of the type as its label.
    """

    shape: tuple[int, ...]
    dtype: str
    packed: bytes

    @classmethod
    def of(cls, label: np.ndarray, prediction: np.ndarray, ignore_index: int) -> Maps:
        """Pack two maps ``(h, w)``."""
        factor = min(1, SIDE / max(label.shape))
        rows, columns = (
            np.linspace(0, side - 1, max(1, round(side * factor))).round().astype(int)
            for side in label.shape
        )
        label, prediction = (v[rows][:, columns].astype(int) for v in (label, prediction))
        ignored = label == ignore_index
        highest = max(np.where(ignored, 0, label).max(), prediction.max())
        dtype = np.dtype('uint8' if highest < 255 else 'uint16')
        label[ignored] = np.iinfo(dtype).max
        maps = np.stack([label, prediction]).astype(dtype)
        return cls(maps.shape, dtype.name, zlib.compress(maps.tobytes(), 1))

    def unpack(self) -> np.ndarray:
        """Ground truth and prediction, shape ``(2, h, w)``."""
        return np.frombuffer(zlib.decompress(self.packed), self.dtype).reshape(self.shape)


class BoxSets(NamedTuple):
    """Boxes of an image, as corners in pixels.

    Attributes:
        gt_boxes: Those to find, shape ``(n, 4)``.
        gt_labels: Their classes.
        boxes: Those of scores from ``SURE``, shape ``(m, 4)``.
        labels: Their classes.
        right: Which of them find a box, shape ``(m,)``.
        wrong: Which find none; neither is one on an ignored box.
    """

    gt_boxes: np.ndarray
    gt_labels: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    right: np.ndarray
    wrong: np.ndarray


def is_augmented(model: nn.Module) -> bool:
    """Whether a model tests with augmentation: its scores are not those of the predictions."""
    return any(isinstance(part, BaseTTAModel) for part in model.modules())


class Recorder:
    """Keeps a few kilobytes of each image of a test, in the process that tests it.

    Args:
        model: The model, perhaps in a wrapper. With test-time augmentation its scores are not
            those of the predictions, and calibration is left out.

    Attributes:
        thumbnails: What to draw, by domain and path.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.calibrates = not is_augmented(model)
        self.thumbnails: dict[tuple[str, str], Maps | BoxSets] = {}

    def add_maps(self, sample: dict, maps: Maps, counts: np.ndarray) -> ImageScore:
        """Keep a segmented image, whose confusion matrix is ``counts``.

        Returns:
            Its mIoU over the classes that its ground truth has.
        """
        self.thumbnails[sample['domain'], sample['img_path']] = maps
        score = mean(Scores.of(counts).iou[counts.sum(1) > 0])
        return ImageScore(sample['img_path'], score, f'mIoU {score:.1f}')

    def confidences(self, sample: dict, ignore_index: int) -> Confidences | None:
        """The pixels of a segmented image by confidence; None where scores are not known.

        Of a large image they are of every second or third row and column, and so on: a softmax of
        all takes a second of a CPU.
        """
        if not self.calibrates or 'seg_logits' not in sample:
            return None
        step = math.ceil(math.sqrt(sample['seg_logits']['data'][0].numel() / _PIXELS))
        return confidences_of(self.model, sample, ignore_index, step)

    def add_boxes(self, sample: dict, boxes: BoxSets) -> ImageScore:
        """Keep an image with boxes.

        Returns:
            Minus the number of boxes that are missed or false.
        """
        self.thumbnails[sample['domain'], sample['img_path']] = boxes
        missed, false = len(boxes.gt_labels) - int(boxes.right.sum()), int(boxes.wrong.sum())
        return ImageScore(sample['img_path'], -missed - false, f'{missed} missed, {false} false')


def choose(images: Sequence[ImageScore]) -> tuple[list[ImageScore], list[ImageScore]]:
    """The ten worst images, the worst first, and of the five nearest to the median the others."""
    order = sorted(
        (image for image in images if not np.isnan(image.score)), key=lambda i: (i.score, i.path)
    )
    middle = (len(order) - 1) / 2
    nearest = sorted(range(len(order)), key=lambda index: abs(index - middle))[:_MEDIAN]
    return order[:_WORST], [order[index] for index in sorted(nearest) if index >= _WORST]
