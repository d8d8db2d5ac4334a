"""Toy episodes: images in the layout of Pascal VOC, with 20 classes in folds of five.

A class is a pattern in a hue, on an object of any shape. A fold holds a pattern, which no object of
its base classes has. Each image has objects of three classes on a coloured background.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from soma.datasets.lists import write_names
from soma.io.files import InputError, atomic_path, check_folder
from soma.utils.parallel import run_parallel

SIDE = 224
PATTERNS = ('plain', 'banded', 'barred', 'checked')
HUES = {'red': 0, 'yellow': 30, 'green': 60, 'blue': 110, 'violet': 145}  # of 180, as in OpenCV
CLASSES = tuple(f'{pattern} {hue}' for pattern in PATTERNS for hue in HUES)
_OBJECTS = 3


def write_toy_episodes(
    folder: str | Path, images: int, val_images: int, seed: int = 0, nproc: int = 1
) -> None:
    """Write images, masks and the lists ``trainaug.txt`` and ``val.txt``.

    Args:
        folder: Folder to write to; the layout is that of ``data/VOCdevkit/VOC2012``.
        images: Number of images to train on.
        val_images: Number of images to test on.
        seed: Seed of all that is drawn.
        nproc: Number of processes.

    Raises:
        InputError: If a number makes no sense, or there is something in the folder.
    """
    folder = Path(folder)
    if min(images, val_images) < 1 or seed < 0:
        raise InputError('images and val_images must be at least 1, seed at least 0')
    check_folder(folder)
    if any(folder.iterdir()):
        raise InputError(f'{folder} is not empty: name another folder, or delete it')
    names = [f'{index:06d}' for index in range(images + val_images)]
    run_parallel(partial(_write, folder, seed), range(len(names)), nproc, 'drawing toy episodes')
    lists = folder / 'ImageSets/Segmentation'
    write_names(lists / 'trainaug.txt', names[:images])
    write_names(lists / 'val.txt', names[images:])


def _write(folder: Path, seed: int, index: int) -> None:
    image, labels = draw_sample(np.random.default_rng([seed, 0xE9, index]))
    places = (
        folder / f'JPEGImages/{index:06d}.jpg',
        folder / f'SegmentationClassAug/{index:06d}.png',
    )
    for place, array in zip(places, (image, labels), strict=True):
        with atomic_path(place) as temporary:
            Image.fromarray(array).save(temporary, quality=95)


def draw_sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image ``(224, 224, 3)`` and its labels ``(224, 224)``, 0 for the background."""
    hsv = _cloud(rng, rng.uniform(0, 180), saturation=rng.uniform(20, 110))
    labels = np.zeros((SIDE, SIDE), np.uint8)
    for label in rng.choice(len(CLASSES), _OBJECTS, replace=False) + 1:
        shape = _shape(rng)
        hsv[shape] = _surface(rng, *divmod(int(label) - 1, len(HUES)))[shape]
        labels[shape] = label
    noise = rng.normal(0, 6, hsv.shape)
    image = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB) + noise
    return image.clip(0, 255).astype(np.uint8), labels


def _cloud(rng: np.random.Generator, hue: float, saturation: float) -> np.ndarray:
    """A smooth ground in one hue, lighter and darker in places ``(224, 224, 3)``, as HSV."""
    waves = cv2.resize(rng.uniform(-1, 1, (7, 7, 3)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    hsv = np.array([hue, saturation, rng.uniform(90, 200)]) + waves * (8, 20, 50)
    return np.concatenate([hsv[..., :1] % 180, hsv[..., 1:].clip(0, 255)], axis=2)


def _shape(rng: np.random.Generator) -> np.ndarray:
    """The pixels of an ellipse or a polygon, somewhere."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    centre, radius = rng.uniform(45, SIDE - 45, 2), rng.uniform(35, 60)
    corners = rng.choice([3, 4, 6, 40])
    angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * 2 * np.pi / corners
    points = centre + radius * rng.uniform(0.75, 1, 2) * np.stack(
        [np.cos(angles), np.sin(angles)], 1
    )
    cv2.fillPoly(mask, [points.round().astype(np.int32)], 1)
    return mask.astype(bool)


def _surface(rng: np.random.Generator, pattern: int, hue: int) -> np.ndarray:
    """The surface of a class's object ``(224, 224, 3)``, as HSV."""
    tone = [*HUES.values()][hue] + rng.uniform(-6, 6)
    hsv = _cloud(rng, tone, saturation=rng.uniform(130, 230))
    rows, columns = np.indices((SIDE, SIDE)) + rng.integers(0, 100, (2, 1, 1))
    period = rng.uniform(9, 15)
    bands, bars = rows // period % 2 > 0, columns // period % 2 > 0
    dark = (np.zeros_like(bands), bands, bars, bands ^ bars)[pattern]
    hsv[..., 2] = np.where(dark, 0.35, 1) * hsv[..., 2]
    return hsv
