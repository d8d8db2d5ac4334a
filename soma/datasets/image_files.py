"""Which files of a folder are images, and which labels belong to them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..io.files import InputError

# What OpenCV and Pillow read; where labels have one name twice, the first counts.
SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm')


def list_files(folder: str | os.PathLike) -> list[str]:
    """Paths below a folder, sorted; also through links, but for circles, and without hidden ones.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    return sorted(_walk(os.fspath(folder), '', (os.path.realpath(folder),)))


def _walk(folder: str, below: str, parents: tuple[str, ...]) -> Iterator[str]:
    for entry in os.scandir(folder):
        if entry.name.startswith('.'):
            continue
        if not entry.is_dir():
            yield below + entry.name
        elif not entry.is_symlink():
            yield from _walk(entry.path, f'{below}{entry.name}/', parents)
        elif not _is_parent(real := os.path.realpath(entry.path), folder, parents):
            yield from _walk(entry.path, f'{below}{entry.name}/', (*parents, real))


def _is_parent(target: str, folder: str, parents: Iterable[str]) -> bool:
    """Whether a link leads to a folder that it stands in, by this or another way."""
    here = Path(os.path.realpath(folder))
    return target in parents or here.is_relative_to(target)


def without_suffix(file: str, suffixes: str | Sequence[str] | None) -> str | None:
    """A file's name without the longest suffix that fits in any case; None if none does."""
    suffixes = (suffixes,) if isinstance(suffixes, str) else suffixes or SUFFIXES
    fitting = [suffix for suffix in suffixes if file.lower().endswith(suffix.lower())]
    return file[: len(file) - max(map(len, fitting))] if fitting else None


def find_images(
    files: Iterable[str], suffixes: str | Sequence[str] | None, folder: str = ''
) -> dict[str, str]:
    """The images among some files, by their names without a suffix.

    Args:
        files: Paths below ``folder``.
        suffixes: How they end. One is as it is written, in any case only where no file ends so;
            several are in any case, and None stands for all known ones.
        folder: For the message.

    Raises:
        InputError: If two differ in their suffix only.
    """
    if isinstance(suffixes, str):
        files = list(files)
        if exact := [file for file in files if file.endswith(suffixes)]:
            return {file[: len(file) - len(suffixes)]: file for file in exact}
    found: dict[str, str] = {}
    for file in files:
        if (name := without_suffix(file, suffixes)) is None:
            continue
        if name in found:
            raise InputError(
                f'{folder}: {found[name]} and {file} are two images of one name: say which are '
                "meant (img_suffix='.jpg'), or rename one"
            )
        found[name] = file
    return found


def find_labels(files: Iterable[str]) -> dict[str, str]:
    """The label files among some, by their names without a suffix."""
    ranks = {suffix: rank for rank, suffix in enumerate(SUFFIXES)}
    known = [file for file in files if os.path.splitext(file)[1].lower() in ranks]
    known.sort(key=lambda file: -ranks[os.path.splitext(file)[1].lower()])
    return {os.path.splitext(file)[0]: file for file in known}


def leave_out_labels(
    files: Iterable[str], images: str, labels: str | None, suffix: str | None
) -> list[str]:
    """Files of a folder of images without those of labels, which may be in it.

    Args:
        files: Paths below ``images``.
        images: Folder of the images.
        labels: Folder of the labels, if there are any.
        suffix: How label files end.
    """
    if labels is None:
        return [*files]
    below = os.path.relpath(labels, images)
    if below == '.':  # a suffix such as .png may be that of images, too
        tail = suffix if suffix and not suffix.startswith('.') else None
        return [file for file in files if tail is None or not file.endswith(tail)]
    return [file for file in files if not file.startswith(f'{below}/')]


def find_listed(
    names: Iterable[str], files: Mapping[str, str], suffix: str
) -> list[tuple[str, str]]:
    """Name and file of each image that a list names; a missing one gets ``suffix``."""
    stems = {file: name for name, file in files.items()}  # lists may have suffixes
    names = [stems.get(name, name) for name in names]
    return [(name, files.get(name, name + suffix)) for name in names]
