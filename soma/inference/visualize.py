"""Show a model an image, or a folder of them, and write what it sees."""

from __future__ import annotations

import os
from pathlib import Path

import mmcv
from PIL import Image
from rich.progress import track

from ..io.files import atomic_path
from .drawing import draw_result, side_by_side
from .inferencer import Inferencer

_SUFFIXES = {'.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff'}


def list_images(path: str | os.PathLike) -> list[Path]:
    """List the image files at a path: itself, or those in a folder and its subfolders, sorted.

    Raises:
        FileNotFoundError: If there is no image.
    """
    path = Path(path)
    files = sorted(path.rglob('*')) if path.is_dir() else [path]
    images = [file for file in files if file.is_file() and file.suffix.lower() in _SUFFIXES]
    if not images:
        raise FileNotFoundError(f'no image at {path} (looked for {", ".join(sorted(_SUFFIXES))})')
    return images


def visualize(
    inferencer: Inferencer,
    path: str | os.PathLike,
    save_dir: str | os.PathLike,
    score_thr: float = 0.3,
) -> list[Path]:
    """Write each image beside its segmentation or its boxes, with a legend.

    Args:
        inferencer: The model.
        path: An image or a folder; the folder's structure is kept.
        save_dir: Folder to write to.
        score_thr: A detector's boxes with lower scores are not drawn.

    Returns:
        The files written, PNG.

    Raises:
        FileNotFoundError: If there is no image.
        ValueError: If an image cannot be read.
    """
    images, written = list_images(path), []
    root = Path(path) if Path(path).is_dir() else Path(path).parent
    for file in track(images, 'predicting', disable=len(images) == 1):
        image = mmcv.imread(str(file))
        if image is None:
            raise ValueError(f'{file} cannot be read as an image')
        rgb, meaning = image[..., ::-1], (inferencer.classes, inferencer.palette)
        drawn = draw_result(rgb, inferencer(image), *meaning, score_thr)
        sheet = side_by_side([rgb, drawn], [file.name, 'prediction'], *meaning)
        target = Path(save_dir) / file.relative_to(root).with_suffix('.png')
        with atomic_path(target) as temporary:
            Image.fromarray(sheet).save(temporary)
        written.append(target)
    return written
