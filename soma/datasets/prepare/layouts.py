"""Where the raw downloads of the datasets hold what, and where the configs want it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mmseg.datasets import CityscapesDataset

from ..labels import (
    BOX_CLASSES,
    CITYSCAPES_TO_TRAIN,
    IDD_CLASSES,
    IDD_TO_TRAIN,
    MAPILLARY_TO_TRAIN,
    SYNTHIA_TO_TRAIN,
    TRAIN_TO_TRAIN,
    URBANSYN_TO_TRAIN,
)
from ..lists import read_names
from .camvid import SPLITS as CAMVID_SPLITS
from .camvid import camvid_jobs
from .convert_boxes import BoxJob, ListJob
from .convert_files import ImageJob, Job, LabelJob
from .convert_masks import CLASSES, SPLITS, mask_jobs
from .counts import IGNORED, Counts

Jobs = list[Job]
_TRAIN_IDS = '_labelTrainIds.png'
_CITYSCAPES = partial(Counts, (*CityscapesDataset.METAINFO['classes'], IGNORED))


@dataclass(frozen=True)
class Layout:
    """How a dataset is converted.

    Attributes:
        jobs: Function from the dataset's folder and the folder to write below to the files to make.
        images: Folders that hold what the configs read as it is.
        train: Folder of the images to train on, and how their names end, for lists of them.
        counts: Makes what counts its classes.
    """

    jobs: Callable[[Path, Path], Jobs]
    images: tuple[str, ...]
    train: tuple[str, str] | None = None
    counts: Callable[[], Counts] = _CITYSCAPES


def find(folder: Path, *patterns: str) -> list[Path]:
    """Returns the files in `folder` that match one of the glob patterns, sorted.

    Raises:
        FileNotFoundError: The folder is missing or holds no such file.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'expected the folder {folder}, which does not exist')
    files = {path for pattern in patterns for path in folder.glob(pattern)}
    files = sorted(path for path in files if not path.name.startswith('.'))
    if not files:
        raise FileNotFoundError(f'expected files {" or ".join(patterns)} in {folder}, found none')
    return files


def _first_of(folder: Path, below: str, *suffixes: str) -> list[tuple[Path, str]]:
    """The label file of each sample that has the first of the suffixes there is, and its name."""
    files = find(folder, *(f'{below}/*{suffix}' for suffix in suffixes))
    label_files = {}  # by the sample
    for suffix in reversed(suffixes):
        named = [path for path in files if path.name.endswith(suffix)]
        label_files |= {path.with_name(path.name.removesuffix(suffix)): path for path in named}
    return [(path, sample.name) for sample, path in sorted(label_files.items())]


def _originals(folder: Path) -> list[Path]:
    """The label files of a folder but those that a conversion has put beside them."""
    files = [path for path in find(folder, '*.png') if not path.name.endswith(_TRAIN_IDS)]
    if not files:
        raise FileNotFoundError(f'expected the original labels in {folder}, found converted ones')
    return files


def _gta(root: Path, out: Path) -> Jobs:
    jobs = []
    for path in _originals(root / 'labels'):
        target, image = out / 'labels' / (path.stem + _TRAIN_IDS), root / 'images' / path.name
        jobs.append(LabelJob(path, target, CITYSCAPES_TO_TRAIN, image))
    return jobs


def _synthia(root: Path, out: Path) -> Jobs:
    folder = Path('GT/LABELS')
    jobs = []
    for path in _originals(root / folder):
        target = out / folder / (path.stem + _TRAIN_IDS)
        jobs.append(LabelJob(path, target, SYNTHIA_TO_TRAIN, root / 'RGB' / path.name, channel=0))
    return jobs


def _urbansyn(root: Path, out: Path) -> Jobs:
    jobs = []
    for path in _originals(root / 'ss'):
        # rgb_0001.png goes with ss_0001.png; configs look for labels by the name of the image.
        image = root / 'rgb' / path.name
        if path.name.startswith('ss_') and not image.exists():
            image = image.with_name('rgb_' + path.name.removeprefix('ss_'))
        target = out / 'ss' / (image.stem + _TRAIN_IDS)
        jobs.append(LabelJob(path, target, URBANSYN_TO_TRAIN, image))
    return jobs


