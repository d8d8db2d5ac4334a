"""Writes a page of results that stands alone: tables, plots and images in one HTML file."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..io.files import atomic_path

_TEMPLATE = Path(__file__).with_name('page.html')


class Cell(NamedTuple):
    """A score in a table.

    Attributes:
        text: What is shown.
        value: In percent, which its column is sorted by and a bar shows; None goes last.
        change: A difference, with its sign.
        rises: Whether more is better.
    """

    text: str
    value: float | None = None
    change: str = ''
    rises: bool = True

    @classmethod
    def of(cls, percent: float, change: float = math.nan, rises: bool = True) -> Cell:
        """A score in percent and its difference to another one; NaN for none.

        One that is better the lower it is (``rises=False``) gets no bar.
        """
        if math.isnan(percent):
            return cls('-')
        sign = '+' if change else ''  # of zero none
        text = '' if math.isnan(change) else f'{change:{sign}.2f}'
        return cls(f'{percent:.2f}', round(percent, 2) if rises else None, text, rises)


class Group(NamedTuple):
    """Rows of images, each with a caption; a title a column."""

    heading: str
    titles: Sequence[str]
    images: Sequence[tuple[str, Sequence[str]]]


class Section(NamedTuple):
    """A part of a page, all of which but the heading may be empty.

    Attributes:
        heading: What stands above.
        text: What explains it.
        columns: Titles of a table.
        rows: Of the table, by name.
        totals: Rows below, which are not sorted.
        plots: Addresses of images.
        legend: Names and CSS colours.
        groups: Thumbnails of images.
    """

    heading: str
    text: str = ''
    columns: Sequence[str] = ()
    rows: Sequence[tuple[str, Sequence[Cell]]] = ()
    totals: Sequence[tuple[str, Sequence[Cell]]] = ()
    plots: Sequence[str] = ()
    legend: Sequence[tuple[str, str]] = ()
    groups: Sequence[Group] = ()


def save_page(
    path: Path,
    title: str,
    tiles: Sequence[tuple[str, str]],
    facts: Sequence[tuple[str, str]],
    sections: Sequence[Section],
) -> None:
    """Write a page.

    Args:
        path: The HTML file.
        title: Its title.
        tiles: Name and value of what is to be seen first.
        facts: Name and value of what the results are of.
        sections: What follows.
    """
    from jinja2 import Environment  # here, since it takes its time

    template = Environment(autoescape=True, trim_blocks=True).from_string(_TEMPLATE.read_text())
    text = template.render(title=title, tiles=tiles, facts=facts, sections=sections)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def short_paths(paths: Iterable[str | os.PathLike]) -> list[str]:
    """Files as seen from the deepest folder that has them all; where that is may be private."""
    paths = [os.path.abspath(path) for path in paths]
    root = os.path.commonpath([*map(os.path.dirname, paths)])
    return [os.path.relpath(path, root) for path in paths]


def png_uri(path: Path) -> str:
    """A PNG file as the address of an ``<img>``, with the file in it."""
    return data_uri(path.read_bytes(), 'png')


def data_uri(content: bytes, kind: str) -> str:
    """The same of the content of a file, of the kind ``png`` or ``jpeg``."""
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'
