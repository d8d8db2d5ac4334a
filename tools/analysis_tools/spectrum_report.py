"""What ``analyze_spectrum.py`` shows of a checkpoint: tables, JSON and charts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.table import Table

from soma.checkpoints.analysis import Analysis
from soma.checkpoints.drift import Drift, Shares, total_drift
from soma.checkpoints.subspaces import Learned, mean_learned
from soma.io.files import atomic_path, write_json
from soma.utils.tables import panels, save_bars, save_figure

_ROWS = 48  # more layers are shown by the block
# The block of a layer: its name up to the first number and those that follow at once.
_BLOCK = re.compile(r'(.*?\.\d+(?:(?:\.blocks)?\.\d+)*)\.(.+)')


def spectra_table(analysis: Analysis) -> Table:
    """Make a table of the spectra: a row a matrix, or a block if there are many, and all."""
    table = Table(title=f'singular values of {analysis.path}')
    names = list(analysis.spectra)
    for column in (
        _title(names),
        'matrices',
        'norm',
        f'energy of the {analysis.rank} minor (%)',
        'effective rank',
        'of',
        'condition',
    ):
        table.add_column(column, justify='left' if not table.columns else 'right')
    for row, members in [*_rows(names).items(), ('all', names)]:
        if row == 'all':
            table.add_section()
        summaries = [analysis.spectra[name] for name in members]
        energy = sum(summary.energy for summary in summaries)
        minor = sum(summary.minor * summary.energy for summary in summaries) / (energy or 1)
        conditions = [summary.condition for summary in summaries]
        table.add_row(
            row,
            str(len(summaries)),
            f'{energy**0.5:.4g}',
            f'{100 * minor:.3g}',
            f'{np.mean([summary.effective_rank for summary in summaries]):.1f}',
            f'{np.mean([len(summary.values) for summary in summaries]):.4g}',
            'singular' if None in conditions else f'{max(conditions):.3g}',
        )
    table.caption = 'of several matrices: norm of all, mean effective rank, largest condition'
    return table


def drift_table(analysis: Analysis) -> Table:
    """Make a table of the drift: a row a matrix, or a block if there are many, and all."""
    table = Table(title=f'change from {analysis.against}, in percent')
    names = list(analysis.drift)
    columns = ('change', *Shares._fields, f'{analysis.rank} leading kept', 'trailing kept')
    for column in (_title(names), *columns):
        table.add_column(column, justify='left' if not table.columns else 'right')
    total = total_drift(analysis.drift.values())
    for row, members in _rows(names).items():
        table.add_row(row, *_cells(total_drift(analysis.drift[name] for name in members)))
    table.add_section()
    table.add_row('all', *_cells(total))
    if total.change:
        table.add_row('the same without a direction', '', *_percent(total.isotropic), '', '')
    table.caption = (
        'change: norm of it over norm of the base; then where its energy lies: principal or minor '
        'half of the components on both sides, one of each, or what no component reaches'
    )
    return table


def learned_table(analysis: Analysis) -> Table:
    """Make a table of what the change is made of: a row a matrix, or a block, and all."""
    table = Table(title=f'directions of the change from {analysis.against}')
    names = [name for name, drift in analysis.drift.items() if drift.learned]
    columns = ('effective rank', 'of', 'used (%)')
    columns += tuple(f'in the {analysis.rank} {part} (%)' for part in ('principal', 'minor'))
    for column in (_title(names), *columns, 'by chance (%)'):
        table.add_column(column, justify='left' if not table.columns else 'right')
    for row, members in [*_rows(names).items(), ('all', names)]:
        if row == 'all':
            table.add_section()
        each = mean_learned(analysis.drift[name].learned for name in members)
        ranks = (f'{each.effective_rank:.1f}', f'{each.rank:.4g}')
        shares = _percent((each.used, each.principal, each.minor, each.chance))
        table.add_row(row, *ranks, *shares)
    table.caption = (
        f'of: rank of the adapter, else of the change; in the {analysis.rank} ...: overlap of as '
        'many leading directions of the change with components of the base, mean of both sides'
    )
    return table


def save_analysis(analysis: Analysis, out: str | os.PathLike) -> list[Path]:
    """Write ``spectrum.json``, charts of the spectra and, if compared, of the change.

    Args:
        analysis: What to write.
        out: The folder; it is made if need be.

    Returns:
        The files.
    """
    out = Path(out)
    total = total_drift(analysis.drift.values()) if analysis.drift else None
    content = {
        'checkpoint': analysis.path,
        'against': analysis.against,
        'rank': analysis.rank,
        'spectra': {name: summary._asdict() for name, summary in analysis.spectra.items()},
        'drift': {name: _plain(drift) for name, drift in analysis.drift.items()},
        'total_drift': _plain(total) if total else None,
        'left_out': analysis.left_out,
    }
    write_json(content, out / 'spectrum.json')
    save_spectra_chart(out / 'spectrum.png', analysis)
    files = [out / 'spectrum.json', out / 'spectrum.png']
    if analysis.drift:
        save_drift_chart(out / 'drift.png', analysis)
        files.append(out / 'drift.png')
    if total and total.learned:
        save_learned_chart(out / 'learned.png', analysis)
        files.append(out / 'learned.png')
    return files


def save_spectra_chart(path: Path, analysis: Analysis) -> None:
    """Draw the singular values into a PNG file: a panel a kind of layer, a colour a depth."""
    from matplotlib import colormaps  # here, since it takes its time
    from matplotlib.figure import Figure

    blocks = list(dict.fromkeys(_split(name)[0] for name in analysis.spectra))
    kinds = list(dict.fromkeys(_split(name)[1] for name in analysis.spectra))
    columns = min(3, len(kinds))
    rows = -(-len(kinds) // columns)
    figure = Figure(figsize=(4.2 * columns, 3 * rows), dpi=110, layout='constrained')
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, kind in zip(panels, kinds, strict=False):
        axes.set_title(kind or 'others', fontsize='medium')
        axes.set_yscale('log')
        axes.grid(alpha=0.3)
        for name, summary in analysis.spectra.items():
            block, kind_of_layer = _split(name)
            if kind_of_layer == kind:
                colour = colormaps['viridis'](blocks.index(block) / max(1, len(blocks) - 1))
                values = np.array(summary.values)
                place = np.arange(1, len(values) + 1) / len(values)
                axes.plot(place, np.where(values > 0, values, np.nan), color=colour, linewidth=1)
    for axes in [*panels][len(kinds) :]:
        axes.remove()
    figure.suptitle(f'{Path(analysis.path).name}: dark is early, light is late', fontsize='medium')
    figure.supxlabel('share of the components', fontsize='small')
    figure.supylabel('singular value', fontsize='small')
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def save_drift_chart(path: Path, analysis: Analysis) -> None:
    """Draw how far layers, or blocks if there are many, have moved, and where to, as bars."""
    groups = _rows(list(analysis.drift))
    totals = [total_drift(analysis.drift[name] for name in names) for names in groups.values()]
    series = {
        part: [100 * drift.change * getattr(drift.shares, part) ** 0.5 for drift in totals]
        for part in Shares._fields
    }
    title = f'change from {Path(analysis.against).name}: norm of each of its parts'
    save_bars(path, series, list(groups), '% of the norm of the base', title)


def save_learned_chart(path: Path, analysis: Analysis) -> None:
    """Draw by depth, into a PNG file, how much of its rank a change uses, and where it lies."""
    blocks: dict[str, list[Learned]] = {}
    for name, drift in analysis.drift.items():
        if drift.learned:
            blocks.setdefault(_split(name)[0], []).append(drift.learned)
    depth = list(map(mean_learned, blocks.values()))
    parts = {
        f'in the {analysis.rank} principal components': [each.principal for each in depth],
        f'in the {analysis.rank} minor components': [each.minor for each in depth],
        'by chance': [each.chance for each in depth],
    }
    used = {'effective rank over rank': [each.used for each in depth]}
    figure, both = panels(2, (max(6, 0.25 * len(blocks)), 4))
    for axes, lines in zip(both, (used, parts), strict=True):
        for title, values in lines.items():
            style = dict(color='black', linestyle='--') if title == 'by chance' else {}
            axes.plot(np.multiply(100, values), marker='.', label=title, **style)
        axes.set_xticks(range(len(blocks)), list(blocks), rotation=45, ha='right')
        axes.set_ylim(bottom=0)
        axes.set_ylabel('%')
        axes.grid(alpha=0.3)
        axes.legend(fontsize='small')
    name = Path(analysis.against).name
    figure.suptitle(f'directions of the change from {name}, mean of a block', fontsize='medium')
    save_figure(figure, path)


def _split(name: str) -> tuple[str, str]:
    """Block and kind of a layer, ``('blocks.3', 'attn.q')``; one without a block has no kind."""
    match = _BLOCK.fullmatch(name)
    return (match[1], match[2]) if match else (name, '')


def _title(names: list[str]) -> str:
    return 'block' if len(names) > _ROWS else 'layer'


def _rows(names: list[str]) -> dict[str, list[str]]:
    """What the rows of a table show, by their title."""
    rows = {}
    for name in names:
        rows.setdefault(_split(name)[0] if len(names) > _ROWS else name, []).append(name)
    return rows


def _cells(drift: Drift) -> list[str]:
    shares = _percent(drift.shares) if drift.change else [''] * len(drift.shares)
    return [f'{100 * drift.change:.3g}', *shares, *_percent((drift.leading, drift.trailing))]


def _percent(values: Iterable[float]) -> list[str]:
    return [f'{100 * value:.1f}' for value in values]


def _plain(drift: Drift) -> dict:
    parts = {name: getattr(drift, name) for name in ('shares', 'isotropic', 'learned')}
    return {**drift._asdict(), **{name: part and part._asdict() for name, part in parts.items()}}