def _cityscapes(root: Path, out: Path) -> Jobs:
    ids, polygons = '_gtFine_labelIds.png', '_gtFine_polygons.json'
    jobs = []
    for split in ('train', 'val'):
        folder = Path('gtFine', split)
        if split == 'train' and not (root / folder).exists():
            continue  # a test on Cityscapes alone does not need it
        for path, name in _first_of(root / folder, '*', ids, polygons):
            town = path.parent.name
            target = out / folder / town / f'{name}_gtFine{_TRAIN_IDS}'
            image = root / 'leftImg8bit' / split / town / f'{name}_leftImg8bit.png'
            jobs.append(LabelJob(path, target, CITYSCAPES_TO_TRAIN, image))
    return jobs


def _bdd100k(root: Path, out: Path) -> Jobs:
    jobs = []
    for split in ('train', 'val'):
        folder = Path('labels/sem_seg/masks', split)
        if split == 'train' and not (root / folder).exists():
            continue
        images = root / 'images/10k' / split
        jobs += [
            LabelJob(path, out / folder / path.name, TRAIN_TO_TRAIN, images / f'{path.stem}.jpg')
            for path in find(root / folder, '*.png')
        ]
    return jobs


def _mapillary(root: Path, out: Path) -> Jobs:
    jobs, half = [], out / 'half'
    for split, source in (('val', root / 'validation'), ('train', root / 'training')):
        if split == 'train' and not source.exists():
            continue
        images = source / 'images'
        # Downloads since version 2.0 hold both versions.
        labels = source / ('v1.2/labels' if (source / 'v1.2').exists() else 'labels')
        for path in find(labels, '*.png'):
            image = images / f'{path.stem}.jpg'
            target = out / 'cityscapes_trainIdLabel' / split / 'label' / path.name
            jobs.append(LabelJob(path, target, MAPILLARY_TO_TRAIN, image))
            if split == 'val':
                target = half / 'val_label' / path.name
                jobs.append(LabelJob(path, target, MAPILLARY_TO_TRAIN, image, half=True))
        if split == 'val':
            jobs += [
                ImageJob(path, half / 'val_img' / path.name, labels / f'{path.stem}.png')
                for path in find(images, '*.jpg')
            ]
    return jobs


def _idd(root: Path, out: Path) -> Jobs:
    made = '_gtFine_labelcsTrainIds.png'  # as the dataset's own tools call them
    jobs: list[LabelJob] = []
    for split in ('train', 'val'):
        folder = Path('gtFine', split)
        if split == 'train' and not (root / folder).exists():
            continue
        suffixes = '_gtFine_polygons.json', '_gtFine_labelids.png', made
        for path, name in _first_of(root / folder, '*', *suffixes):
            drive = path.parent.name
            table = TRAIN_TO_TRAIN if path.name.endswith(made) else IDD_TO_TRAIN
            image = root / 'leftImg8bit' / split / drive / f'{name}_leftImg8bit.png'
            if not image.exists() and image.with_suffix('.jpg').exists():  # its second part
                image = image.with_suffix('.jpg')
            target = out / folder / drive / f'{name}{made}'
            jobs.append(LabelJob(path, target, table, image, classes=IDD_CLASSES))
    if len({job.image.suffix for job in jobs}) < 2:
        return jobs
    remark = 'its image is .jpg (part II), others are .png: a config reads one kind (img_suffix)'
    return [replace(job, remark=remark) if job.image.suffix == '.jpg' else job for job in jobs]


def _foggy_zurich(root: Path, out: Path) -> Jobs:
    folder = Path('gt_labelTrainIds')
    return [
        LabelJob(path, out / below, TRAIN_TO_TRAIN, root / 'RGB' / below.relative_to(folder))
        for path in find(root / folder, '*/*.png')
        for below in [path.relative_to(root)]
    ]


