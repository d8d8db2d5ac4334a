"""Show a model an image, or a folder of them, and write what it sees."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import cv2
from PIL import Image
from rich.progress import track

from ..io.files import InputError, atomic_path, check_folder
from .drawing import check_score, draw_result, side_by_side
from .images import read_bgr
from .inferencer import Inferencer

_SUFFIXES = {'.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff'}


def list_images(path: str | os.PathLike, suffix: str | None = None) -> list[Path]:
    """List the image files at a path: itself, or those in a folder and its subfolders, sorted.

    Args:
        path: An image or a folder.
        suffix: What their names end with; any if None.

    Raises:
        FileNotFoundError: If there is no image.
        PermissionError: If the folder may not be read.
    """
    path = Path(path)
    if path.is_dir():
        os.listdir(path)  # rglob() would say nothing
    files = sorted(path.rglob('*')) if path.is_dir() else [path]
    images = [file for file in files if file.is_file() and file.suffix.lower() in _SUFFIXES]
    images = [file for file in images if suffix is None or file.name.endswith(suffix)]
    if not images:
        ends = '' if suffix is None else f' with a name that ends with {suffix!r}'
        known = ', '.join(sorted(_SUFFIXES))
        raise FileNotFoundError(f'no image{ends} at {path} (looked for {known})')
    return images


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
    places = {file: Path(save_dir) / file.relative_to(root) for file in images}
    shared = Counter(place.with_suffix('.png') for place in places.values())
    for file, place in places.items():
        plain = place.with_suffix('.png')
        places[file] = plain if shared[plain] == 1 else place.with_name(f'{place.name}.png')
    inputs = {file.resolve() for file in images}
    folders = {file.parent.resolve() for file in images}
    for place in places.values():
        # What stands beside an image may be the user's, too.
        beside = place.exists() and place.parent.resolve() in folders
        if beside or place.resolve() in inputs:
            raise InputError(
                f'{place} would be written over: choose another folder than {save_dir}'
            )
    twice = Counter(places.values()).most_common(1)[0]
    if twice[1] > 1:
        raise InputError(f'{twice[1]} images would be written to {twice[0]}: rename one of them')
    check_folder(save_dir)
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
    for file, place in track(places.items(), 'predicting', disable=len(places) == 1):
        try:
            image = read_bgr(file)
        except InputError as error:
            failures.append(str(error))
            continue
        try:
            result = inferencer(image)
        except (ArithmeticError, RuntimeError, ValueError, cv2.error) as error:
            is_plain = type(error) is RuntimeError and 'CUD' not in str(error)  # CUDA, CUDNN
            if isinstance(error, RuntimeError) and not is_plain:
                raise  # of the program, the GPU or its memory
            failures.append(f'{file}: {" ".join(str(error).split())}')
            continue
        rgb, meaning = image[..., ::-1], (inferencer.classes, inferencer.palette)
        drawn = draw_result(rgb, result, *meaning, score_thr)
        sheet = side_by_side([rgb, drawn], [file.name, 'prediction'], *meaning)
        with atomic_path(place) as temporary:
            Image.fromarray(sheet).save(temporary)
    if failures:
        raise InputError(
            f'{len(failures)} of {len(places)} images are not drawn: {"; ".join(failures)}'
        )
    return [*places.values()]
