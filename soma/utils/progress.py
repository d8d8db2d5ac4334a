"""A progress bar with an estimate of the time left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

T = TypeVar('T')


class TimeLeft(ProgressColumn):
    """The time left, and steps per second in a unit: by the mean of all steps, from the first on.

    rich's own column forgets a step after 30 seconds.
    """

    def __init__(self, unit: str | None) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """Write both, as far as they are known."""
        mean, left = task.fields['mean'], '-:--:--'
        if mean and task.total is not None:
            left = timedelta(seconds=round(max(0, mean * task.total - task.elapsed)))
        speed = f' {1 / mean:.3g} {self.unit}/s' if mean and self.unit else ''
        return Text(f'left {left}{speed}')


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
        TimeLeft(unit),
    )
    with Progress(*columns) as progress:
        task = progress.add_task(title, total=total, mean=0.0)
        start = time.monotonic()
        for count, step in enumerate(steps, 1):
            yield step
            mean = (time.monotonic() - start) / count
            progress.update(task, completed=count, mean=mean)
