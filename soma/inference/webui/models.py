"""The models of a page, and the files that it may open."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

from ...checkpoints.open import open_checkpoint
from ...datasets.label_files import why_unreadable
from ...io.files import InputError
from ...utils.config import each_dataset, load_config
from ...utils.messages import one_line
from ..images import read_bgr
from ..inferencer import Inferencer
from ..prediction import Prediction
from ..sources import IMAGES, VIDEOS, list_files


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


@dataclass(frozen=True)
class Site:
    """What a page is made of.

    Attributes:
        models: One, or two to compare.
        media: Images and videos of the folder that can be chosen from, by name.
        max_pixels: Of an image.
        max_mb: Of an uploaded file.
    """

    models: Sequence[Model]
    media: Mapping[str, Path] = field(default_factory=dict)
    max_pixels: int = 16_000_000
    max_mb: int = 64

    @property
    def titles(self) -> list[str]:
        """The names of the models; of two only that in which they differ."""
        first, last = (model.name.split('_') for model in (self.models[0], self.models[-1]))
        if first == last:
            return [model.name for model in self.models]
        while len(first) > 1 < len(last) and first[-1] == last[-1]:
            del first[-1], last[-1]
        while len(first) > 1 < len(last) and first[0] == last[0]:
            del first[0], last[0]
        return ['_'.join(first), '_'.join(last)]

    @property
    def detects(self) -> bool:
        """Whether the models are detectors."""
        return self.models[0].inferencer.detects


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
    if first.inferencer.detects != last.inferencer.detects:
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


def find_media(folder: str | os.PathLike | None) -> dict[str, Path]:
    """The images and videos of a folder and its subfolders, by their names in it; {} of None.

    Links that lead out of it are left out, since the page opens nothing else.

    Raises:
        InputError: If it is no folder, or there are none in it.
        PermissionError: If it may not be read.
    """
    if folder is None:
        return {}
    root = Path(folder).resolve()
    files = list_files(root, IMAGES + VIDEOS) if root.is_dir() else []
    files = [file for file in files if file.resolve().is_relative_to(root)]
    if not files:
        raise InputError(f'{folder} must be a folder of images or videos, it has none')
    return {file.relative_to(root).as_posix(): file for file in files}


def too_large(name: str, width: int, height: int, max_pixels: int) -> InputError:
    """The error of an image with too many pixels."""
    limit = f'at most {max_pixels / 1e6:g} million may be opened (--max-pixels)'
    return InputError(f'{name} has {width} x {height} pixels, {limit}')


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
    raise too_large(file.name, width, height, max_pixels)


def predict_image(site: Site, file: Path) -> list[Prediction]:
    """Predict for an image file with each model, with confidence.

    Raises:
        InputError: As for :func:`open_image`; if a model cannot take the image.
    """
    image = open_image(file, site.max_pixels)
    with naming(file):
        return [model.inferencer.predict(image, confidence=True) for model in site.models]


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Say in one line what goes wrong with a file, named without its folder.

    Raises:
        InputError: That says it.
    """
    try:
        yield
    except (InputError, MemoryError, RuntimeError) as error:  # of a GPU's memory, too
        reason = one_line(error).replace(f'{file} ', '')
        raise InputError(f'{file.name}: {reason}') from error
