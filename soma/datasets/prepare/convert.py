"""Converts whole datasets to what the configs read, without touching a source file."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...io.files import InputError, check_folder, write_json
from ...utils.parallel import run_parallel
from .convert_files import Job, run_job
from .counts import Counts
from .layouts import LAYOUTS

REPORT = 'conversion.json'


@dataclass(frozen=True)
class Summary:
    """What a conversion did.

    Attributes:
        converted: Number of files made.
        skipped: Number of files that were there already, and whole.
        failed: Number of files that could not be made.
        failures: Why a source could not be converted, by its path.
        remarks: What is unusual about a source, by its path.
        counts: How often each class occurs in the labels.
        images: The images that have labels now.
    """

    converted: int
    skipped: int
    failed: int
    failures: dict[str, str]
    remarks: dict[str, str]
    counts: Counts
    images: list[Path]

    def __str__(self) -> str:
        text = f'{self.converted} files converted, {self.skipped} already there'
        return f'{text}, {self.failed} failed' if self.failed else text


def convert(
    jobs: Sequence[Job], counts: Counts, nproc: int = 1, title: str = 'converting'
) -> Summary:
    """Makes all files that are not there yet.

    Args:
        jobs: The files to make.
        counts: What counts the classes.
        nproc: Number of processes.
        title: Of the progress bar.

    Returns:
        What was made, what was not, and what is in it.

    Raises:
        ImportError: Labels are there as polygons, and what draws them is not installed.
        InputError: `nproc` is less than 1, two files would be written to one place, or one over
            the source of another.
    """
    _check_targets(jobs)
    _remove_leftovers([job.target for job in jobs])
    outcomes = run_parallel(run_job, jobs, nproc, title)
    failures, remarks, images = {}, {}, []
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.failure:
            failures[str(job.source)] = outcome.failure
        elif outcome.remark:
            remarks[str(job.source)] = outcome.remark
        if outcome.counts is not None:
            counts.add(outcome.counts)
            if job.image.exists():
                images.append(job.image)
    made = sum(outcome.made for outcome in outcomes)
    failed = sum(bool(outcome.failure) for outcome in outcomes)
    skipped = len(jobs) - made - failed
    return Summary(made, skipped, failed, failures, remarks, counts, images)


def _check_targets(jobs: Sequence[Job]) -> None:
    place = cache(os.path.realpath)  # of folders, of which there are few
    sources = {(place(job.source.parent), job.source.name): job for job in jobs}
    targets: dict[tuple[str, str], Job] = {}
    for job in jobs:
        name = place(job.target.parent), job.target.name
        if targets.setdefault(name, job) is not job:
            both = f'{targets[name].source} and {job.source}'
            raise InputError(f'{both} would both be written to {job.target}: rename one of them')
        if sources.get(name, job) is not job:
            raise InputError(f'{job.target} is read too: --out ANOTHER_FOLDER writes elsewhere')


def _remove_leftovers(targets: Sequence[Path]) -> None:
    """Remove the half-written targets of a run that was killed (see ``atomic_path``).

    Those of the last minute stay: another run may be writing them.
    """
    expected = set(targets)
    for folder in {target.parent for target in targets if target.parent.is_dir()}:
        for path in folder.glob('.*'):
            name = re.fullmatch(r'\.(.+)\.\d+(\.\w+)', path.name)
            is_leftover = name and folder / (name[1] + name[2]) in expected
            if is_leftover and time.time() - path.stat().st_mtime > 60:
                path.unlink()


def convert_dataset(
    name: str, root: str | Path, out: str | Path | None = None, nproc: int = 1
) -> Summary:
    """Converts a dataset; ``conversion.json`` is the report.

    Args:
        name: One of `LAYOUTS`.
        root: Folder of the dataset.
        out: Folder to write below, in the same layout; `root` by default. Another folder gets links
            to the images, so that the configs find all that they read there.
        nproc: Number of processes.

    Returns:
        As :func:`convert`.

    Raises:
        FileNotFoundError: An expected folder or its files are missing.
        ImportError: As :func:`convert`.
        InputError: As :func:`convert`, or if nothing can be written to `out`.
    """
    root, out = Path(root), Path(out or root)
    layout = LAYOUTS[name]
    jobs = layout.jobs(root, out)
    check_folder(out)
    for folder in layout.images:
        link_folder(out / folder, root / folder)
    summary = convert(jobs, layout.counts(), nproc, f'converting {name}')
    report = {'failures': summary.failures, 'remarks': summary.remarks, **summary.counts.to_dict()}
    write_json(report, out / REPORT)
    return summary


def link_folder(link: Path, folder: Path) -> None:
    """Make a link to a folder, unless something is there; one to nowhere is replaced."""
    if link.exists() or not folder.exists():
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(folder.resolve(), target_is_directory=True)
