"""Lists of images: subsets to train on, good pairs; a name a line, as mmseg reads them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from mmengine.fileio import get_text

from ..io.files import InputError, atomic_path


def read_names(path: str | Path, folder: str, suffix: str) -> list[str]:
    """Read a list of images.

    Args:
        path: A file with an image a line: its path below ``folder``, with or without the suffix,
            or with the folder before it.
        folder: Folder of the images, such as ``leftImg8bit/train``.
        suffix: How the names of the images end.

    Returns:
        Names below the folder, without the suffix.

    Raises:
        InputError: The file is no text, or a line leads out of the folder.
    """
    try:
        lines = [line.strip() for line in get_text(path).splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f'{path} is no text file with an image a line') from error
    prefix = folder.rstrip('/') + '/'
    names = []
    for number, line in enumerate(lines, 1):
        _, separator, below = f'/{line}'.rpartition(f'/{prefix}')
        name = (below if separator else line).removesuffix(suffix)
        if name.startswith('/') or '..' in name.split('/') or '\0' in name:
            raise InputError(
                f'{path}, line {number}: {line!r} leads out of the folder {folder or "of the data"}'
            )
        if name:
            names.append(name)
    return names


def write_names(path: str | Path, names: Sequence[str]) -> None:
    """Write a list, a name a line."""
    with atomic_path(path) as temporary:
        temporary.write_text(''.join(f'{name}\n' for name in names))


def parse_subset(text: str) -> Fraction | Path:
    """Read which part of the images to use: a fraction such as ``1/16``, or a user's list.

    Raises:
        InputError: It is neither a file nor a fraction above 0 and at most 1.
    """
    if Path(text).is_file():
        return Path(text)
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise InputError(f'{text!r} is neither a file nor a fraction such as 1/16') from None
    if not 0 < share <= 1:
        raise InputError(f'a subset must be more than nothing and at most all, got {text}')
    return share


def write_subset(
    subset: Fraction | Path,
    images: Sequence[Path],
    root: Path,
    folder: str,
    suffix: str,
    out: Path,
    seed: int = 1,
) -> Path:
    """Write a list of some of the images to train on.

    Args:
        subset: A share of them, drawn at random, or a file with the user's own list.
        images: All images that have labels.
        root: Folder of the dataset.
        folder: Folder below it that the names are relative to.
        suffix: How the names of the images end.
        out: Folder to write to: ``train_1_16_v1.txt``, with the seed as the version, or a file of
            the name that the user's list has.
        seed: Seed of the draw.

    Returns:
        The file that was written.

    Raises:
        FileExistsError: There is another list of this name.
        FileNotFoundError: There are no images, or the user's list names others.
        InputError: The user's list is empty, no text, or leads out of the folder.
    """
    everything = sorted(
        path.relative_to(root / folder).as_posix().removesuffix(suffix)
        for path in images
        if path.is_relative_to(root / folder)
    )
    if not everything:
        raise FileNotFoundError(f'no *{suffix} with labels below {root / folder}')
    if isinstance(subset, Path):
        names = list(dict.fromkeys(read_names(subset, folder, suffix)))
        if not names:
            raise InputError(f'{subset} lists no image')
        if missing := sorted(set(names) - set(everything)):
            raise FileNotFoundError(
                f'{subset} names images that are not in {root / folder}, or have no labels: '
                f'{missing[:3]} ({len(missing)} of {len(names)})'
            )
        target = out / subset.name
        if target.exists() and target.samefile(subset):
            return target  # DomainDataset reads it as it is
    else:
        count = max(1, round(len(everything) * subset))
        drawn = np.random.default_rng(seed).choice(len(everything), count, replace=False)
        names = [everything[index] for index in sorted(drawn)]
        target = out / f'train_{subset.numerator}_{subset.denominator}_v{seed}.txt'
    if not target.exists():
        write_names(target, names)
    elif read_names(target, folder, suffix) != names:
        way = 'rename yours' if isinstance(subset, Path) else 'choose another --seed'
        raise FileExistsError(f'{target} lists other images: remove it or {way}')
    return target
