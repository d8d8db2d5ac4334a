"""The models of a page, and the files that it may open."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmseg.models.segmentors import BaseSegmentor
from PIL import Image

from ...checkpoints.open import open_checkpoint
from ...datasets.label_files import why_unreadable
from ...io.files import InputError
from ...utils.cli import one_line
from ...utils.config import each_dataset, load_config
from ..images import read_bgr
from ..inferencer import Inferencer
from ..prediction import Prediction
from ..visualize import list_images


@dataclass(frozen=True)
class Model:
    """A model of the page.

    Attributes:
        name: What the page calls it.
        note: What it was trained on.
        inferencer: Predicts with it.
    """

    name: str
    note: str
    inferencer: Inferencer

    @property
    def finds_boxes(self) -> bool:
        """Whether it is a detector."""
        return not isinstance(self.inferencer.model, BaseSegmentor)


def load_models(
    files: Sequence[tuple[str, str]],
    base: str | None = None,
    force: bool = False,
    device: str | None = None,
) -> list[Model]:
    """Load the models of a page, one or two.

    Args:
        files: Config and checkpoint of each.
        base: File of the pretrained weights; of two models for those that can take one.
        force: As for :class:`Inferencer`.
        device: Likewise.

    Raises:
        InputError: As for :class:`Inferencer`; if two models have other classes, or only one is a
            detector.
    """
    configs = [load_config(config) for config, _ in files]
    names = [Path(config).stem for config, _ in files]
    if len(set(names)) < len(names):
        paths = [Path(checkpoint).absolute() for _, checkpoint in files]
        names = [f'{path.parent.name}/{path.stem}' for path in paths]
    models = []
    for name, config, (_, checkpoint) in zip(names, configs, files, strict=True):
        takes_base = base is not None and (len(files) == 1 or _takes_base(checkpoint))
        options = dict(base=base, force=force) if takes_base or not base else {}
        models.append(
            Model(name, note_of(config), Inferencer(config, checkpoint, device, **options))
        )
    first, last = models[0], models[-1]
    if list(first.inferencer.classes) != list(last.inferencer.classes):
        raise InputError(f'{first.name} and {last.name} have other classes: compare others')
    if first.finds_boxes != last.finds_boxes:
        raise InputError(f'only one of {first.name} and {last.name} finds boxes: compare others')
    return models


def _takes_base(path: str) -> bool:
    """Whether a checkpoint is one of an adapter, or lacks its pretrained weights."""
    checkpoint = open_checkpoint(path)
    return checkpoint.card.method is not None or not checkpoint.base_names


def note_of(config: Config) -> str:
    """What a config trains on, in a few words; nothing if it does not train."""
    data = (config.get('train_dataloader') or {}).get('dataset')
    datasets = [dataset for _, dataset in each_dataset(data, '')]
    names = dict.fromkeys(data.get('domain') or data['type'] for data in datasets)
    return f'trained on {", ".join(names)}' if names else ''


def find_images(folder: str | os.PathLike | None) -> dict[str, Path]:
    """The images of a folder and its subfolders, by their names below it; none of None.

    Links that lead out of it are left out, since the page opens nothing else.

    Raises:
        FileNotFoundError: If there is no image.
        NotADirectoryError: If it is no folder.
        PermissionError: If it may not be read.
    """
    if folder is None:
        return {}
    root = Path(folder).resolve()
    if not root.is_dir():
        raise NotADirectoryError(f'{folder} is no folder of images')
    files = [file for file in list_images(root) if file.resolve().is_relative_to(root)]
    return {file.relative_to(root).as_posix(): file for file in files}


def open_image(file: Path, max_pixels: int) -> np.ndarray:
    """Read an image of not too many pixels, which is found before they are decoded.

    Returns:
        Shape ``(h, w, 3)``, uint8, BGR.

    Raises:
        InputError: If it is none, or too large. The message names the file without its folder.
    """
    try:
        with Image.open(file) as image:
            width, height = image.size
        if width * height <= max_pixels:
            return read_bgr(file)
    except Exception as error:  # broken bytes can raise anything
        reason = why_unreadable(file, error.__cause__ or error)
        raise InputError(f'{file.name} cannot be read as an image: {reason}') from error
    limit = f'at most {max_pixels / 1e6:g} million may be opened (--max-pixels)'
    raise InputError(f'{file.name} has {width} x {height} pixels, {limit}')


def predict_file(models: Sequence[Model], file: Path, max_pixels: int) -> list[Prediction]:
    """Predict for an image file with each model, with confidence.

    Raises:
        InputError: As for :func:`open_image`; if a model cannot take the image.
    """
    image = open_image(file, max_pixels)
    try:
        return [model.inferencer.predict(image, confidence=True) for model in models]
    except (ArithmeticError, MemoryError, RuntimeError, ValueError, cv2.error) as error:
        raise InputError(f'{file.name}: {one_line(error)}') from error
