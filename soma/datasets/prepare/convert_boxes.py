"""Single files of a conversion of boxes: XML of Pascal VOC, and lists of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..label_files import shown_size, why_unreadable
from ..labels import BOX_CLASSES
from ..lists import write_names
from ..voc_files import count_boxes, read_voc, tidy_boxes, write_voc
from .convert_files import Outcome


@dataclass(frozen=True)
class BoxJob:
    """Boxes to write again without what is wrong with them.

    Attributes:
        source: An XML file of Pascal VOC.
        target: The file to write. It may be the source, which then is checked and left as it is.
        image: The image whose boxes they are.
    """

    source: Path
    target: Path
    image: Path

    def run(self) -> Outcome:
        """Make the file unless it is there and the same.

        Raises:
            OSError: The source cannot be read.
            ValueError: It is no XML of Pascal VOC, or its image is missing or damaged.
        """
        stated, boxes = read_voc(self.source)
        try:
            with Image.open(self.image) as image:
                size = shown_size(image)
        except Exception as error:  # broken bytes can raise anything
            reason = why_unreadable(self.image, error)
            raise ValueError(f'its image {self.image} {reason}') from error
        boxes, oddities = tidy_boxes(boxes, size, BOX_CLASSES)
        remarks = [f'has {text}' for text in oddities.values()]
        if stated is not None and stated != size:
            remarks.append('is of {} x {} pixels, its image of {} x {}'.format(*stated, *size))
        made = not _is_same(self.source, self.target) and write_voc(
            self.target, self.image.name, size, boxes
        )
        return Outcome(made, remark='; '.join(remarks), counts=count_boxes(boxes, BOX_CLASSES))


@dataclass(frozen=True)
class ListJob:
    """A list of images to write again, a name a line.

    Attributes:
        source: The list.
        target: The file to write. It may be the source, which then is left as it is.
        names: What the source lists.
    """

    source: Path
    target: Path
    names: list[str]

    def run(self) -> Outcome:
        """Make the file unless it is there and the same."""
        if _is_same(self.source, self.target):
            return Outcome(False)
        lines = [name.encode() for name in self.names]
        if self.target.exists() and self.target.read_bytes().splitlines() == lines:
            return Outcome(False)
        write_names(self.target, self.names)
        return Outcome(True)


def _is_same(source: Path, target: Path) -> bool:
    return target.exists() and target.samefile(source)
