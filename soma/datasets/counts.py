"""How often each class occurs: counts, tables and charts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmseg.datasets import CityscapesDataset
from rich.table import Table

from ..reporting import save_bars
from .labels import CLASSES, IGNORE

_NAMES = (*CityscapesDataset.METAINFO['classes'], 'ignored')


class Counts:
    """Pixels of each of the 19 classes, and pictures that have it.

    Attributes:
        pixels: (20,) int64; the last is what is not labelled.
        pictures: (20,) int64.
        total: Number of pictures.
    """

    def __init__(self) -> None:
        self.pixels = np.zeros(CLASSES + 1, np.int64)
        self.pictures = np.zeros(CLASSES + 1, np.int64)
        self.total = 0

    def add(self, histogram: np.ndarray) -> None:
        """Add one picture's pixels by train id (256,)."""
        pixels = histogram[[*range(CLASSES), IGNORE]]
        self.pixels += pixels
        self.pictures += pixels > 0
        self.total += 1

    def shares(self) -> np.ndarray:
        """Share of each class of all pixels, in percent (20,)."""
        return 100 * self.pixels / max(1, self.pixels.sum())

    def to_dict(self) -> dict:
        """Make plain data of it, by the names of the classes."""
        return {
            'total': self.total,
            'pixels': dict(zip(_NAMES, self.pixels.tolist(), strict=True)),
            'pictures': dict(zip(_NAMES, self.pictures.tolist(), strict=True)),
        }


def counts_table(counts: Mapping[str, Counts]) -> Table:
    """Make a table: a row a class; for each domain its share of the pixels and of the pictures."""
    table = Table(title='share of pixels (pictures) in percent')
    table.add_column('class')
    for domain in counts:
        table.add_column(domain, justify='right')
    for index, name in enumerate(_NAMES):
        cells = []
        for count in counts.values():
            pictures = 100 * count.pictures[index] / max(1, count.total)
            share = count.shares()[index]
            cells.append(f'{share:.2f} ({pictures:.0f})' if count.pixels[index] else '-')
        table.add_row(name, *cells)
    return table


def save_counts_chart(path: Path, counts: Mapping[str, Counts]) -> None:
    """Draw the shares of the pixels as bars, on a logarithmic scale, into a PNG file."""
    series = {domain: count.shares() for domain, count in counts.items()}
    title = 'how often each class occurs; none: no bar'
    save_bars(path, series, _NAMES, 'share of pixels (%)', title, log=True)
