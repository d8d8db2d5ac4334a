"""Means, standard deviations and differences over seeds, and their Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .plan import Comparison
from .statistics import Counts, Interval, Resampling, interval

CALIBRATION = ('ECE', 'NLL', 'Brier', 'AUROC', 'AUPR', 'FPR95')
SHARES = ('principal', 'minor', 'between', 'outside')
DRIFT = (*SHARES, 'effective_rank')


class Spread(NamedTuple):
    """A mean over seeds and the sample standard deviation, None of a single value."""

    mean: float
    std: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Mean and standard deviation of at least one value."""
        values = list(values)
        return cls(statistics.fmean(values), statistics.stdev(values) if values[1:] else None)

    def text(self, digits: int) -> str:
        """``mean ± std`` with so many digits after the point."""
        mean = f'{self.mean:.{digits}f}'
        return mean if self.std is None else f'{mean} ± {self.std:.{digits}f}'


def summarise(comparison: Comparison, results: Sequence[Mapping]) -> dict:
    """Average results over their seeds.

    Args:
        comparison: What was run.
        results: Contents of the files of results.

    Returns:
        By setting and method, in the comparison's order: ``seeds`` that are there, and ``Spread``
        by name in ``mIoU``, ``drift`` (in percent), ``trained`` (trainable), ``shared`` kB and
        ``cost`` and, of the unseen domains, ``calibration`` if it was tested; ``resampled`` has
        the scores of :class:`~.statistics.Resampling` by mean and seed. Methods without a result
        are left out.
    """
    resampling, summary = Resampling(), {}
    for setting in comparison.settings:
        summary[setting] = {}
        for method in comparison.methods:
            rows = [r for r in results if (r['source'], r['method']) == (setting, method)]
            if not rows:
                continue

            def spreads(key: str, factor: float = 1, rows: list = rows) -> dict[str, Spread]:
                names = rows[0][key]
                return {name: Spread.of(factor * row[key][name] for row in rows) for name in names}

            groups = comparison.recipe.settings[setting].groups
            means = [row['report']['mean'] for row in rows]
            summary[setting][method] = {
                'seeds': [row['seed'] for row in rows],
                'mIoU': spreads('mIoU'),
                'drift': _drift(rows),
                'trained': rows[0]['trained'],
                'shared': spreads('shared_bytes', 1e-3),
                'cost': spreads('cost'),
                'calibration': {
                    name: Spread.of(mean[name] for mean in means)
                    for name in CALIBRATION
                    if name in means[0]
                },
                'resampled': _resampled(rows, groups, resampling),
            }
    return summary


def _drift(rows: Sequence[Mapping]) -> dict[str, Spread]:
    """In percent, but for the rank."""
    return {
        name: Spread.of(
            (1 if name == 'effective_rank' else 100) * row['drift'][name] for row in rows
        )
        for name in rows[0]['drift']
    }


def _resampled(
    rows: Sequence[Mapping], groups: Mapping[str, Sequence[str]], resampling: Resampling
) -> dict[str, dict[int, np.ndarray]]:
    """Scores of resampled images: by mean, then by seed."""
    resampled = {name: {} for name in ('unseen', *groups)}
    for row in rows:
        report = row['report']
        for name, members in {'unseen': report['mean_over'], **groups}.items():
            domains = [Counts.of(report['domains'][member]['per_image']) for member in members]
            resampled[name][row['seed']] = resampling.scores(domains)
    return resampled


def difference(one: Mapping, other: Mapping, mean: str = 'unseen') -> Interval | None:
    """How much higher a method scores than another, on the same images, seed by seed.

    Args:
        one: Of :func:`summarise`.
        other: The same.
        mean: Which of the means.

    Returns:
        The interval over the seeds that both have; None if they have none.
    """
    scores = [row['resampled'][mean] for row in (one, other)]
    seeds = [seed for seed in scores[0] if seed in scores[1]]
    return interval([scores[0][seed] - scores[1][seed] for seed in seeds]) if seeds else None


def unseen_domains(scores: Mapping) -> list[str]:
    """The domains among the keys of a result's scores that the training did not see."""
    return [name for name in scores if name not in ('unseen', 'source')]


