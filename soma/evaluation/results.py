"""Writes what a test has found: a table, plots, and a page with all of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.dist import all_gather_object

from ..io.files import atomic_path
from ..utils.colours import colours_of
from ..utils.page import Cell, Group, Section, png_uri, save_page, short_paths
from ..utils.tables import FALLING, cell, table_of, unit_of
from . import thumbnails
from .details import BoxSets, DetectionDetails, Maps, SegmentationDetails, choose
from .domain_metric import DomainMetric
from .plots import save_confusion, save_curves, save_reliability

Thumbnails = Mapping[tuple[str, str], Maps | BoxSets]


class Results(NamedTuple):
    """Of a metric.

    Attributes:
        report: Its ``report``.
        details: Its ``details``.
        thumbnails: What to draw of the images that :func:`~soma.evaluation.details.choose` takes.
        classes: Their names.
        palette: Their RGB colours, shape ``(classes, 3)``, uint8.
    """

    report: Mapping
    details: Mapping[str, SegmentationDetails | DetectionDetails]
    thumbnails: Thumbnails
    classes: Sequence[str]
    palette: np.ndarray

    @classmethod
    def of(cls, metric: DomainMetric) -> Results:
        """Gather a metric's, in all processes together."""
        chosen = {
            (domain, image.path)
            for domain, part in metric.details.items()
            for images in choose(part.images)
            for image in images
        }
        own = {key: value for key, value in metric.recorder.thumbnails.items() if key in chosen}
        gathered = {k: v for part in all_gather_object(own) for k, v in part.items()}
        metric.recorder.thumbnails.clear()
        meta = metric.dataset_meta
        return cls(metric.report, metric.details, gathered, meta['classes'], colours_of(meta))


def save_table(path: Path, report: Mapping) -> None:
    """Write the score of each class in each domain, as CSV; empty where there is none."""
    columns, rows, totals = table_of(report)
    with atomic_path(path) as temporary, temporary.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for name, *values in [*rows, *totals]:
            writer.writerow([name, *('' if np.isnan(v) else f'{v:.2f}' for v in values)])


def save_results(
    stem: Path, page: Path, results: Results, facts: Sequence[tuple[str, str]]
) -> None:
    """Write the plots, and the page with them.

    Args:
        stem: Of the plots, without suffix, beside the chart ``<stem>.png``.
        page: The HTML file.
        results: What to show.
        facts: Name and value of what the results are of.
    """
    report = results.report
    columns, rows, totals = table_of(report)
    average, *scores = totals[0]
    tiles = [*zip(columns[1:], map(cell, scores), strict=True)]
    tiles.insert(0, (f'{average}, {tiles[-1][0]}', tiles.pop()[1]))  # the mean first
    cells = [
        [(name, [Cell.of(v, rises=name not in FALLING) for v in values]) for name, *values in part]
        for part in (rows, totals)
    ]
    tested = ', '.join(
        f'{name} ({part["images"]} images)' for name, part in report['domains'].items()
    )
    facts = [*facts, ('tested on', tested), ('mean over', ', '.join(report['mean_over']))]
    sections = [Section('Classes', f'{unit_of(report)}.', columns, *cells)]
    if len(report['domains']) > 1:  # of one it would repeat the table
        sections.append(Section('Chart', plots=[png_uri(stem.with_suffix('.png'))]))
    title = f'{average} {tiles[0][1]}: {facts[0][1]}'
    save_page(page, title, tiles, facts, [*sections, *_plots(stem, results), _images(results)])


def _plots(stem: Path, results: Results) -> list[Section]:
    details, classes = results.details, results.classes

    def section(name: str, save, values: Mapping, heading: str, text: str) -> Section:
        path = stem.with_name(f'{stem.name}_{name}.png')
        save(path, values)
        return Section(heading, text, plots=[png_uri(path)])

    if isinstance(next(iter(details.values())), DetectionDetails):
        curves = {name: part.curves for name, part in details.items()}
        text = 'Each class, as the score from which boxes count falls.'
        draw = partial(save_curves, classes=classes)
        return [section('curves', draw, curves, 'Precision and recall', text)]
    counts = {name: part.confusion for name, part in details.items()}
    text = "Of each class's pixels, how many percent are taken for which class."
    draw = partial(save_confusion, classes=classes)
    sections = [section('confusion', draw, counts, 'Confusion', text)]
    known = {name: part.calibration for name, part in details.items() if part.calibration}
    if known := {name: part for name, part in known.items() if not np.isnan(part.ECE)}:
        text = (
            'Pixels by the probability of the class that is predicted. Below the line the model '
            'is surer than it is right; ECE is the mean distance from the line.'
        )
        heading = 'Confidence and accuracy'
        sections.append(section('reliability', save_reliability, known, heading, text))
    return sections


def _images(results: Results) -> Section:
    """Thumbnails of the worst images of each domain, and of those in the middle."""
    segments = isinstance(next(iter(results.details.values())), SegmentationDetails)
    draw = thumbnails.draw_maps if segments else thumbnails.draw_box_sets
    titles = thumbnails.SEGMENTED if segments else thumbnails.DETECTED
    groups = []
    for domain, part in results.details.items():
        paths = [image.path for image in part.images]
        names = dict(zip(paths, short_paths(paths), strict=True))
        for heading, images in zip(('worst', 'median'), choose(part.images), strict=True):
            rows = []
            for image in images:
                panels = draw(image.path, results.thumbnails[domain, image.path], results.palette)
                caption = f'{image.text} · {names[image.path]}'
                rows.append((caption, [*map(thumbnails.jpeg_uri, panels)]))
            if rows:
                groups.append(Group(f'{domain}: the {heading} images', titles, rows))
    what = 'mIoU over the classes that the image has' if segments else 'missed and false boxes'
    colours = [f'rgb({r} {g} {b})' for r, g, b in results.palette]
    legend = [*zip(results.classes, colours, strict=True)]
    return Section('Images', f'By {what}, the worst first.', legend=legend, groups=groups)
