"""A progress bar with an estimate of the time left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar('T')


def track(steps: Iterable[T], total: int, title: str) -> Iterator[T]:
    """Show a progress bar, with a title, while going through ``total`` steps; yields them."""
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn('left'),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        yield from progress.track(steps, total=total, description=title)
