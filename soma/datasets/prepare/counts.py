"""How often each class occurs: counts, tables and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from ...utils.tables import save_bars

IGNORED = 'ignored'  # the name of what does not count


class Counts:
    """How often each class occurs, and how many images have it.

    Args:
        names: The K classes, for label maps with ``IGNORED`` as the last.
        unit: What is counted: ``pixels`` or ``boxes``.

    Attributes:
        amounts: Pixels or boxes of each class (K,) int64.
        images: (K,) int64.
        total: Number of images.
    """

    def __init__(self, names: Sequence[str], unit: str = 'pixels') -> None:
        self.names, self.unit = tuple(names), unit
        self.amounts = np.zeros(len(names), np.int64)
        self.images = np.zeros(len(names), np.int64)
        self.total = 0

    def add(self, amounts: np.ndarray) -> None:
        """Add one image's pixels or boxes (K,)."""
        self.amounts += amounts
        self.images += amounts > 0
        self.total += 1

    def shares(self) -> dict[str, float]:
        """Share of each class of all pixels or boxes, in percent."""
        shares = 100 * self.amounts / max(1, self.amounts.sum())
        return dict(zip(self.names, shares.tolist(), strict=True))

    def to_dict(self) -> dict:
        """Make plain data of it, by the names of the classes."""
        return {
            'total': self.total,
            self.unit: dict(zip(self.names, self.amounts.tolist(), strict=True)),
            'images': dict(zip(self.names, self.images.tolist(), strict=True)),
        }

    def cell(self, name: str) -> str:
        """A cell of a table: the share or the number of a class."""
        index = self.names.index(name) if name in self.names else None
        if index is None or not self.amounts[index]:
            return '-'
        if self.unit == 'boxes':
            return f'{self.amounts[index]} ({self.images[index]})'
        images = 100 * self.images[index] / max(1, self.total)
        return f'{self.shares()[name]:.2f} ({images:.0f})'


def counts_table(counts: Mapping[str, Counts]) -> Table:
    """Make a table: a row a class; for each domain what there is of it.

    That is its share of the pixels and of the images, or the number of its boxes and images.
    """
    titles = {'pixels': 'share of pixels (images) in percent', 'boxes': 'boxes (images)'}
    units = dict.fromkeys(count.unit for count in counts.values())
    table = Table(title=', '.join(titles[unit] for unit in units))
    table.add_column('class')
    for domain in counts:
        table.add_column(domain, justify='right')
    for name in _names(counts):
        table.add_row(name, *(count.cell(name) for count in counts.values()))
    return table


def save_counts_chart(path: Path, counts: Mapping[str, Counts]) -> None:
    """Draw the shares of the classes as bars, on a logarithmic scale, into a PNG file."""
    names = _names(counts)
    shares = {domain: count.shares() for domain, count in counts.items()}
    series = {
        domain: np.array([share.get(name, 0.0) for name in names])
        for domain, share in shares.items()
    }
    units = ', '.join(dict.fromkeys(count.unit for count in counts.values()))
    title = 'how often each class occurs; none: no bar'
    save_bars(path, series, names, f'share of {units} (%)', title, log=True)


def _names(counts: Mapping[str, Counts]) -> list[str]:
    return list(dict.fromkeys(name for count in counts.values() for name in count.names))
