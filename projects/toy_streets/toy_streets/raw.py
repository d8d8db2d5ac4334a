"""The raw layouts of the datasets that the toy domains stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from soma.io.files import atomic_path

from .encodings import (
    Writer,
    boxes,
    cityscapes_ids,
    mapillary_ids,
    polygons,
    synthia_ids,
    train_ids,
    urbansyn_ids,
)
from .render import Rendering

SPLITS = ('train', 'val', 'test')
_TOWNS = {
    'train': ('altdorf', 'lindau', 'neustadt'),
    'val': ('seeheim', 'waldkirch'),
    'test': ('burgstadt',),
}

# The image of a sample, and its label files with what writes them.
Files = tuple[Path, list[tuple[Path, Writer]]]


def _gta(split: str, index: int) -> Files:
    name = f'{index + 1:05d}.png'
    return Path('gta/images', name), [(Path('gta/labels', name), cityscapes_ids(palette=True))]


def _synthia(split: str, index: int) -> Files:
    root, name = Path('synthia'), f'{index:07d}.png'
    return root / 'RGB' / name, [(root / 'GT/LABELS' / name, synthia_ids)]


def _urbansyn(split: str, index: int) -> Files:
    root, name = Path('urbansyn'), f'{index + 1:04d}.png'
    return root / f'rgb/rgb_{name}', [(root / f'ss/ss_{name}', urbansyn_ids)]


def _cityscapes(split: str, index: int) -> Files:
    towns = _TOWNS[split]
    town = towns[index % len(towns)]
    name = f'{split}/{town}/{town}_{index // len(towns):06d}_000019'
    labels = {'labelIds.png': cityscapes_ids(), 'polygons.json': polygons}
    return Path(f'cityscapes/leftImg8bit/{name}_leftImg8bit.png'), [
        (Path(f'cityscapes/gtFine/{name}_gtFine_{kind}'), writer)
        for kind, writer in labels.items()
        if split != 'test'  # its labels stay with the server
    ]


def _bdd100k(split: str, index: int) -> Files:
    root, name = Path('bdd100k'), f'toy{split}-{index:05d}'
    label = root / 'labels/sem_seg/masks' / split / f'{name}.png'
    return root / 'images/10k' / split / f'{name}.jpg', [(label, train_ids)]


def _mapillary(split: str, index: int) -> Files:
    root = Path('mapillary', {'train': 'training', 'val': 'validation'}[split])
    name = f'toy_{index:05d}'
    return root / f'images/{name}.jpg', [(root / f'v1.2/labels/{name}.png', mapillary_ids)]


def _acdc(condition: str) -> Callable[[str, int], Files]:
    def files(split: str, index: int) -> Files:
        sequence = f'{condition.upper()}{index // 50:04d}'
        name = f'{condition}/{split}/{sequence}/{sequence}_frame_{index % 50 + 1:06d}'
        labels = {'labelTrainIds': train_ids, 'labelIds': cityscapes_ids()}
        return Path(f'acdc/rgb_anon/{name}_rgb_anon.png'), [
            (Path(f'acdc/gt/{name}_gt_{kind}.png'), writer)
            for kind, writer in labels.items()
            if split != 'test'  # its labels stay with the server
        ]

    return files


def _diverse_weather(folder: str) -> Callable[[str, int], Files]:
    def files(split: str, index: int) -> Files:
        root, name = Path('diverseWeather', folder, 'VOC2007'), f'toy{split}-{index:05d}'
        return root / f'JPEGImages/{name}.jpg', [(root / f'Annotations/{name}.xml', boxes)]

    return files


def _lists(folder: str, **names: str) -> dict[str, Path]:
    lists = Path('diverseWeather', folder, 'VOC2007/ImageSets/Main')
    return {split: lists / name for split, name in names.items()}


@dataclass(frozen=True)
class RawLayout:
    """How one domain lies on disk.

    Attributes:
        files: Paths of sample `index` of a split, relative to the data folder.
        splits: The splits that are written, out of `SPLITS`.
        scale: Size of its images relative to the size asked for.
        lists: File that lists the images of a split, by split; none by default.
    """

    files: Callable[[str, int], Files]
    splits: tuple[str, ...] = ('train', 'val')
    scale: int = 1
    lists: dict[str, Path] = field(default_factory=dict)


RAW_LAYOUTS: dict[str, RawLayout] = {
    'gta': RawLayout(_gta, ('train',)),
    'synthia': RawLayout(_synthia, ('train',)),
    'urbansyn': RawLayout(_urbansyn, ('train',)),
    'cityscapes': RawLayout(_cityscapes, SPLITS),
    'bdd100k': RawLayout(_bdd100k),
    'mapillary': RawLayout(_mapillary, scale=2),  # conversion halves its validation images
    **{name: RawLayout(_acdc(name), ('val', 'test')) for name in ('fog', 'night', 'rain', 'snow')},
    'daytime_clear': RawLayout(
        _diverse_weather('daytime_clear'),
        lists=_lists('daytime_clear', train='train.txt', val='test.txt'),
    ),
    **{  # the list that they are tested on has the name of a list to train on
        name: RawLayout(_diverse_weather(name), ('val',), lists=_lists(name, val='train.txt'))
        for name in ('Night-Sunny', 'dusk_rainy', 'night_rainy', 'daytime_foggy')
    },
}


def save_sample(root: Path, files: Files, rendering: Rendering) -> None:
    """Writes an image and its labels below `root`."""
    image, labels = files
    for path, write in labels:
        write(root / path, rendering)
    with atomic_path(root / image) as temporary:
        options = [cv2.IMWRITE_JPEG_QUALITY, 92] if image.suffix == '.jpg' else []
        if not cv2.imwrite(str(temporary), rendering.image[..., ::-1], options):
            raise OSError(f'could not write {root / image}')
