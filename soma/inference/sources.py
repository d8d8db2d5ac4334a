"""Where images come from: files, folders, patterns, videos and cameras."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from ..datasets import image_files
from ..io.files import InputError

IMAGES = image_files.SUFFIXES
VIDEOS = (
    *('.avi', '.flv', '.gif', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.mts', '.webm'),
    '.wmv',
)


@dataclass(frozen=True)
class Source:
    """An image, a video or a camera.

    Attributes:
        path: The file; the number of a camera.
        name: What is written of it is called so, without a suffix; may have folders.
        kind: ``'image'``, ``'video'`` or ``'camera'``.
    """

    path: Path | int
    name: str
    kind: str

    @property
    def title(self) -> str:
        """Its name with the suffix of its file."""
        path = Path(self.name)
        return self.name if self.kind == 'camera' else str(path.with_name(self.path.name))

    @classmethod
    def of_file(cls, path: Path, name: str) -> Source:
        """A source whose kind its suffix tells."""
        return cls(path, name, 'image' if path.suffix.lower() in IMAGES else 'video')

    @classmethod
    def of_camera(cls, number: int) -> Source:
        """The camera of a number."""
        return cls(number, f'camera{number}', 'camera')

    def __str__(self) -> str:
        return f'camera {self.path}' if self.kind == 'camera' else str(self.path)


def list_files(path: str | os.PathLike, suffixes: Collection[str]) -> list[Path]:
    """List the files at a path: itself, or those in a folder and its subfolders, sorted.

    Links are followed; hidden files and folders are left out.

    Raises:
        PermissionError: If a folder may not be read.
    """
    path = Path(path)
    files = [path / name for name in image_files.list_files(path)] if path.is_dir() else [path]
    return [file for file in files if file.suffix.lower() in suffixes and file.is_file()]


def list_images(path: str | os.PathLike, suffix: str | None = None) -> list[Path]:
    """List the image files at a path: itself, or those in a folder and its subfolders, sorted.

    Args:
        path: An image or a folder.
        suffix: What their names end with; any if None.

    Raises:
        FileNotFoundError: If there is no image.
        PermissionError: If the folder may not be read.
    """
    images = list_files(path, IMAGES)
    images = [file for file in images if suffix is None or file.name.endswith(suffix)]
    if not images:
        ends = '' if suffix is None else f' with a name that ends with {suffix!r}'
        raise FileNotFoundError(f'no image{ends} at {path} (looked for {", ".join(IMAGES)})')
    return images


def short_names(files: Sequence[Path], root: Path) -> dict[Path, str]:
    """Name files by their place below a folder, without the suffix where no two differ in it only.

    Raises:
        InputError: If two have one name.
    """
    plain = {file: str(file.relative_to(root).with_suffix('')) for file in files}
    shared = Counter(plain.values())
    names = {
        f: name if shared[name] == 1 else str(f.relative_to(root)) for f, name in plain.items()
    }
    for name, count in Counter(names.values()).most_common(1):
        if count > 1:
            raise InputError(f'{count} files would be written to {name}: rename one of them')
    return names


def find_sources(words: Sequence[str], left_out: Sequence[Path] = ()) -> list[Source]:
    """Find what words name: an image, a video, a folder of them, a pattern or a camera's number.

    Args:
        words: A number is a camera, unless there is a file or folder of that name.
        left_out: Folders whose files do not count.

    Returns:
        Images first, each file once. Their names are places below the folder, if a single one is
        named, or below the folder that all named files and folders lie in.

    Raises:
        InputError: If a word names nothing of that kind, or two files have one name.
        PermissionError: If a folder may not be read.
    """
    files: dict[tuple[str, str], Path] = {}
    cameras, tops = [], []
    for word in words:
        paths = [Path(word)]
        if word.isdecimal() and not paths[0].exists():
            cameras.append(Source.of_camera(int(word)))
            continue
        if not paths[0].exists() and has_magic(word):
            fitting = sorted(glob(word, recursive=True), key=lambda path: (path.count('/'), path))
            paths = [Path(path) for path in fitting]
        found = [f for path in paths for f in list_files(os.path.abspath(path), IMAGES + VIDEOS)]
        found = [file for file in found if not _is_below(file, left_out)]
        if not found:
            raise InputError(_why_nothing(word, paths))
        for file in found:  # links may lead to a folder in several ways
            files.setdefault((os.path.realpath(file.parent), file.name), file)
        alone = len(words) == 1 and len(paths) == 1 and paths[0].is_dir()
        tops += [os.path.abspath(path if alone else path.parent) for path in paths]
    names = short_names([*files.values()], Path(os.path.commonpath(tops))) if files else {}
    found = [Source.of_file(file, name) for file, name in names.items()]
    return sorted([*found, *dict.fromkeys(cameras)], key=lambda source: source.kind != 'image')


def _is_below(file: Path, folders: Sequence[Path]) -> bool:
    parents = file.resolve().parents
    return any(folder.resolve() in parents for folder in folders)


def _why_nothing(word: str, paths: Sequence[Path]) -> str:
    known = f'{", ".join(IMAGES)}; videos: {", ".join(VIDEOS)}'
    if not any(path.exists() for path in paths):
        what = 'no file fits' if has_magic(word) else 'there is no file or folder'
        return f'{what} {word!r}: name an image, a video, a folder, a pattern or a camera (0)'
    return f'no image or video at {word} (looked for {known})'
