"""A progress bar with an estimate of the time left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar('T')


class _Speed(ProgressColumn):
    """Steps per second, in a unit."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f'{speed:.1f} {self.unit}/s' if speed else '')


def track(
    steps: Iterable[T], total: int | None, title: str, unit: str | None = None
) -> Iterator[T]:
    """Show a progress bar while going through steps; yields them.

    Args:
        steps: The steps.
        total: How many there are; None if nobody knows.
        title: What stands before the bar.
        unit: What a step is: how many there are in a second is shown, too.
    """
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn('left'),
        TimeRemainingColumn(),
        *([_Speed(unit)] if unit else []),
    )
    with Progress(*columns) as progress:
        yield from progress.track(steps, total=total, description=title)
