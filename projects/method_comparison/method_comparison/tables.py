"""Means, standard deviations and differences over seeds, and their Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .plan import Comparison
from .statistics import Counts, Interval, Resampling, freedom_of, interval

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
        by name in ``mIoU`` (groups of domains in the place of their members), ``drift`` (in
        percent, but for the rank), ``trained`` (trainable), ``shared`` kB, ``cost``, and, of the
        unseen domains, ``calibration`` as far as it was tested. ``resampled`` has the scores of
        :class:`~.statistics.Resampling` by mean and seed, ``freedom`` those of the images. Methods
        without a result are left out.
    """
    resampling, summary = Resampling(), {}
    for setting in comparison.settings:
        groups = comparison.recipe.settings[setting].groups
        summary[setting] = {}
        for method in comparison.methods:
            rows = [r for r in results if (r['source'], r['method']) == (setting, method)]
            if rows:
                summary[setting][method] = _summarise_runs(rows, groups, resampling)
    return summary


def _summarise_runs(
    rows: Sequence[Mapping], groups: Mapping[str, Sequence[str]], resampling: Resampling
) -> dict:
    def spreads(values: Sequence[Mapping], factor: float = 1) -> dict[str, Spread]:
        return {name: Spread.of(factor * value[name] for value in values) for name in values[0]}

    resampled = {name: {} for name in ('unseen', *groups)}
    freedom = {}
    for row in rows:
        report = row['report']
        for name, members in {'unseen': report['mean_over'], **groups}.items():
            domains = [Counts.of(report['domains'][member]['per_image']) for member in members]
            resampled[name][row['seed']] = resampling.scores(domains)
            freedom[name] = freedom_of(domains)
    means = [row['report']['mean'] for row in rows]
    known = [key for key in CALIBRATION if all(mean.get(key) is not None for mean in means)]
    drift = spreads([row['drift'] for row in rows], 100)
    rank = {'effective_rank': Spread.of(row['drift']['effective_rank'] for row in rows)}
    return {
        'seeds': [row['seed'] for row in rows],
        'mIoU': spreads([_with_groups(row['mIoU'], groups) for row in rows]),
        'drift': {**drift, **rank},
        'trained': rows[0]['trained'],
        'shared': spreads([row['shared_bytes'] for row in rows], 1e-3),
        'cost': spreads([row['cost'] for row in rows]),
        'calibration': {key: Spread.of(mean[key] for mean in means) for key in known},
        'resampled': resampled,
        'freedom': freedom,
    }


def _with_groups(scores: Mapping[str, float], groups: Mapping[str, Sequence[str]]) -> dict:
    """Means of groups in the place of their members."""
    grouped = {member for members in groups.values() for member in members}
    alone = {name: score for name, score in scores.items() if name not in grouped}
    return alone | {
        name: statistics.fmean(scores[member] for member in members)
        for name, members in groups.items()
    }


def difference(one: Mapping, other: Mapping, mean: str = 'unseen') -> Interval | None:
    """How much higher a method scores than another, on the same images, seed by seed.

    Args:
        one: Of :func:`summarise`.
        other: The same.
        mean: Which of the means.

    Returns:
        The interval over the seeds that both have; None if they have none.
    """
    first, second = (row['resampled'][mean] for row in (one, other))
    pairs = [first[seed] - second[seed] for seed in first if seed in second]
    return interval(pairs, one['freedom'][mean]) if pairs else None


def unseen_domains(scores: Mapping) -> list[str]:
    """The domains among the keys of a result's scores that the training did not see."""
    return [name for name in scores if name not in ('unseen', 'source')]


def as_json(summary: Mapping) -> dict:
    """A summary as plain data with four digits after the point, without what was resampled."""

    def plain(node):
        if isinstance(node, Spread):
            return {name: value and round(value, 4) for name, value in node._asdict().items()}
        if isinstance(node, Mapping):
            return {k: plain(v) for k, v in node.items() if k not in ('resampled', 'freedom')}
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

    def cell(name: str, baseline: str, mean: str) -> str:
        found = difference(methods[name], methods[baseline], mean)
        return found.text() if found and name != baseline else ''

    rows = [
        [_label(comparison, name, row), *(cell(name, *pair) for pair in pairs)]
        for name, row in methods.items()
    ]
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
