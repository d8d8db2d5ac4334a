"""Makes semantic masks of COCO's instances, for COCO-20i."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...io.files import InputError, atomic_path
from ..episodes import CocoMaskDataset
from ..labels import IGNORE
from .convert_files import Outcome, is_whole

CLASSES = CocoMaskDataset.METAINFO['classes']
SPLITS = ('train2014', 'val2014')


@dataclass(frozen=True)
class MaskJob:
    """The mask of an image to draw.

    Attributes:
        source: The image.
        target: Labels, a byte a pixel: 0 for the background, classes from 1, 255 for what only
            crowds cover.
        size: Height and width.
        instances: Label and segmentation of each, as COCO has them, in the order of drawing.
    """

    source: Path
    target: Path
    size: tuple[int, int]
    instances: list[tuple[int, list | dict]]

    @property
    def image(self) -> Path:
        """The image whose labels they are."""
        return self.source

    def run(self) -> Outcome:
        """Make the file unless it is there and whole.

        Raises:
            ImportError: pycocotools is not installed.
            ValueError: A segmentation is none.
        """
        if made := not is_whole(self.target, self.size[::-1]):
            labels = np.zeros(self.size, np.uint8)
            for label, segmentation in self.instances:
                if segmentation:  # some have no polygon
                    labels[_decode(segmentation, self.size)] = label
            with atomic_path(self.target) as path:
                Image.fromarray(labels).save(path)
        with Image.open(self.target) as image:
            pixels = np.bincount(np.array(image).ravel(), minlength=256)
        remark = '' if self.source.exists() else 'is missing'
        return Outcome(made, remark=remark, counts=pixels[[*range(len(CLASSES)), IGNORE]])


def _decode(segmentation: list | dict, size: tuple[int, int]) -> np.ndarray:
    """Polygons, or a run-length code, as a mask of booleans."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError('COCO masks need pycocotools: pip install pycocotools') from error
    if isinstance(segmentation, list):
        code = mask.merge(mask.frPyObjects(segmentation, *size))
    elif isinstance(segmentation['counts'], list):
        code = mask.frPyObjects(segmentation, *size)
    else:
        code = segmentation
    return mask.decode(code).astype(bool)


def mask_jobs(root: Path, out: Path) -> list[MaskJob]:
    """The masks of COCO 2014, ``semantic/{train2014,val2014}/<image>.png``.

    Larger objects are drawn below smaller ones, crowds below all.

    Raises:
        FileNotFoundError: A file of instances is missing.
        InputError: It is no file of COCO's instances.
    """
    return [job for split in SPLITS for job in _jobs_of(split, root, out)]


def _jobs_of(split: str, root: Path, out: Path) -> list[MaskJob]:
    file = root / f'annotations/instances_{split}.json'
    if not file.is_file():
        raise FileNotFoundError(f'expected the file {file}, which does not exist')
    try:
        content = json.loads(file.read_text())
        ids = sorted(category['id'] for category in content['categories'])
        labels = {identity: label for label, identity in enumerate(ids, 1)}
        instances = {image['id']: [] for image in content['images']}
        for instance in sorted(content['annotations'], key=lambda i: (-i['iscrowd'], -i['area'])):
            label = IGNORE if instance['iscrowd'] else labels[instance['category_id']]
            instances[instance['image_id']].append((label, instance['segmentation']))
        images = [(i['file_name'], (i['height'], i['width']), i['id']) for i in content['images']]
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        text = f'{type(error).__name__}: {error}'
        raise InputError(f'{file} is no file of instances of COCO: {text}') from error
    if len(ids) != len(CLASSES) - 1:
        raise InputError(f'{file} has {len(ids)} categories, COCO has {len(CLASSES) - 1}')
    return [
        MaskJob(
            root / split / name,
            (out / 'semantic' / split / name).with_suffix('.png'),
            size,
            instances[identity],
        )
        for name, size, identity in images
    ]
