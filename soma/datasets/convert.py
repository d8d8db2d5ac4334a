"""Converts the labels of datasets to train ids, file by file, without touching a source file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..files import atomic_path
from .labels import CITYSCAPES_TO_TRAIN, MAPILLARY_TO_TRAIN, to_train_ids
from .parallel import run_parallel


@dataclass(frozen=True)
class Job:
    """One file to make.

    Attributes:
        source: File to read.
        target: File to write.
        table: Table for labels; None for pictures.
        half: Whether to halve width and height.
    """

    source: Path
    target: Path
    table: np.ndarray | None = None
    half: bool = False


@dataclass(frozen=True)
class Summary:
    """How many files were made, and how many were there already."""

    converted: int
    skipped: int

    def __str__(self) -> str:
        return f'{self.converted} files converted, {self.skipped} already there'


def convert_file(job: Job) -> bool:
    """Makes one file unless it is there already.

    Returns:
        Whether it was made.

    Raises:
        ValueError: A label value is unknown, or the target would overwrite its source.
    """
    if job.target.exists() and job.target.samefile(job.source):
        raise ValueError(f'{job.target} would overwrite its source')
    with Image.open(job.source) as source:
        size = tuple(n // 2 if job.half else n for n in source.size)
        if _is_done(job.target, size):
            return False
        if job.table is None:
            result, options = source.convert('RGB'), {'quality': 95}
        else:
            try:
                train_ids = to_train_ids(np.array(source), job.table)
            except ValueError as error:
                raise ValueError(f'{job.source}: {error}') from None
            result, options = Image.fromarray(train_ids), {}
    if job.half:
        nearest, bicubic = Image.Resampling.NEAREST, Image.Resampling.BICUBIC
        result = result.resize(size, bicubic if job.table is None else nearest)
    with atomic_path(job.target) as path:
        result.save(path, **options)
    return True


def _is_done(path: Path, size: tuple[int, int]) -> bool:
    """Whether an image is there, can be read to its end and has the size."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size == size
    except OSError:  # missing, cut off or not an image: make it anew
        return False


def convert(jobs: Sequence[Job], nproc: int = 1, title: str = 'converting') -> Summary:
    """Makes all files that are not there yet.

    Args:
        jobs: The files to make.
        nproc: Number of processes.
        title: What the progress bar says.

    Returns:
        How many files were made and skipped.

    Raises:
        ValueError: As `convert_file`.
    """
    made = run_parallel(convert_file, jobs, nproc, title)
    return Summary(sum(made), len(made) - sum(made))


def find(folder: Path, pattern: str) -> list[Path]:
    """Returns the files in `folder` that match a glob pattern, sorted.

    Raises:
        FileNotFoundError: The folder is missing or holds no such file.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'expected the folder {folder}, which does not exist')
    files = sorted(path for path in folder.glob(pattern) if not path.name.startswith('.'))
    if not files:
        raise FileNotFoundError(f'expected files {pattern} in {folder}, found none')
    return files


def _below(path: Path, root: Path, out: Path, old: str, new: str) -> Path:
    """The place below `out` of a file below `root`, with the end of its name exchanged."""
    relative = path.relative_to(root)
    return out / relative.with_name(relative.name.removesuffix(old) + new)


def gta_jobs(root: Path, out: Path) -> list[Job]:
    """labels/00001.png -> labels/00001_labelTrainIds.png."""
    suffix = '_labelTrainIds.png'
    sources = [p for p in find(root / 'labels', '*.png') if not p.name.endswith(suffix)]
    return [
        Job(path, _below(path, root, out, '.png', suffix), CITYSCAPES_TO_TRAIN) for path in sources
    ]


def cityscapes_jobs(root: Path, out: Path) -> list[Job]:
    """gtFine/*/*/*_gtFine_labelIds.png -> *_gtFine_labelTrainIds.png."""
    old, new = '_gtFine_labelIds.png', '_gtFine_labelTrainIds.png'
    sources = find(root / 'gtFine', f'*/*/*{old}')
    return [Job(path, _below(path, root, out, old, new), CITYSCAPES_TO_TRAIN) for path in sources]


def mapillary_jobs(root: Path, out: Path) -> list[Job]:
    """Labels to cityscapes_trainIdLabel/, and validation halved into half/.

    The training split may be missing: who only tests on Mapillary does not need it.
    """
    labels = {'val': find(root / 'validation' / 'v1.2' / 'labels', '*.png')}
    if (root / 'training').exists():
        labels['train'] = find(root / 'training' / 'v1.2' / 'labels', '*.png')
    jobs = [
        Job(path, out / 'cityscapes_trainIdLabel' / split / 'label' / path.name, MAPILLARY_TO_TRAIN)
        for split, paths in labels.items()
        for path in paths
    ]
    half = out / 'half'
    for path in labels['val']:
        jobs.append(Job(path, half / 'val_label' / path.name, MAPILLARY_TO_TRAIN, half=True))
    for path in find(root / 'validation' / 'images', '*.jpg'):
        jobs.append(Job(path, half / 'val_img' / path.name, half=True))
    return jobs


LAYOUTS: dict[str, Callable[[Path, Path], list[Job]]] = {
    'gta': gta_jobs,
    'cityscapes': cityscapes_jobs,
    'mapillary': mapillary_jobs,
}


def convert_dataset(
    name: str, root: str | Path, out: str | Path | None = None, nproc: int = 1
) -> Summary:
    """Converts a dataset.

    Args:
        name: One of `LAYOUTS`.
        root: Folder of the dataset.
        out: Folder to write below, in the same layout; `root` by default.
        nproc: Number of processes.

    Returns:
        How many files were made and skipped.

    Raises:
        FileNotFoundError: An expected folder or its files are missing.
        ValueError: As `convert_file`.
    """
    root = Path(root)
    jobs = LAYOUTS[name](root, Path(out or root))
    return convert(jobs, nproc, f'converting {name}')


def main(name: str, description: str) -> Summary:
    """Run the command line of a conversion script.

    Args:
        name: One of `LAYOUTS`.
        description: What `--help` says of it.

    Returns:
        How many files were made and skipped.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('root', help=f'folder of the dataset, such as data/{name}')
    parser.add_argument('--out', help='folder to write below (default: root)')
    parser.add_argument('--nproc', type=int, default=1, help='number of processes (default: 1)')
    args = parser.parse_args()
    try:
        return convert_dataset(name, args.root, args.out, args.nproc)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'error: {error}') from None