def as_json(summary: Mapping) -> dict:
    """A summary as plain data with four digits after the point, without what was resampled."""

    def plain(node):
        if isinstance(node, Spread):
            digits = {name: value and round(value, 4) for name, value in node._asdict().items()}
            return digits
        if isinstance(node, Mapping):
            return {k: plain(v) for k, v in node.items() if k != 'resampled'}
        return node

    return plain(summary)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its first column left-aligned and the others right-aligned."""
    lines = [header, ['---', *['---:'] * (len(header) - 1)], *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def accuracy_table(comparison: Comparison, methods: Mapping[str, Mapping]) -> str:
    """The table of a setting: a row a method, a column a domain, the best of a column in bold."""
    scored = next(iter(methods.values()))['mIoU']
    domains = unseen_domains(scored)
    titles = {'unseen': 'mean of unseen', 'source': 'source, held out'}
    keys = [*domains, *(key for key in titles if key in scored)]
    best = {key: max(round(row['mIoU'][key].mean, 1) for row in methods.values()) for key in keys}
    rows = []
    for name, row in methods.items():
        cells = []
        for key in keys:
            spread = row['mIoU'][key]
            text = spread.text(1)
            cells.append(f'**{text}**' if round(spread.mean, 1) == best[key] else text)
        rows.append([_label(comparison, name, row), *cells])
    return markdown(['method', *(titles.get(key, key) for key in keys)], rows)


def difference_table(comparison: Comparison, methods: Mapping[str, Mapping]) -> str:
    """How much higher each method scores than the baselines, with intervals of 95 %."""
    means = [*next(iter(methods.values()))['resampled']]
    pairs = [(b, m) for m in means for b in comparison.recipe.baselines if b in methods]
    rows = []
    for name, row in methods.items():
        cells = [
            '' if baseline == name or not (found := difference(row, methods[baseline], mean))
            else found.text()
            for baseline, mean in pairs
        ]  # fmt: skip
        rows.append([_label(comparison, name, row), *cells])
    return markdown(['method', *(f'{mean}, against {name}' for name, mean in pairs)], rows)


def calibration_table(comparison: Comparison, methods: Mapping[str, Mapping]) -> str:
    """How well confidence is calibrated on unseen domains, and how well it finds errors."""
    rows = [
        [_label(comparison, name, row)]
        + [spread.text(3 if key == 'NLL' else 1) for key, spread in row['calibration'].items()]
        for name, row in methods.items()
    ]
    return markdown(['method', *next(iter(methods.values()))['calibration']], rows)


def drift_table(comparison: Comparison, methods: Mapping[str, Mapping]) -> str:
    """How far the backbone's matrices have moved from the pretrained ones, in percent."""
    rows = [
        [_label(comparison, name, row), row['drift']['change'].text(2)]
        + ['-' if not row['drift']['change'].mean else row['drift'][key].text(1) for key in DRIFT]
        for name, row in methods.items()
    ]
    return markdown(['method', 'change', *SHARES, 'effective rank'], rows)


def cost_table(comparison: Comparison, methods: Mapping[str, Mapping]) -> str:
    """Parameters and sizes, and the seconds and memory that this machine measured."""
    header = [
        'method',
        'trainable in the backbone',
        'trainable outside',
        'backbone to share, kB',
        'all to share, kB',
        'training, s',
        'peak memory, MB',
    ]
    rows = []
    for name, row in methods.items():
        shared = row['shared']
        rows.append(
            [
                _label(comparison, name, row),
                f'{row["trained"]["backbone"]:,}',
                f'{row["trained"]["head"]:,}',
                f'{shared["backbone"].mean:,.0f}',
                f'{shared["backbone"].mean + shared["head"].mean:,.0f}',
                row['cost']['train_seconds'].text(0),
                row['cost']['peak_mb'].text(0),
            ]
        )
    return markdown(header, rows)


def _label(comparison: Comparison, method: str, row: Mapping) -> str:
    done, all_seeds = len(row['seeds']), len(comparison.seeds)
    return method if done == all_seeds else f'{method} ({done} of {all_seeds} seeds)'
