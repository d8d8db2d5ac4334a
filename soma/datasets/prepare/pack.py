"""Packs the files of a dataset into a few large ones, whose images are decoded faster."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ...io.files import InputError, atomic_path, check_folder
from ...utils.parallel import run_parallel
from ..image_files import list_files
from ..label_files import orientation
from ..packed_files import INDEX, VERSION, PackedFolder, Place, import_zstandard

_KINDS = {('PNG', mode, mode) for mode in ('L', 'P', 'RGB')}  # of 8 bits
_LEVEL = 3  # of zstd: 4 and more take far longer for a few per cent


@dataclass(frozen=True)
class Shard:
    """A tar file to write.

    Attributes:
        path: Where to.
        root: Folder of the files.
        names: Their paths below it.
    """

    path: Path
    root: Path
    names: Sequence[str]


@dataclass(frozen=True)
class Packed:
    """What was packed.

    Attributes:
        files: Number of files.
        faster: Number of those that lie there as bitmaps.
        size_before: Of all, in bytes.
        size: Of the tar files, in bytes.
    """

    files: int
    faster: int
    size_before: int
    size: int


def pack(
    root: str | Path,
    out: str | Path,
    only: Sequence[str] = ('*',),
    shard_size: int = 1 << 30,
    nproc: int = 1,
) -> Packed:
    """Pack the files of a folder, and read all of them back.

    Each bitmap is compared with its PNG file when it is made.

    Args:
        root: The folder; hidden files are left out.
        out: An empty folder, or one that does not exist: tar files and their index go there.
        only: Patterns such as ``images/*`` (``*`` stands for ``/``, too) of the files to pack.
        shard_size: How large the files in one tar file are together, in bytes.
        nproc: Number of processes.

    Raises:
        InputError: If a pattern fits no file, ``out`` has content, ``shard_size`` is not above 0,
            or zstandard is not installed.
        FileNotFoundError: If there is no folder ``root``.
    """
    import_zstandard()
    if shard_size < 1:
        raise InputError(f'the size of a shard must be above 0, got {shard_size}')
    root, out = Path(root).expanduser(), Path(out).expanduser()
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f'{out} is not empty: name another folder, or delete it')
    names = _choose(list_files(root), only, root)
    check_folder(out)
    sizes = [(root / name).stat().st_size for name in names]
    shard_size = min(shard_size, -(-sum(sizes) // max(nproc, 1)) or 1)  # work for each process
    shards = [
        Shard(out / f'{number:05}.tar', root, part)
        for number, part in enumerate(_divide(names, sizes, shard_size))
    ]
    files: dict[str, Place] = {}
    for places in run_parallel(write_shard, shards, nproc, f'packing {root}'):
        files |= places
    written = {shard.path.name: shard.path.stat().st_size for shard in shards}
    with atomic_path(out / INDEX, flush=True) as path:
        path.write_text(json.dumps(dict(version=VERSION, shards=written, files=files)))
    run_parallel(PackedFolder(out).check, [*written], nproc, f'reading {out} back')
    faster = sum(place.is_compressed for place in files.values())
    return Packed(len(files), faster, sum(sizes), sum(written.values()))


def _choose(files: Sequence[str], only: Sequence[str], root: Path) -> list[str]:
    for pattern in only:
        if not any(fnmatch(file, pattern) for file in files):
            raise InputError(f'{root} has no file {pattern}')
    return [file for file in files if any(fnmatch(file, pattern) for pattern in only)]


def _divide(names: Sequence[str], sizes: Sequence[int], limit: int) -> Iterator[list[str]]:
    part, total = [], 0
    for name, size in zip(names, sizes, strict=True):
        if part and total + size > limit:
            yield part
            part, total = [], 0
        part.append(name)
        total += size
    yield part


def write_shard(shard: Shard) -> dict[str, Place]:
    """Write a tar file; returns the place of each file.

    Raises:
        OSError: If a file cannot be read, or nothing be written.
    """
    places = {}
    with atomic_path(shard.path, flush=True) as path, tarfile.open(path, 'w') as tar:
        for name in shard.names:
            content = (shard.root / name).read_bytes()
            compressed = as_bitmap(content)
            kept = content if compressed is None else compressed
            ending = '' if compressed is None else '.bmp.zst'
            info = tarfile.TarInfo(name + ending)
            info.size = len(kept)
            tar.addfile(info, BytesIO(kept))
            padded = -(-len(kept) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            place = tar.offset - padded
            facts = compressed is not None, zlib.crc32(kept)
            places[name] = Place(shard.path.name, place, len(kept), *facts)
    return places


def as_bitmap(content: bytes) -> bytes | None:
    """A PNG file as a bitmap, compressed by zstd.

    Returns:
        None if it is something else, or if OpenCV (in colour) or Pillow would read other pixels.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            kind = image.format, image.mode, image.tile[0][3] if image.tile else None
            is_plain = orientation(image) == 1 and 'transparency' not in image.info
            if kind not in _KINDS or not is_plain:
                return None
            image.load()
            file = BytesIO()
            image.save(file, 'BMP')
        bitmap = file.getvalue()
        pairs = ((read(content), read(bitmap)) for read in (_by_pillow, _by_opencv))
        if not all(np.array_equal(before, after) for before, after in pairs):
            return None
    except Exception:  # no image: broken bytes can raise anything
        return None
    return import_zstandard().ZstdCompressor(_LEVEL, write_checksum=True).compress(bitmap)


def _by_pillow(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content)) as image:
        return np.asarray(image)


def _by_opencv(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
