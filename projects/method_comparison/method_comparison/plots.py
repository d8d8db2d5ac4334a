"""Plots of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from soma.io.files import atomic_path

from .tables import SHARES, difference

_MARKERS = 'os^vD<>pP*Xhd8H'


def plot_generalisation(
    summary: Mapping[str, Mapping], titles: Mapping[str, str], path: Path
) -> None:
    """Draw the mean over unseen domains against the source's own score, a panel a setting.

    Args:
        summary: Of :func:`~method_comparison.tables.summarise`.
        titles: What was trained on, by setting.
        path: The PNG file; bars are one standard deviation over seeds.
    """
    from matplotlib import colormaps

    figure, panels = _panels(len(summary), 5.2)
    colours = colormaps['tab20']
    for axes, (setting, methods) in zip(panels, summary.items(), strict=True):
        for index, (name, row) in enumerate(methods.items()):
            source, unseen = row['mIoU']['source'], row['mIoU']['unseen']
            axes.errorbar(
                source.mean,
                unseen.mean,
                unseen.std,
                source.std,
                fmt=_MARKERS[index % len(_MARKERS)],
                color=colours(index),
                elinewidth=0.8,
                label=name,
            )
        axes.set_title(f'trained on {titles[setting]}', fontsize='medium')
        axes.set_xlabel(f'held-out images of {setting}, mIoU (%)')
        axes.grid(alpha=0.3)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = axis.get_view_interval()
            rest = max(0, 1 - (high - low)) / 2  # less than a point is not to look like much
            axis.set_view_interval(low - rest, high + rest, ignore=True)
    panels[0].set_ylabel('mean of the unseen domains, mIoU (%)')
    panels[-1].legend(fontsize='small', loc='center left', bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def plot_drift(summary: Mapping[str, Mapping], titles: Mapping[str, str], path: Path) -> None:
    """Draw where training has moved the weights to, a panel a setting, without unmoved methods.

    Args:
        summary: As for :func:`plot_generalisation`.
        titles: As for :func:`plot_generalisation`.
        path: The PNG file.
    """
    figure, panels = _panels(len(summary), 5.2)
    for axes, (setting, methods) in zip(panels, summary.items(), strict=True):
        moved = {name: row['drift'] for name, row in methods.items() if row['drift']['change'].mean}
        left = [0.0] * len(moved)
        for index, share in enumerate(SHARES):
            widths = [drift[share].mean for drift in moved.values()]
            axes.barh(range(len(moved)), widths, left=left, color=f'C{index}', label=share)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        for index, drift in enumerate(moved.values()):
            axes.text(101, index, f'{drift["change"].mean:.1f} %', va='center', fontsize='small')
        axes.set_yticks(range(len(moved)), list(moved))
        axes.invert_yaxis()
        axes.set_xlim(0, 115)
        axes.set_xticks(range(0, 101, 25))
        axes.set_xlabel('share of the energy of the change (%); right: size of the change')
        axes.set_title(f'trained on {titles[setting]}', fontsize='medium')
    panels[-1].legend(fontsize='small', loc='center left', bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def plot_differences(
    summary: Mapping[str, Mapping], titles: Mapping[str, str], baseline: str, path: Path
) -> None:
    """Draw how much higher each method scores than a baseline, with intervals, a panel a setting.

    Args:
        summary: As for :func:`plot_generalisation`.
        titles: As for :func:`plot_generalisation`.
        baseline: The other method.
        path: The PNG file.
    """
    figure, panels = _panels(len(summary), 5.2)
    for axes, (setting, methods) in zip(panels, summary.items(), strict=True):
        names = [name for name in methods if name != baseline]
        for index, mean in enumerate(next(iter(methods.values()))['resampled']):
            found = [difference(methods[name], methods[baseline], mean) for name in names]
            rows = [(place, each) for place, each in enumerate(found) if each]
            reach = [
                (0, 0) if e.low is None else (e.mean - e.low, e.high - e.mean) for _, e in rows
            ]
            axes.errorbar(
                [each.mean for _, each in rows],
                [place + 0.15 * index for place, _ in rows],
                xerr=list(zip(*reach, strict=True)) or None,
                fmt=_MARKERS[index],
                markersize=4,
                elinewidth=0.8,
                label=mean,
            )
        axes.axvline(0, color='black', linewidth=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(alpha=0.3)
        axes.set_xlabel(f'mIoU above that of {baseline} (points, 95 % intervals)')
        axes.set_title(f'trained on {titles[setting]}', fontsize='medium')
    panels[-1].legend(fontsize='small', loc='center left', bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def _panels(count: int, width: float):
    from matplotlib.figure import Figure  # here, since it takes its time

    figure = Figure(figsize=(width * count + 1.5, 5.2), dpi=90, layout='constrained')
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _save(figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, bbox_inches='tight')
