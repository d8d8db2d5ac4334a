"""Tables as text, and bar charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ..io.files import atomic_path


def as_text(table: Table, width: int = 200) -> str:
    """Draw a table for a log: no colours, ``width`` columns at most."""
    console = Console(width=width, color_system=None, markup=False)  # names are no markup
    with console.capture() as capture:
        console.print(table)
    return '\n'.join(line.rstrip() for line in capture.get().splitlines()).rstrip()


def save_bars(
    path: Path,
    series: Mapping[str, Sequence[float]],
    ticks: Sequence[str],
    unit: str,
    title: str,
    log: bool = False,
    line: tuple[str, float] | None = None,
) -> None:
    """Draw groups of bars into a PNG file.

    Args:
        path: The file.
        series: Values by the name of the series, one for each tick; NaN leaves a gap.
        ticks: Name of each group.
        unit: What the values are.
        title: What stands above.
        log: Whether the scale is logarithmic.
        line: Name and height of a line across all groups.
    """
    from matplotlib.figure import Figure  # here, since it takes its time

    figure = Figure(figsize=(max(6, 0.09 * len(ticks) * (len(series) + 2)), 4.5), dpi=110)
    axes = figure.add_subplot(yscale='log' if log else 'linear')
    width = 0.85 / max(1, len(series))
    for index, (name, values) in enumerate(series.items()):
        offset = (index - (len(series) - 1) / 2) * width
        axes.bar(np.arange(len(ticks)) + offset, values, width, label=name)
    if line:
        axes.axhline(line[1], color='black', linestyle='--', linewidth=1, label=line[0])
    with_legend = len(series) > 1 or line is not None
    if with_legend and not log:
        axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # room for it
    axes.set_xticks(range(len(ticks)), ticks, rotation=45, ha='right')
    axes.set_ylabel(unit)
    axes.set_title(title, fontsize='medium')
    axes.set_xlim(-0.6, len(ticks) - 0.4)
    axes.grid(axis='y', alpha=0.3)
    if with_legend:
        axes.legend(fontsize='small', ncols=max(1, min(len(axes.containers) + len(axes.lines), 8)))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, bbox_inches='tight')
