"""Take a folder out of an archive of a git repository, and check it by git's own hash of it.

The bytes of such an archive are not fixed, those of the files in it are.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from .files import InputError

# Mode and hash of a file, by the parts of its path.
Blobs = Mapping[tuple[str, ...], tuple[str, str]]


def extract_tree(
    archive: str | os.PathLike, folder: str, target: str | os.PathLike, tree: str
) -> None:
    """Write a folder of an archive to ``target``, if git's hash of it is the right one.

    Args:
        archive: A ``.tar.gz`` with one folder at its top, as GitHub and ``git archive --prefix``
            make it.
        folder: Name of the folder below that one.
        target: The folder to make.
        tree: Git's hash of the folder (``git rev-parse COMMIT:FOLDER``).

    Raises:
        InputError: If the archive is damaged, its folder has another hash or more than plain files
            in it. Then there is no ``target``.
    """
    target = Path(target)
    with TemporaryDirectory(prefix=f'.{target.name}.', dir=target.parent) as temporary:
        place = Path(temporary, target.name)
        place.mkdir()
        try:
            blobs = _extract(archive, folder, place)
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise InputError(f'{archive} is damaged: {error}') from error
        if (found := tree_hash(blobs)) != tree:
            raise InputError(
                f'{folder} in {archive} is not what it should be: git tree {found}, not {tree}'
            )
        place.rename(target)


def _extract(archive: str | os.PathLike, folder: str, place: Path) -> Blobs:
    """Write the files of the folder below ``place``."""
    blobs = {}
    with tarfile.open(archive, 'r:gz') as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts[1:]
            if parts[:1] != (folder,) or member.isdir():
                continue
            if not member.isreg() or '..' in parts or len(parts) < 2:
                raise InputError(f'{archive}: {member.name} is no plain file in {folder}')
            content = tar.extractfile(member).read()
            path = place.joinpath(*parts[1:])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            mode = '100755' if member.mode & 0o100 else '100644'
            blobs[parts[1:]] = mode, _git_hash('blob', content)
    return blobs


def tree_hash(blobs: Blobs) -> str:
    """Git's hash of a folder, from those of the files in it."""
    files: dict[str, tuple[str, str]] = {}
    folders: dict[str, dict] = {}
    for (name, *below), blob in blobs.items():
        if below:
            folders.setdefault(name, {})[tuple(below)] = blob
        else:
            files[name] = blob
    entries = [(name.encode(), *blob) for name, blob in files.items()]
    entries += [(name.encode() + b'/', '40000', tree_hash(b)) for name, b in folders.items()]
    content = b''
    for name, mode, digest in sorted(entries):  # folders as if their names ended in a slash
        content += mode.encode() + b' ' + name.removesuffix(b'/') + b'\0' + bytes.fromhex(digest)
    return _git_hash('tree', content)


def _git_hash(kind: str, content: bytes) -> str:
    return hashlib.sha1(f'{kind} {len(content)}\0'.encode() + content).hexdigest()
