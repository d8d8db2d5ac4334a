"""Reads files of a folder that was packed into a few large ones (``shards://FOLDER``)."""

from __future__ import annotations

import json
import os
import posixpath
import zlib
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from mmengine.fileio import register_backend
from mmengine.fileio.backends import BaseStorageBackend

from ..io.files import InputError
from ..utils.config import PACKED as PREFIX

INDEX = 'shards.json'
VERSION = 1


class NotPackedError(InputError):
    """A path that leads into no packed folder."""


def is_packed(path: object) -> bool:
    """Whether a path leads into a packed folder, by its prefix."""
    return str(path).startswith(PREFIX)


class Place(NamedTuple):
    """Where a file lies.

    Attributes:
        shard: Name of the tar file.
        offset: Of its first byte there.
        size: In bytes there.
        is_compressed: Whether it lies there as zstd, which has a checksum of its own.
        checksum: CRC-32 of what lies there.
    """

    shard: str
    offset: int
    size: int
    is_compressed: bool
    checksum: int


class PackedFolder:
    """The files of a packed folder; any order, any number of processes.

    Args:
        folder: With the tar files and their index.

    Raises:
        InputError: If the index cannot be used, or another file is shorter than it says.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = folder = Path(folder)
        try:
            index = json.loads((folder / INDEX).read_text())
            version, sizes = index['version'], index['shards']
            self.files = {name: Place(*place) for name, place in index['files'].items()}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f'{folder / INDEX} is no index of packed files ({error})') from error
        if version != VERSION:
            raise InputError(f'{folder / INDEX} is of version {version}, not {VERSION}: pack again')
        for name, size in sizes.items():
            shard = folder / name
            if not shard.is_file() or shard.stat().st_size != size:
                raise InputError(f'{shard} is not whole ({size} bytes): pack again, or copy again')

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: If there is none of this name.
            InputError: If its content is damaged, or zstandard is not installed.
        """
        if (place := self.files.get(name)) is None:
            raise FileNotFoundError(f'{PREFIX}{self.folder}/{name} is missing')
        if not place.is_compressed:
            return self._intact(name, place)
        zstd = import_zstandard()
        try:
            return zstd.ZstdDecompressor().decompress(self._stored(place))
        except zstd.ZstdError as error:
            raise self._damaged(name, place, error) from error

    def check(self, shard: str) -> None:
        """Read all files of a shard to their end.

        Raises:
            InputError: If one is not what was written.
        """
        for name, place in self.files.items():
            if place.shard == shard:
                self._intact(name, place)

    def _intact(self, name: str, place: Place) -> bytes:
        content = self._stored(place)
        if zlib.crc32(content) != place.checksum:
            raise self._damaged(name, place, 'other bytes')
        return content

    def _stored(self, place: Place) -> bytes:
        file, parts, offset = _opened(self.folder / place.shard), [], place.offset
        while offset < place.offset + place.size:  # a system gives 2 GB at most at a time
            part = os.pread(file, place.offset + place.size - offset, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b''.join(parts)

    def _damaged(self, name: str, place: Place, reason: object) -> InputError:
        shard = self.folder / place.shard
        return InputError(f'{shard} is damaged at {name} ({reason}): pack again')

    @cached_property
    def folders(self) -> set[str]:
        """Names of the folders in it."""
        return {parent for name in self.files for parent in _parents(name)}

    def below(self, name: str) -> Iterator[str]:
        """Paths of the files below a folder, relative to it."""
        start = f'{name}/' if name else ''
        return (file[len(start) :] for file in self.files if file.startswith(start))


def _parents(name: str) -> Iterator[str]:
    while name:
        name = posixpath.dirname(name)
        yield name


@cache
def _opened(path: Path) -> int:
    """A descriptor for reads at an offset: processes that share it do not disturb each other."""
    return os.open(path, os.O_RDONLY)


def import_zstandard():
    """The module zstandard.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import zstandard
    except ImportError as error:
        raise InputError(
            "packed data need zstandard: pip install -e '.[shards]' brings it"
        ) from error
    return zstandard


@register_backend('shards', prefixes='shards')
class ShardsBackend(BaseStorageBackend):
    """What mmengine reads ``shards://FOLDER/images/1.png`` with.

    Images and labels lie there as bitmaps, compressed by zstd, which OpenCV and Pillow decode
    faster than PNG, to equal pixels; all else as it was (``tools/pack_data.py``).
    """

    def get(self, filepath: str | os.PathLike) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: If there is no such file.
            InputError: If it is in no packed folder, or damaged.
        """
        folder, name = _split(filepath)
        return folder.read(name)

    def get_text(self, filepath: str | os.PathLike, encoding: str = 'utf-8') -> str:
        """The content of a text file."""
        return self.get(filepath).decode(encoding)

    def exists(self, filepath: str | os.PathLike) -> bool:
        """Whether there is such a file or folder."""
        try:
            return self.isfile(filepath) or self.isdir(filepath)
        except NotPackedError:
            return False

    def isfile(self, filepath: str | os.PathLike) -> bool:
        """Whether there is such a file."""
        folder, name = _split(filepath)
        return name in folder.files

    def isdir(self, filepath: str | os.PathLike) -> bool:
        """Whether there is such a folder."""
        folder, name = _split(filepath)
        return name in folder.folders

    def join_path(self, filepath: str | os.PathLike, *filepaths: str | os.PathLike) -> str:
        """Paths put together."""
        return posixpath.join(str(filepath), *map(str, filepaths))

    def list_dir_or_file(
        self,
        dir_path: str | os.PathLike,
        list_dir: bool = True,
        list_file: bool = True,
        suffix: str | tuple[str, ...] | None = None,
        recursive: bool = False,
    ) -> Iterator[str]:
        """Paths below a folder, as mmengine's other backends list them."""
        folder, name = _split(dir_path)
        start = f'{name}/' if name else ''
        inner = {file[len(start) :] for file in folder.folders if file and file.startswith(start)}
        for path in sorted(inner) if list_dir else ():
            if recursive or '/' not in path:
                yield path
        for path in folder.below(name) if list_file else ():
            if (recursive or '/' not in path) and (suffix is None or path.endswith(suffix)):
                yield path


def _split(path: str | os.PathLike) -> tuple[PackedFolder, str]:
    """The packed folder that a path leads into, and the name below it."""
    path = posixpath.normpath(os.path.expanduser(str(path).removeprefix(PREFIX)))
    try:
        folder, below = _packed_parent(posixpath.dirname(path))
    except NotPackedError:
        return _packed_parent(path)
    return folder, posixpath.join(below, posixpath.basename(path))


_open_folder = cache(PackedFolder)


@cache
def _packed_parent(path: str) -> tuple[PackedFolder, str]:
    """The packed folder that a folder is, or lies in, and its name below it."""
    for parent in (Path(path), *Path(path).parents):
        if (parent / INDEX).is_file():
            below = Path(path).relative_to(parent).as_posix()
            return _open_folder(str(parent)), '' if below == '.' else below
    raise NotPackedError(
        f'{PREFIX}{path}: no packed folder is there: tools/pack_data.py FOLDER OUT makes one'
    )