def _adverse(
    images: str, image_suffix: str, labels: str, label_stem: str, below: str = '*/*/*'
) -> Callable[[Path, Path], Jobs]:
    """Layouts of ACDC and its kin: train ids, made of Cityscapes ids where they are missing."""
    ids = f'{label_stem}_labelIds.png'

    def jobs(root: Path, out: Path) -> Jobs:
        result: Jobs = []
        for path, name in _first_of(root / labels, below, f'{label_stem}{_TRAIN_IDS}', ids):
            table = CITYSCAPES_TO_TRAIN if path.name.endswith(ids) else TRAIN_TO_TRAIN
            folder = path.parent.relative_to(root / labels)
            image = root / images / folder / f'{name}{image_suffix}'
            target = out / labels / folder / f'{name}{label_stem}{_TRAIN_IDS}'
            result.append(LabelJob(path, target, table, image))
        return result

    return jobs


_WEATHERS = ('daytime_clear', 'Night-Sunny', 'dusk_rainy', 'night_rainy', 'daytime_foggy')


def _diverse_weather(root: Path, out: Path) -> Jobs:
    jobs: Jobs = []
    for weather in _WEATHERS:
        folder, made = (place / weather / 'VOC2007' for place in (root, out))
        if not folder.exists():
            continue  # some of the domains are enough
        names: dict[str, None] = {}
        for path in find(folder / 'ImageSets/Main', 'train.txt', 'test.txt'):
            listed = read_names(path, 'JPEGImages', '.jpg')
            jobs.append(ListJob(path, made / 'ImageSets/Main' / path.name, listed))
            names |= dict.fromkeys(listed)
        for name in names:
            file, image = f'Annotations/{name}.xml', folder / f'JPEGImages/{name}.jpg'
            jobs.append(BoxJob(folder / file, made / file, image))
    if not jobs:
        weathers = ', '.join(_WEATHERS)
        raise FileNotFoundError(
            f'expected folders such as {root}/daytime_clear/VOC2007 ({weathers}), found none'
        )
    return jobs


LAYOUTS: dict[str, Layout] = {
    'gta': Layout(_gta, ('images',), ('images', '.png')),
    'synthia': Layout(_synthia, ('RGB',), ('RGB', '.png')),
    'urbansyn': Layout(_urbansyn, ('rgb',), ('rgb', '.png')),
    'cityscapes': Layout(_cityscapes, ('leftImg8bit',), ('leftImg8bit/train', '_leftImg8bit.png')),
    'bdd100k': Layout(_bdd100k, ('images',), ('images/10k/train', '.jpg')),
    'mapillary': Layout(_mapillary, ('training', 'validation'), ('training/images', '.jpg')),
    'idd': Layout(_idd, ('leftImg8bit',), ('leftImg8bit/train', '_leftImg8bit.png')),
    'acdc': Layout(_adverse('rgb_anon', '_rgb_anon.png', 'gt', '_gt'), ('rgb_anon',)),
    'muses': Layout(
        _adverse('frame_camera', '_frame_camera.png', 'gt_semantic', '_gt'), ('frame_camera',)
    ),
    'dark_zurich': Layout(_adverse('rgb_anon', '_rgb_anon.png', 'gt', '_gt'), ('rgb_anon',)),
    'night_driving': Layout(
        _adverse(
            'leftImg8bit',
            '_leftImg8bit.png',
            'gtCoarse_daytime_trainvaltest',
            '_gtCoarse',
            below='*/*',
        ),
        ('leftImg8bit',),
    ),
    'foggy_zurich': Layout(_foggy_zurich, ('RGB', 'lists_file_names')),
    'diverseWeather': Layout(
        _diverse_weather,
        tuple(f'{weather}/VOC2007/JPEGImages' for weather in _WEATHERS),
        counts=partial(Counts, BOX_CLASSES, 'boxes'),
    ),
    'camvid': Layout(camvid_jobs, CAMVID_SPLITS),
    'coco': Layout(mask_jobs, SPLITS, counts=partial(Counts, (*CLASSES, IGNORED))),
}
