"""Plots of a test: confusion, calibration, precision and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..utils.tables import panels, save_figure
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
    figure, parts = panels(len(domains), (side + 1.6, side + 1.1))
    for axes, (name, counts) in zip(parts, domains.items(), strict=True):
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
    save_figure(figure, path)


def save_reliability(path: Path, domains: Mapping[str, Calibration]) -> None:
    """Draw accuracy over confidence and the share of pixels, a line a domain.

    Args:
        path: The PNG file.
        domains: Calibration by domain.
    """
    figure, (above, below) = panels(2, (8, 3.2), sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color='grey', linestyle='--', linewidth=1, label='as sure as right')
    for name, calibration in domains.items():
        label = f'{name}: ECE {calibration.ECE:.1f} %'
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
    save_figure(figure, path)


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
    figure, parts = panels(len(domains), (4.6, 4.2))
    for axes, (name, curves) in zip(parts, domains.items(), strict=True):
        for label, (recall, precision) in curves.items():
            colour = colours[classes.index(label) % len(colours)]
            axes.plot([0, *recall], [*precision[:1], *precision], color=colour, label=label)
        axes.set(xlabel='recall', ylabel='precision', title=name, xlim=(0, 1.01), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        if 0 < len(curves) <= 30:
            axes.legend(fontsize=7, ncols=1 + (len(curves) > 12))
    save_figure(figure, path)
