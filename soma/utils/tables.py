"""Tables as text, those of scores, and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..io.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FALLING = ('ECE', 'NLL', 'Brier', 'FPR95')  # scores that are better the lower they are


def as_text(table: Table, width: int = 200) -> str:
    """Draw a table for a log: no colours, ``width`` columns at most."""
    console = Console(width=width, color_system=None, markup=False)  # names are no markup
    with console.capture() as capture:
        console.print(table)
    return '\n'.join(line.rstrip() for line in capture.get().splitlines()).rstrip()


def cell(value: float) -> str:
    """A score in a table."""
    return '-' if np.isnan(value) else f'{value:.2f}'


def table_of(report: Mapping) -> tuple[list[str], list[list], list[list]]:
    """Columns, rows of classes, and rows of what they come to, the mean over classes first.

    A row is a name, a number for each domain (NaN for none) and, of several domains, their mean.

    Args:
        report: Of a metric by domain, as ``domains_test.json`` has it.
    """
    domains, chosen, score = report['domains'], report['mean_over'], report['score']
    columns = ['class', *domains]
    if several := len(domains) > 1:
        columns.append('mean' if len(chosen) == len(domains) else f'mean of {len(chosen)}')
    counts, rows = np.array([name in chosen for name in domains]), []
    for label in next(iter(domains.values()))[score]:
        values = np.array([domain[score][label] for domain in domains.values()], float)
        known = values[counts & ~np.isnan(values)]
        rows.append([label, *values, *[known.mean() if known.size else np.nan] * several])
    totals = [
        [key, *np.array([*(domain[key] for domain in domains.values()), *[value] * several], float)]
        for key, value in report['mean'].items()
    ]
    return columns, rows, totals


def unit_of(report: Mapping) -> str:
    """What the numbers of :func:`table_of` are, in words."""
    return f'{report["score"]} in percent' + (', NLL in nats' if 'NLL' in report['mean'] else '')


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
    wide = max(6, 0.09 * len(ticks) * (len(series) + 2))
    figure, (axes,) = panels(1, (wide, 4.5), subplot_kw=dict(yscale='log' if log else 'linear'))
    width = 0.85 / max(1, len(series))
    for index, (name, values) in enumerate(series.items()):
        offset = (index - (len(series) - 1) / 2) * width
        axes.bar(np.arange(len(ticks)) + offset, values, width, label=name)
    if line:
        axes.axhline(line[1], color='black', linestyle='--', linewidth=1, label=line[0])
    if unit.endswith('(%)'):
        axes.set_ylim(top=min(100, axes.get_ylim()[1]))
    axes.set_xticks(range(len(ticks)), ticks, rotation=45, ha='right')
    axes.set_ylabel(unit)
    axes.set_title(title, fontsize='medium')
    axes.set_xlim(-0.6, len(ticks) - 0.4)
    axes.grid(axis='y', alpha=0.3)
    if len(series) > 1 or line is not None:
        count = min(len(axes.containers) + len(axes.lines), 8)
        figure.legend(loc='outside upper center', fontsize='small', ncols=count)
    save_figure(figure, path)


def panels(count: int, size: tuple[float, float], **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure as wide as a page, and its axes.

    Args:
        count: Of the axes.
        size: Width and height of each in inches.
        **options: Of matplotlib's ``subplots``.
    """
    from matplotlib.figure import Figure  # here, since it takes its time

    rows = -(-count // max(1, int(15 // size[0])))
    columns = -(-count // rows)
    figure = Figure((columns * size[0], rows * size[1]), dpi=110, layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure into a PNG file."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, bbox_inches='tight')
