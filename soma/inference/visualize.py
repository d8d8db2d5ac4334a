"""Show a model an image, or a folder of them, and write what it sees."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from ..io.files import InputError, atomic_path, check_folder
from ..utils.progress import track
from .drawing import check_score, side_by_side
from .inferencer import Inferencer
from .sources import list_images, short_names
from .stream import predict_each


def plan_drawings(
    path: str | os.PathLike, save_dir: str | os.PathLike, suffix: str | None = None
) -> dict[Path, Path]:
    """Find a place for what is drawn of each image, and make sure that it can be written.

    Args:
        path: An image or a folder, whose structure is kept. Images in ``save_dir`` below it are
            left out: they were drawn before.
        save_dir: Folder to write to.
        suffix: As for :func:`list_images`.

    Returns:
        The PNG file to write for each image. It is called as the image, with the image's suffix
        before its own where two differ in their suffix only.

    Raises:
        FileNotFoundError: If there is no image; likewise ``PermissionError``.
        InputError: If an image, or a file beside one, would be written over, or the folder cannot
            be written to.
    """
    root = Path(path) if Path(path).is_dir() else Path(path).parent
    images, out = list_images(path, suffix), Path(save_dir).resolve()
    if out != root.resolve():
        images = [file for file in images if out not in file.resolve().parents] or images
    names = short_names(images, root)
    places = {file: Path(save_dir) / f'{name}.png' for file, name in names.items()}
    inputs = {file.resolve() for file in images}
    folders = {file.parent.resolve() for file in images}
    for place in places.values():
        # What stands beside an image may be the user's, too.
        beside = place.exists() and place.parent.resolve() in folders
        if beside or place.resolve() in inputs:
            raise InputError(
                f'{place} would be written over: choose another folder than {save_dir}'
            )
    check_folder(save_dir, make=False)
    return places


def visualize(
    inferencer: Inferencer,
    path: str | os.PathLike,
    save_dir: str | os.PathLike,
    score_thr: float = 0.3,
    suffix: str | None = None,
) -> list[Path]:
    """Write each image beside its segmentation or its boxes, with a legend.

    Args:
        inferencer: The model.
        path: An image or a folder; the folder's structure is kept.
        save_dir: Folder to write to.
        score_thr: A detector's boxes with lower scores are not drawn.
        suffix: As for :func:`list_images`.

    Returns:
        The files written, PNG.

    Raises:
        FileNotFoundError: As for :func:`plan_drawings`.
        InputError: As for :func:`plan_drawings` and :func:`check_score`; or at the end, when all
            others are drawn, if some images cannot be read or are too small for the model.
    """
    check_score(score_thr)
    places, failures = plan_drawings(path, save_dir, suffix), []
    outcomes = track(predict_each(inferencer, places), len(places), 'predicting', 'images')
    for (file, place), outcome in zip(places.items(), outcomes, strict=True):
        if isinstance(outcome, InputError):
            failures.append(str(outcome))
            continue
        panels, legend = [outcome.image, outcome.overlay(score_thr=score_thr)], outcome.classes
        sheet = side_by_side(panels, [file.name, 'prediction'], legend, outcome.palette)
        with atomic_path(place) as temporary:
            Image.fromarray(sheet).save(temporary)
    if failures:
        raise InputError(
            f'{len(failures)} of {len(places)} images are not drawn: {"; ".join(failures)}'
        )
    return [*places.values()]
