"""Lists of pictures: subsets to train on, good pairs; a name a line, as mmseg reads them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..files import atomic_path


def read_names(path: str | Path, folder: str, suffix: str) -> list[str]:
    """Read a list of pictures.

    Args:
        path: A file with a picture a line: its path below ``folder``, with or without the suffix,
            or with the folder before it.
        folder: Folder of the pictures, such as ``leftImg8bit/train``.
        suffix: How the names of the pictures end.

    Returns:
        Names below the folder, without the suffix.
    """
    lines = (line.strip() for line in Path(path).read_text().splitlines())
    prefix = folder.rstrip('/') + '/'
    names = []
    for line in filter(None, lines):
        _, found, below = f'/{line}'.rpartition(f'/{prefix}')
        names.append((below if found else line).removesuffix(suffix))
    return names


def write_names(path: str | Path, names: Sequence[str]) -> None:
    """Write a list, a name a line."""
    with atomic_path(path) as temporary:
        temporary.write_text(''.join(f'{name}\n' for name in names))


def names_in(root: Path, folder: str, suffix: str) -> list[str]:
    """Names of all pictures below a folder, sorted, without the suffix.

    Raises:
        FileNotFoundError: There is none.
    """
    paths = (root / folder).rglob(f'*{suffix}')
    names = [
        path.relative_to(root / folder).as_posix().removesuffix(suffix)
        for path in paths
        if not path.name.startswith('.')
    ]
    if not names:
        raise FileNotFoundError(f'no *{suffix} below {root / folder}')
    return sorted(names)


def write_subset(
    subset: str, root: Path, out: Path, folder: str, suffix: str, seed: int = 1
) -> Path:
    """Write a list of some of the pictures to train on.

    Args:
        subset: A fraction such as ``1/16``, drawn at random, or a file with the user's own list.
        root: Folder of the dataset.
        out: Folder to write to: ``train_1_16_v1.txt``, with the seed as the version, or a file of
            the name that the user's list has.
        folder: Folder of the pictures, below ``root``.
        suffix: How the names of the pictures end.
        seed: Seed of the draw.

    Returns:
        The file that was written.

    Raises:
        FileExistsError: There is another list of this name.
        FileNotFoundError: There are no pictures, or the user's list names others.
        ValueError: ``subset`` is neither a file nor a fraction between 0 and 1.
    """
    everything = names_in(root, folder, suffix)
    if Path(subset).is_file():
        names = read_names(subset, folder, suffix)
        if missing := sorted(set(names) - set(everything)):
            raise FileNotFoundError(
                f'{subset} names pictures that are not in {root / folder}: {missing[:3]} '
                f'({len(missing)} of {len(names)})'
            )
        target = out / Path(subset).name
        if target.exists() and target.samefile(subset):
            return target  # DomainDataset reads it as it is
    else:
        try:
            share = Fraction(subset)
        except (ValueError, ZeroDivisionError):
            raise ValueError(f'{subset!r} is neither a file nor a fraction such as 1/16') from None
        if not 0 < share <= 1:
            raise ValueError(f'a subset must be more than nothing and at most all, got {subset}')
        count = max(1, round(len(everything) * share))
        drawn = np.random.default_rng(seed).choice(len(everything), count, replace=False)
        names = [everything[index] for index in sorted(drawn)]
        target = out / f'train_{share.numerator}_{share.denominator}_v{seed}.txt'
    if target.exists() and read_names(target, folder, suffix) != names:
        raise FileExistsError(f'{target} lists other pictures: remove it or choose another --seed')
    write_names(target, names)
    return target
