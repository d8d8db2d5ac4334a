"""The raw layouts and label encodings of the datasets that the toy domains stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmseg.datasets import CityscapesDataset
from PIL import Image

from ...files import atomic_path
from ..labels import TRAIN_TO_CITYSCAPES
from .render import Rendering

_MAPILLARY = (13, 15, 17, 6, 3, 45, 48, 50, 30, 29, 27, 19, 20, 55, 61, 54, 58, 57, 52)
_TOWNS = {'train': ('altdorf', 'lindau', 'neustadt'), 'val': ('seeheim', 'waldkirch')}


@dataclass(frozen=True)
class Encoding:
    """Raw label values by train id, and where ignored pixels go.

    Attributes:
        values: Raw value of each train id (256,) uint8.
        palette: Whether the file is a palette image with these indices.
    """

    values: np.ndarray
    palette: bool = False

    def save(self, path: Path, labels: np.ndarray) -> None:
        """Writes train ids (H, W) in this encoding as a PNG file."""
        image = Image.fromarray(self.values[labels])
        if self.palette:
            colours = np.zeros((256, 3), np.uint8)
            colours[self.values[:19]] = CityscapesDataset.METAINFO['palette']
            image.putpalette(colours.tobytes())
        with atomic_path(path) as temporary:
            image.save(temporary)


def _encoding(values: Sequence[int], ignored: int, palette: bool = False) -> Encoding:
    table = np.full(256, ignored, np.uint8)
    table[: len(values)] = values
    return Encoding(table, palette)


TRAIN_IDS = _encoding(tuple(range(19)), 255)
CITYSCAPES_IDS = _encoding(TRAIN_TO_CITYSCAPES, 1)  # ego vehicle
GTA_IDS = _encoding(TRAIN_TO_CITYSCAPES, 1, palette=True)
MAPILLARY_IDS = _encoding(_MAPILLARY, 64, palette=True)  # ego vehicle

# The picture of a sample, and its label files with their encodings.
Files = tuple[Path, list[tuple[Path, Encoding]]]


def _gta(split: str, index: int) -> Files:
    name = f'{index + 1:05d}.png'
    return Path('gta/images', name), [(Path('gta/labels', name), GTA_IDS)]


def _cityscapes(split: str, index: int) -> Files:
    towns = _TOWNS[split]
    town = towns[index % len(towns)]
    name = f'{split}/{town}/{town}_{index // len(towns):06d}_000019'
    label = Path(f'cityscapes/gtFine/{name}_gtFine_labelIds.png')
    return Path(f'cityscapes/leftImg8bit/{name}_leftImg8bit.png'), [(label, CITYSCAPES_IDS)]


def _bdd100k(split: str, index: int) -> Files:
    root, name = Path('bdd100k'), f'toy{split}-{index:05d}'
    label = root / 'labels/sem_seg/masks' / split / f'{name}.png'
    return root / 'images/10k' / split / f'{name}.jpg', [(label, TRAIN_IDS)]


def _mapillary(split: str, index: int) -> Files:
    root, name = (
        Path('mapillary', {'train': 'training', 'val': 'validation'}[split]),
        f'toy_{index:05d}',
    )
    return root / f'images/{name}.jpg', [(root / f'v1.2/labels/{name}.png', MAPILLARY_IDS)]


def _acdc(condition: str) -> Callable[[str, int], Files]:
    def files(split: str, index: int) -> Files:
        sequence = f'TOYS{index // 50:04d}'
        name = f'{condition}/{split}/{sequence}/{sequence}_frame_{index % 50 + 1:06d}'
        labels = (
            Path(f'acdc/gt/{name}_gt_labelTrainIds.png'),
            Path(f'acdc/gt/{name}_gt_labelIds.png'),
        )
        encodings = TRAIN_IDS, CITYSCAPES_IDS
        return Path(f'acdc/rgb_anon/{name}_rgb_anon.png'), list(zip(labels, encodings, strict=True))

    return files


@dataclass(frozen=True)
class RawLayout:
    """How one domain lies on disk.

    Attributes:
        files: Paths of sample `index` of a split, 'train' or 'val', relative to the data folder.
        splits: The splits that are written.
        scale: Size of its pictures relative to the size asked for.
    """

    files: Callable[[str, int], Files]
    splits: tuple[str, ...] = ('train', 'val')
    scale: int = 1


RAW_LAYOUTS: dict[str, RawLayout] = {
    'gta': RawLayout(_gta, ('train',)),
    'cityscapes': RawLayout(_cityscapes),
    'bdd100k': RawLayout(_bdd100k),
    'mapillary': RawLayout(_mapillary, scale=2),  # conversion halves its validation pictures
    **{name: RawLayout(_acdc(name), ('val',)) for name in ('fog', 'night', 'rain', 'snow')},
}


def save_sample(root: Path, files: Files, rendering: Rendering) -> None:
    """Writes a picture and its label files below `root`."""
    picture, labels = files
    for path, encoding in labels:
        encoding.save(root / path, rendering.labels)
    with atomic_path(root / picture) as temporary:
        options = [cv2.IMWRITE_JPEG_QUALITY, 92] if picture.suffix == '.jpg' else []
        if not cv2.imwrite(str(temporary), rendering.image[..., ::-1], options):
            raise OSError(f'could not write {root / picture}')
