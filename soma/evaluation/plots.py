"""Plots of a test: confusion, calibration, precision and recall, and changes between tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..io.files import atomic_path
from .calibration import Calibration


def save_confusion(path: Path, domains: Mapping[str, np.ndarray], classes: Sequence[str]) -> None:
    """Draw the confusion matrix of each domain, in percent of the pixels of a class.

    Args:
        path: The PNG file.
        domains: Counts ``(classes, classes)`` by domain; row: ground truth, column: prediction.
        classes: Their names.
    """
    count = len(classes)
    side = np.clip(count * 0.3, 2.6, 14)
    figure, panels = _panels(len(domains), (side + 1.6, side + 1.1))
    for axes, (name, counts) in zip(panels, domains.items(), strict=True):
        with np.errstate(invalid='ignore'):
            shares = 100 * counts / counts.sum(1, keepdims=True)  # NaN: white
        image = axes.imshow(shares, cmap='Blues', vmin=0, vmax=100)
        for row, column in np.argwhere(shares >= 0.5) if count <= 40 else ():
            share = shares[row, column]
            colour = 'white' if share > 55 else 'black'
            text = axes.text(column, row, f'{share:.0f}', color=colour, ha='center', va='center')
            text.set(size=8 if count > 8 else 9, in_layout=False)  # hundreds slow the layout
        font = dict(fontsize=min(8.5 if count > 8 else 9, 68 * side / count))
        turned = dict(rotation=45, ha='right') if count <= 40 else dict(rotation=90)
        axes.set_xticks(range(count), classes, **turned, **font)
        axes.set_yticks(range(count), classes, **font)
        axes.set(xlabel='prediction', ylabel='ground truth', title=name)
        figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02, label='% of the class')
    _save(figure, path)


def save_reliability(path: Path, domains: Mapping[str, Calibration]) -> None:
    """Draw accuracy over confidence and the share of pixels, a line a domain.

    Args:
        path: The PNG file.
        domains: Calibration by domain.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6.4), dpi=110, layout='constrained')
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color='grey', linestyle='--', linewidth=1, label='as sure as right')
    for name, calibration in domains.items():
        label = f'{name}: ECE {calibration.ece:.1f} %'
        (line,) = above.plot(
            calibration.confidence, calibration.accuracy, marker='o', markersize=4, label=label
        )
        edges = np.linspace(0, 1, len(calibration.share) + 1)
        below.stairs(100 * calibration.share, edges, color=line.get_color(), linewidth=1.5)
    above.set(ylabel='accuracy', ylim=(0, 1.02), xlim=(0, 1.01))
    above.legend(fontsize='small', loc='upper left')
    below.set(xlabel='confidence of the predicted class', ylabel='% of pixels')
    for axes in (above, below):
        axes.grid(alpha=0.3)
    _save(figure, path)


def save_curves(
    path: Path, domains: Mapping[str, Mapping[str, np.ndarray]], classes: Sequence[str]
) -> None:
    """Draw precision over recall, a panel a domain, a line a class.

    Args:
        path: The PNG file.
        domains: Recall and precision ``(2, n)`` by domain and class.
        classes: All classes, each of which has a colour.
    """
    from matplotlib import colormaps

    colours = colormaps['tab10' if len(classes) <= 10 else 'tab20'].colors
    figure, panels = _panels(len(domains), (4.6, 4.2))
    for axes, (name, curves) in zip(panels, domains.items(), strict=True):
        for label, (recall, precision) in curves.items():
            colour = colours[classes.index(label) % len(colours)]
            axes.plot([0, *recall], [*precision[:1], *precision], color=colour, label=label)
        axes.set(xlabel='recall', ylabel='precision', title=name, xlim=(0, 1.01), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        if 0 < len(curves) <= 30:
            axes.legend(fontsize=7, ncols=1 + (len(curves) > 12))
    _save(figure, path)


def save_changes(
    path: Path, panels: Mapping[str, np.ndarray], classes: Sequence[str], names: Sequence[str]
) -> None:
    """Draw the score of each class in several tests, an arrow from the first test to each.

    Args:
        path: The PNG file.
        panels: Scores in percent ``(tests, classes)`` by domain; NaN is left out.
        classes: Their names.
        names: Of the tests.
    """
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    colours = colormaps['tab10'].colors
    height = max(2.2, 0.27 * len(classes) * max(1, 0.6 * (len(names) - 1)) + 1)
    figure, axis = _panels(len(panels), (4.6, height), sharey=True)
    for axes, (domain, scores) in zip(axis, panels.items(), strict=True):
        for test, values in enumerate(scores[1:], 1):
            places = np.arange(len(classes)) + 0.24 * (test - len(names) / 2)
            for start, end, place in zip(scores[0], values, places, strict=True):
                if np.isnan(start + end):
                    continue
                colour = colours[test % len(colours)]
                arrow = dict(arrowstyle='-|>', color=colour, linewidth=1.6, shrinkA=0, shrinkB=0)
                axes.annotate('', (end, place), (start, place), arrowprops=arrow)
            axes.scatter(scores[0], places, color=colours[0], s=16, zorder=3)
            axes.scatter(values, places, color=colours[test % len(colours)], s=16, zorder=3)
        axes.set_yticks(range(len(classes)), classes, fontsize=8)
        axes.set(title=domain, xlabel='%', ylim=(len(classes) - 0.4, -0.6))
        axes.grid(alpha=0.3)
    dots = [
        Line2D([], [], color=colours[i % len(colours)], marker='o', linestyle='', label=name)
        for i, name in enumerate(names)
    ]
    figure.legend(handles=dots, loc='outside upper center', ncols=4, fontsize='small')
    _save(figure, path)


def _panels(count: int, size: tuple[float, float], **options: bool) -> tuple:
    """A figure as wide as a page, and its axes."""
    from matplotlib.figure import Figure  # here, as above, since it takes its time

    rows = -(-count // max(1, int(15 // size[0])))
    columns = -(-count // rows)
    figure = Figure((columns * size[0], rows * size[1]), dpi=110, layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def _save(figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, bbox_inches='tight')
