"""Several tests of the same data side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from ..io.files import InputError, check_folder
from ..io.reports import REPORT, find_report, read_report
from ..utils.tables import save_bars
from .domain_metric import cell, table_of
from .page import Cell, Section, save_page
from .pictures import png_uri
from .plots import save_changes


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
    _save_page(out, made, [*zip(names, map(str, files), strict=True)])
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
    panels = {
        f'{made.score}, {column}': made.values[:, :count, index]
        for index, column in enumerate(made.columns)
    }
    save_changes(out / 'classes.png', panels, made.classes, made.names)


def _save_page(out: Path, made: Comparison, files: Sequence[tuple[str, str]]) -> None:
    titles = ['class', *(f'{column}: {name}' for column in made.columns for name in made.names)]
    rows = [
        (name, [*map(Cell.of, made.values[:, index].T.flat, made.changes[:, index].T.flat)])
        for index, name in enumerate([*made.classes, *made.totals])
    ]
    count = len(made.classes)
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
