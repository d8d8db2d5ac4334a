"""What ``compare.py`` shows of several tests of the same data: a table, charts and a page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from soma.io.files import InputError, check_folder
from soma.io.reports import REPORT, find_report, read_report
from soma.utils.page import Cell, Section, png_uri, save_page, short_paths
from soma.utils.tables import FALLING, cell, panels, save_bars, save_figure, table_of


class Comparison(NamedTuple):
    """Scores of tests in percent; NaN where there is none.

    Attributes:
        names: Of the tests.
        score: Name of a class's score.
        columns: Domains and, of several, their mean.
        classes: Rows of classes.
        totals: Rows of what they come to, the mean over classes first.
        values: Shape ``(tests, rows, columns)``.
    """

    names: Sequence[str]
    score: str
    columns: Sequence[str]
    classes: Sequence[str]
    totals: Sequence[str]
    values: np.ndarray

    @property
    def changes(self) -> np.ndarray:
        """Differences to the first test, NaN of itself."""
        changes = (self.values - self.values[0]).round(2) + 0.0  # no -0
        changes[0] = np.nan
        return changes


def read_scores(path: Path) -> dict:
    """Read what :class:`~soma.evaluation.DomainReportHook` has written.

    Raises:
        InputError: If it is something else.
    """
    report = read_report(path)
    try:
        _numbers(report)
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise InputError(f'{path} is no {REPORT}') from error
    return report


def compare(
    paths: Sequence[str | os.PathLike],
    names: Sequence[str] | None = None,
    out: str | os.PathLike = 'work_dirs/compare',
) -> tuple[Table, Path]:
    """Compare tests with the first of them.

    Args:
        paths: Work dirs or reports, two at least.
        names: What they are called; the folders' names by default.
        out: Folder for ``compare.html``, ``domains.png`` and ``classes.png``.

    Returns:
        A table of all scores with the differences to the first test, and the page.

    Raises:
        FileNotFoundError: If a path does not exist.
        InputError: If one is no report, they are of different data, or the names do not fit.
    """
    files = [find_report(path) for path in paths]
    reports = [read_scores(file) for file in files]
    if len(files) < 2:
        raise InputError('name two tests or more')
    shared = [key for key in reports[0]['mean'] if all(key in part['mean'] for part in reports)]
    reports = [{**part, 'mean': {key: part['mean'][key] for key in shared}} for part in reports]
    names = _names(paths, names)
    for file, report in zip(files[1:], reports[1:], strict=True):
        _check_same(files[0], reports[0], file, report)
    out = Path(out).expanduser()
    check_folder(out)
    columns, classes, totals = table_of(reports[0])
    classes, totals = ([name for name, *_ in rows] for rows in (classes, totals))
    values = np.stack([_numbers(report, reports[0]) for report in reports])
    made = Comparison(names, reports[0]['score'], columns[1:], classes, totals, values)
    _draw(out, made)
    _save_page(out, made, [*zip(names, short_paths(files), strict=True)])
    return _table(made), out / 'compare.html'


def _numbers(report: Mapping, first: Mapping | None = None) -> np.ndarray:
    """Scores ``(rows, columns)``, the domains in the order of the first report."""
    if first:
        domains = {name: report['domains'][name] for name in first['domains']}
        report = {**report, 'domains': domains}
    _, rows, totals = table_of(report)
    return np.array([values for _, *values in [*rows, *totals]], float)


def _names(paths: Sequence, names: Sequence[str] | None) -> list[str]:
    if names is None:
        places = [Path(os.path.abspath(Path(path).expanduser())) for path in paths]
        folders = [place if place.is_dir() else place.parent.parent for place in places]
        names = [folder.name for folder in folders]
        names = names if len({*names}) == len(names) else [*map(str, paths)]
    if len(names) != len(paths) or len({*names}) < len(names):
        raise InputError(f'--names: {", ".join(names)}: give {len(paths)} different ones')
    return list(names)


def _check_same(first: Path, report: Mapping, path: Path, other: Mapping) -> None:
    """Refuse two reports that are not of the same score, classes, domains and images."""
    score = report['score']
    pairs = [('score', score, other['score'])]
    pairs += [('domains', *(sorted(r['domains']) for r in (report, other)))]
    pairs += [('mean_over', *(sorted(map(str, r['mean_over'])) for r in (report, other)))]
    for what, value, another in pairs:
        if value != another:
            raise InputError(f'{path} has {what} {another}, {first} {value}: compare equal tests')
    for name, domain in report['domains'].items():
        classes, others = ([*r['domains'][name][score]] for r in (report, other))
        if classes != others:
            differ = sorted({*classes} ^ {*others})[:5] or 'their order'
            raise InputError(f'{path} and {first} have different classes: {differ}')
        images = [part.get('images') for part in (domain, other['domains'][name])]
        if images[0] != images[1]:
            raise InputError(
                f'{path} is of {images[1]} images of {name}, {first} of {images[0]}: '
                'compare tests of the same images'
            )


def _table(made: Comparison) -> Table:
    table = Table('class', 'test')
    for column in made.columns:
        table.add_column(column, justify='right')
    for index, row in enumerate([*made.classes, *made.totals]):
        if index == len(made.classes):
            table.add_section()
        for test, name in enumerate(made.names):
            texts = map(_with_change, made.values[test, index], made.changes[test, index])
            table.add_row('' if test else row, name, *texts)
    return table


def _with_change(value: float, change: float) -> str:
    return cell(value) + ('' if np.isnan(change) else f' ({change:+.2f})')


def _draw(out: Path, made: Comparison) -> None:
    average, count = made.totals[0], len(made.classes)
    bars = dict(zip(made.names, made.values[:, count], strict=True))
    title = f'{average} of each domain'
    save_bars(out / 'domains.png', bars, made.columns, f'{average} (%)', title)
    domains = {
        f'{made.score}, {column}': made.values[:, :count, index]
        for index, column in enumerate(made.columns)
    }
    _save_changes(out / 'classes.png', domains, made.classes, made.names)


def _save_changes(
    path: Path, domains: Mapping[str, np.ndarray], classes: Sequence[str], names: Sequence[str]
) -> None:
    """Draw the score of each class in several tests, an arrow from the first test to each.

    Args:
        path: The PNG file.
        domains: Scores in percent ``(tests, classes)`` by domain; NaN is left out.
        classes: Their names.
        names: Of the tests.
    """
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    colours = colormaps['tab10'].colors
    height = max(2.2, 0.27 * len(classes) * max(1, 0.6 * (len(names) - 1)) + 1)
    figure, parts = panels(len(domains), (4.6, height), sharey=True)
    for axes, (domain, scores) in zip(parts, domains.items(), strict=True):
        for test, values in enumerate(scores[1:], 1):
            places = np.arange(len(classes)) + 0.24 * (test - len(names) / 2)
            colour = colours[test % len(colours)]
            axes.scatter(scores[0], places, color=colours[0], s=24, zorder=4)
            axes.scatter(values, places, color=colour, s=24, zorder=4)
            arrow = dict(arrowstyle='-|>', color=colour, shrinkA=3, shrinkB=3, mutation_scale=9)
            for start, end, place in zip(scores[0], values, places, strict=True):
                if abs(end - start) > np.ptp(axes.get_xlim()) / 25:  # no room between nearer dots
                    axes.annotate('', (end, place), (start, place), arrowprops=arrow)
        axes.set_yticks(range(len(classes)), classes, fontsize=8)
        axes.set(title=domain, xlabel='%', ylim=(len(classes) - 0.4, -0.6))
        axes.grid(alpha=0.3)
    dots = [
        Line2D([], [], color=colours[i % len(colours)], marker='o', linestyle='', label=name)
        for i, name in enumerate(names)
    ]
    figure.legend(handles=dots, loc='outside upper center', ncols=4, fontsize='small')
    save_figure(figure, path)


def _cells(made: Comparison, row: int, rises: bool) -> list[Cell]:
    pairs = zip(made.values[:, row].T.flat, made.changes[:, row].T.flat, strict=True)
    return [Cell.of(value, change, rises) for value, change in pairs]


def _save_page(out: Path, made: Comparison, files: Sequence[tuple[str, str]]) -> None:
    titles = ['class', *(f'{column}: {name}' for column in made.columns for name in made.names)]
    count = len(made.classes)
    rows = [
        (name, _cells(made, index, index < count or name not in FALLING))
        for index, name in enumerate([*made.classes, *made.totals])
    ]
    means = map(_with_change, made.values[:, count, -1], made.changes[:, count, -1])
    names = (f'{made.totals[0]}, {name}' for name in made.names)
    tiles = [*zip(names, means, strict=True)]
    text = f'{made.score} in percent, with the difference to {made.names[0]}.'
    arrows = f'Arrows go from {made.names[0]}; to the right is better.'
    sections = [
        Section('Domains', plots=[png_uri(out / 'domains.png')]),
        Section('Changes', arrows, plots=[png_uri(out / 'classes.png')]),
        Section('Classes', text, titles, rows[:count], rows[count:]),
    ]
    save_page(out / 'compare.html', ', '.join(made.names), tiles, files, sections)
