"""The report of a comparison: its files, and the document with all that there is to say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from scipy import stats

from soma.io.checkpoint_files import pretrained_file
from soma.io.files import atomic_path, write_json
from soma.utils.machine import machine

from .plan import Comparison
from .plots import plot_differences, plot_drift, plot_generalisation
from .tables import (
    accuracy_table,
    as_json,
    calibration_table,
    cost_table,
    difference,
    difference_table,
    drift_table,
    markdown,
    summarise,
)

_CLAIMS = """\
## Claims

*seen*: all of the interval of the difference on unseen domains is above zero; *the opposite is
seen*: all of it is below; else it *cannot be told* at this size. The verdicts are not corrected for
their number: of twenty that are not so, about one is *seen* or its opposite.
"""
_DIFFERENCES = """\
## Differences

How much higher than the baseline, in points of mIoU, with intervals of 95 % over seeds and images:
pairs of runs of one seed, on the same images. The images are drawn again 2,000 times, in blocks of
neighbours in a drive; the errors of seeds and of images add up, by Student's t with as many degrees
of freedom as the few seeds and blocks have. Where images are alike for longer than a block, the
intervals are too short. At best one in twenty misses the truth, and there are many here. They say
nothing of other drives, cities or backbones.
"""
_CALIBRATION = """\
## Confidence on unseen domains

ECE, Brier, AUROC, AUPR and FPR95 in percent, NLL in nats (`DomainIoUMetric(calibration=True)`): how
well the probability of the predicted class says how often it is right (ECE, NLL, Brier: the lower
the better), and how well it finds the wrong pixels (AUROC, AUPR: the higher, FPR95: the lower).
"""
_DRIFT = """\
## Where the weights move to

*change* is the size of the change of all matrices of the backbone, relative to their own (Frobenius
norm, percent). The other columns say where its energy lies, in percent: between singular components
of the pretrained matrix in the larger half on both sides (*principal*), in the smaller half on both
sides (*minor*), or one in each (*between*); and *outside* of all components of a matrix that is not
square. In a square matrix a change without any direction has 25, 25 and 50. *effective rank* is
exp(H) of the entropy H of the singular values of the change, the mean over matrices. Layer by
layer: `tools/analyze_spectrum.py WORK_DIR/SETTING/METHOD/seed{seed}/work/iter_{iterations}.pth
--against {pretrained}`.
"""
_COSTS = """\
## Costs

