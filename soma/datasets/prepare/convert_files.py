"""Single files of a conversion: labels to train ids, images to half their size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageOps

from ...io.files import atomic_path
from ..label_files import (
    orientation,
    read_labels,
    shown_size,
    stored_size,
    unknown_labels,
    why_unreadable,
)
from ..labels import CLASSES, IGNORE, count_classes, to_train_ids


class Outcome(NamedTuple):
    """What became of one file.

    Attributes:
        made: Whether it was made now; it may have been there, or its source be no good.
        failure: Why its source is no good, or ''.
        remark: What is unusual about its source, or ''.
        counts: How often each class occurs (see ``Counts``), in labels of full size.
    """

    made: bool
    failure: str = ''
    remark: str = ''
    counts: np.ndarray | None = None


@dataclass(frozen=True)
class LabelJob:
    """Labels to translate.

    Attributes:
        source: Raw labels.
        target: Train ids. It may be the source, which then is checked and left as it is.
        table: Train id of each raw value (256,).
        image: The image whose labels they are.
        channel: As for ``read_labels``.
        half: Whether to halve width and height.
        classes: As for ``read_labels``; polygons of Cityscapes need no table.
        remark: What is unusual about it.
    """

    source: Path
    target: Path
    table: np.ndarray
    image: Path
    channel: int | None = None
    half: bool = False
    classes: tuple[str, ...] | None = None
    remark: str = ''

    def run(self) -> Outcome:
        """Make the file unless it is there and whole.

        Raises:
            ImportError: Labels are there as polygons, and what draws them is not.
            OSError: The source cannot be read to its end.
            ValueError: It holds something else than labels of the dataset.
        """
        size = stored_size(self.source)
        remarks = self._look_at_image(size), self._look_at_polygons(), self.remark
        remark = '; '.join(filter(None, remarks))
        if self.target.exists() and self.target.samefile(self.source):
            return Outcome(False, remark=remark, counts=_count(self._check_source()))
        labels = self._read_target(_half(size) if self.half else size)
        made = labels is None
        if made:
            labels = self._translate()
            if self.half:
                image = Image.fromarray(labels)
                labels = np.array(image.resize(_half(image.size), Image.Resampling.NEAREST))
            with atomic_path(self.target) as path:
                Image.fromarray(labels).save(path)
        return Outcome(made, remark=remark, counts=None if self.half else _count(labels))

    def _translate(self) -> np.ndarray:
        labels = read_labels(self.source, self.channel, self.classes)
        if self.source.suffix == '.json' and self.classes is None:  # drawn as train ids
            return labels.astype(np.uint8)
        return to_train_ids(labels, self.table)

    def _check_source(self) -> np.ndarray:
        labels = self._translate()
        with Image.open(self.source) as image:
            if not np.array_equal(np.array(image), labels):
                raise ValueError(
                    'does not hold train ids in one channel, as the configs read them: --out '
                    'ANOTHER_FOLDER makes a file that does'
                )
        return labels

    def _read_target(self, size: tuple[int, int]) -> np.ndarray | None:
        """What an earlier run has made, if it is there, whole, and of the right size."""
        try:
            with Image.open(self.target) as image:
                labels = np.array(image)
        except Exception:  # missing, cut off or no image
            return None
        if labels.shape[::-1] != size:
            return None
        return labels if ((labels < CLASSES) | (labels == IGNORE)).all() else None

    def _look_at_polygons(self) -> str:
        if self.source.suffix != '.json' or self.classes is None:
            return ''
        if names := unknown_labels(self.source, self.classes):
            return f'not drawn, since the dataset does not define it: {", ".join(names)}'
        return ''

    def _look_at_image(self, size: tuple[int, int]) -> str:
        if not self.image.exists():
            return f'has no image {self.image}'
        try:
            with Image.open(self.image) as image:
                shown, tag = shown_size(image), orientation(image)
        except Exception:  # broken bytes can raise anything
            return f'its image {self.image} is damaged'
        if size != shown:
            return 'is {} x {} pixels, its image {} x {}'.format(*size, *shown)
        return f'its image is shown turned (EXIF orientation {tag})' if tag > 1 else ''


@dataclass(frozen=True)
class ImageJob:
    """An image to halve in width and height.

    Attributes:
        source: The image.
        target: The file to write.
        label: Its raw labels.
    """

    source: Path
    target: Path
    label: Path

    def run(self) -> Outcome:
        """Make the file unless it is there and whole.

        An image that EXIF says to turn is turned, unless its labels lie as it is stored.

        Raises:
            OSError: The source cannot be read to its end.
        """
        with Image.open(self.source) as image:
            tag, turn, remark = orientation(image), False, ''
            if tag > 1:
                try:
                    labelled = stored_size(self.label)
                except Exception:  # missing or damaged, which its own job reports
                    labelled = None
                turn = shown_size(image) == labelled or image.size != labelled
                done = 'turned' if turn else 'not turned, for its labels are not'
                remark = f'{done} (EXIF orientation {tag})'
            size = _half(shown_size(image) if turn else image.size)
            if is_whole(self.target, size):
                return Outcome(False, remark=remark)
            result = ImageOps.exif_transpose(image) if turn else image
            result = result.convert('RGB').resize(size, Image.Resampling.BICUBIC)
        with atomic_path(self.target) as path:
            result.save(path, quality=95)
        return Outcome(True, remark=remark)


class Job(Protocol):
    """A file to make out of another."""

    source: Path
    target: Path

    def run(self) -> Outcome:
        """Make it unless it is there and whole."""


def run_job(job: Job) -> Outcome:
    """Make one file; what is wrong with its source does not stop the others."""
    try:
        return job.run()
    except ImportError:  # nothing is wrong with the file
        raise
    except Exception as error:  # broken bytes can raise anything
        return Outcome(False, failure=why_unreadable(job.source, error))


def _half(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] // 2, size[1] // 2


def _count(labels: np.ndarray) -> np.ndarray:
    return count_classes(np.bincount(labels.ravel(), minlength=256))


def is_whole(path: Path, size: tuple[int, int]) -> bool:
    """Whether an image is there, can be read to its end and has the size."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size == size
    except Exception:
        return False