Seconds and memory were measured on {cores} cores of {cpu}, perhaps with several runs side by side;
other machines will find others. The seconds are those of the iterations alone, of an average those
of its trainings. *To share* are all tensors that the pretrained file lacks or has with other
values.
"""


def write_report(comparison: Comparison, results: Sequence[Mapping], *copies: Path) -> None:
    """Write the document with its images, and ``<recipe>.json``, into the work dir.

    Args:
        comparison: What was run; its configs are written.
        results: What there is of it; nothing is written where there is none.
        *copies: Markdown files that the document is written to as well.
    """
    if not results:
        return
    summary, document = summarise(comparison, results), comparison.document
    write_json(as_json(summary), document.with_suffix('.json'))
    for path in (document, *copies):
        _write_document(comparison, summary, path)


def _write_document(comparison: Comparison, summary: Mapping, path: Path) -> None:
    recipe, images = comparison.recipe, path.with_suffix('')
    titles = {name: setting.title for name, setting in recipe.settings.items()}
    summary = {name: rows for name, rows in summary.items() if rows}
    methods = [row for rows in summary.values() for row in rows.values()]
    config = Config.fromfile(comparison.config_file(comparison.runs[0]))
    words = dict(
        spread=_spread(comparison.seeds),
        methods=' '.join(filter(None, (recipe.methods[name].note for name in comparison.methods))),
        iterations=config.train_cfg.max_iters,
        pretrained=Path(pretrained_file(config.model.backbone.init_cfg)).name,
        seed=comparison.seeds[0],
    )

    def tables(table: Callable) -> list[str]:
        return [
            f'### Trained on {titles[name]}\n\n{table(comparison, rows)}'
            for name, rows in summary.items()
        ]

    def image(name: str, text: str, plot: Callable, *options: str, shown: Mapping = summary) -> str:
        plot(shown, titles, *options, images / f'{name}.png')
        return f'![{text}]({images.name}/{name}.png)'

    baselines = [
        name for name in recipe.baselines if all(name in rows for rows in summary.values())
    ]
    parts = [recipe.introduction.format(**words)]
    if recipe.claims:
        parts += [_CLAIMS, *tables(claims_table)]
    parts += [
        '## mIoU in percent',
        *tables(accuracy_table),
        '\n'.join(conclusions(summary, titles, baselines)),
    ]
    tested = {n: r for n, r in summary.items() if all('source' in m['mIoU'] for m in r.values())}
    if tested:
        text = 'mean of unseen domains against source'
        parts.append(image('generalisation', text, plot_generalisation, shown=tested))
    if baselines:
        parts += [_DIFFERENCES, *tables(difference_table)]
        text = f'differences from {baselines[0]}'
        parts.append(image('differences', text, plot_differences, baselines[0]))
    if all(row['calibration'] for row in methods):
        parts += [_CALIBRATION, *tables(calibration_table)]
    parts += [_DRIFT.format(**words), *tables(drift_table)]
    parts.append(image('drift', 'shares of the change', plot_drift))
    parts += [_COSTS.format(**machine()), *tables(cost_table)]
    _write(path, '\n\n'.join(part.strip() for part in parts))


def conclusions(
    summary: Mapping[str, Mapping], titles: Mapping[str, str], baselines: Sequence[str]
) -> list[str]:
    """Say what the intervals say: list items, for each setting and for the order of the methods."""
    items = []
    for setting, methods in summary.items():
        unseen = {name: row['mIoU']['unseen'] for name, row in methods.items()}
        best = max(unseen, key=lambda name: unseen[name].mean)
        text = f'- On {titles[setting]}, `{best}` has the highest mean, {unseen[best].text(1)}.'
        if unseen[best].std is None:
            items.append(f'{text} With one seed no difference means anything.')
            continue
        items.append(f'{text} One of many is the best by chance.')
        for baseline in (name for name in baselines if name in methods):
            signs = _signs(methods, baseline)
            above, below = ([n for n in signs if signs[n] == side] for side in (1, -1))
            items.append(
                f'- Against `{baseline}` ({unseen[baseline].text(1)}), all of the interval '
                f'higher: {_names(above)}; lower: {_names(below)}.'
            )
    for one, two in itertools.combinations(summary, 2):
        common = [name for name in summary[one] if name in summary[two]]
        if len(common) > 2:
            means = (
                [summary[setting][name]['mIoU']['unseen'].mean for name in common]
                for setting in (one, two)
            )
            rho = stats.spearmanr(*means).statistic
            items.append(
                f'- Rank correlation of the methods between {one} and {two}: {rho:.2f} (Spearman; '
                '1: the same order).'
            )
    return items


def claims_table(comparison: Comparison, methods: Mapping[str, Mapping]) -> str:
    """What is claimed, how much higher the one method scores than the other, and what follows."""
    rows = []
    for claim in comparison.recipe.claims:
        pair = [methods.get(claim[key]) for key in ('method', 'against')]
        found = [
            difference(*pair, mean) if all(pair) else None
            for mean in next(iter(methods.values()))['resampled']
        ]
        cells = [each.text() if each else 'not run' for each in found]
        verdicts = {1: 'seen', 0: 'cannot be told', -1: 'the opposite is seen'}
        verdict = verdicts[found[0].sign] if found[0] and found[0].low is not None else '-'
        names = f'`{claim["method"]}` - `{claim["against"]}`'
        rows.append([f'{claim["claim"]} ({claim.get("source", "ours")})', names, *cells, verdict])
    means = next(iter(methods.values()))['resampled']
    return markdown(['claim', 'difference', *means, 'on unseen domains'], rows)


def _signs(methods: Mapping[str, Mapping], other: str) -> dict[str, int]:
    """Of each other method that shares a seed, the sign of its difference from one."""
    found = {n: difference(row, methods[other]) for n, row in methods.items() if n != other}
    return {name: each.sign for name, each in found.items() if each}


def _spread(seeds: Sequence[int]) -> str:
    numbers = ', '.join(map(str, seeds))
    if not seeds[1:]:
        return f', of seed {numbers}'
    return f'. They are means over the seeds {numbers} ± their standard deviation (n - 1)'


def _names(names: Sequence[str]) -> str:
    return ', '.join(f'`{name}`' for name in names) or 'none'


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text + '\n')
