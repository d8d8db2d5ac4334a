"""The report of a comparison: its files, and the document with all that there is to say."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config

from soma.io.checkpoint_files import pretrained_file
from soma.io.files import atomic_path, write_json
from soma.utils.machine import machine

from .plan import Comparison
from .plots import plot_drift, plot_generalisation
from .tables import (
    Spread,
    accuracy_table,
    as_json,
    cost_table,
    drift_table,
    summarise,
    unseen_domains,
)

_DRIFT = """\
## Where the weights move to

*change* is the size of the change of all matrices of the backbone, relative to their own (Frobenius
norm, percent). The other columns say where its energy lies, in percent: between singular components
of the pretrained matrix in the larger half on both sides (*principal*), in the smaller half on both
sides (*minor*), or one in each (*between*); and *outside* of all components of a matrix that is not
square. In a square matrix a change without any direction has 25, 25 and 50. Layer by layer:
`tools/analyze_spectrum.py WORK_DIR/SETTING/METHOD/seed{seed}/work/iter_{iterations}.pth --against
{pretrained}`.
"""
_COSTS = """\
## Costs

Seconds and memory were measured on {cores} cores of {cpu}, perhaps with several runs side by side;
other machines will find others. The seconds are those of the iterations alone, of an average those
of its trainings. *To share* are all tensors that the pretrained file lacks or has with other
values.
"""


def write_report(comparison: Comparison, results: Sequence[Mapping], folder: Path) -> None:
    """Write ``summary.json``, ``accuracy.md`` and the document ``study.md`` with its images.

    Args:
        comparison: What was run.
        results: What there is of it; nothing is written where there is none.
        folder: Where to write.
    """
    if not results:
        return
    summary = summarise(comparison, results)
    write_json(as_json(summary), folder / 'summary.json')
    _write(folder / 'accuracy.md', _accuracy(comparison, summary))
    write_document(comparison, results, folder / 'study.md')


def write_document(comparison: Comparison, results: Sequence[Mapping], path: Path) -> None:
    """Write the document, and its images into a folder of its name beside it.

    Args:
        comparison: What was run; its configs are written.
        results: What there is of it.
        path: The Markdown file; not written where there is no result.
    """
    if not results:
        return
    recipe = comparison.recipe
    titles = {name: setting.title for name, setting in recipe.settings.items()}
    summary = {name: rows for name, rows in summarise(comparison, results).items() if rows}
    images = path.with_suffix('')
    tested = all('source' in result['mIoU'] for result in results)
    if tested:
        plot_generalisation(summary, titles, images / 'generalisation.png')
    plot_drift(summary, titles, images / 'drift.png')
    config = Config.fromfile(comparison.config_file(comparison.runs[0]))
    words = dict(
        spread=_spread(comparison.seeds),
        methods=' '.join(filter(None, (recipe.methods[name].note for name in comparison.methods))),
        iterations=config.train_cfg.max_iters,
        pretrained=pretrained_file(config.model.backbone.init_cfg),
        seed=comparison.seeds[0],
    )

    def per_setting(table: Callable) -> list[str]:
        return [
            f'### Trained on {titles[name]}\n\n{table(comparison, rows)}'
            for name, rows in summary.items()
        ]

    parts = [
        recipe.introduction.format(**words),
        _accuracy(comparison, summary),
        '\n'.join(conclusions(summary, titles)),
        f'![mean of unseen domains against source]({images.name}/generalisation.png)'
        if tested
        else '',
        _DRIFT.format(**words),
        *per_setting(drift_table),
        f'![shares of the change]({images.name}/drift.png)',
        _COSTS.format(**machine()),
        *per_setting(cost_table),
    ]
    _write(path, '\n\n'.join(part.strip() for part in parts if part))


def conclusions(summary: Mapping[str, Mapping], titles: Mapping[str, str]) -> list[str]:
    """Say what the numbers say: list items, for each setting and for the order of the methods."""
    items = []
    for setting, methods in summary.items():
        unseen = {name: row['mIoU']['unseen'] for name, row in methods.items()}
        best = max(unseen, key=lambda name: unseen[name].mean)
        text = f'- On {titles[setting]}, `{best}` has the highest mean, {unseen[best].text(1)}.'
        others = {name: spread for name, spread in unseen.items() if name != best}
        if unseen[best].std is None:
            text += ' With one seed no difference means anything.'
        else:
            close = [name for name, spread in others.items() if not differ(spread, unseen[best])]
            text += f" Within two standard deviations of two runs' difference: {_names(close)}."
        items.append(text)
        frozen = unseen.get('frozen')
        if frozen and frozen.std is not None:
            apart = {n: s.mean > frozen.mean for n, s in unseen.items() if differ(s, frozen)}
            above, below = ([n for n in apart if apart[n] is side] for side in (True, False))
            items.append(
                f'- Against the frozen backbone ({frozen.text(1)}) by more than that: higher '
                f'{_names(above)}; lower {_names(below)}.'
            )
    for one, two in itertools.combinations(summary, 2):
        common = [name for name in summary[one] if name in summary[two]]
        if len(common) > 2:
            ranks = [
                np.argsort(np.argsort([summary[s][n]['mIoU']['unseen'].mean for n in common]))
                for s in (one, two)
            ]
            rho = np.corrcoef(ranks)[0, 1]
            items.append(
                f'- Rank correlation of the methods between {one} and {two}: {rho:.2f} (Spearman; '
                '1: the same order).'
            )
    return items


def differ(one: Spread, two: Spread) -> bool:
    """Whether two means are further apart than two standard deviations of two runs' difference."""
    return abs(one.mean - two.mean) > 2 * math.hypot(one.std or 0, two.std or 0)


def _accuracy(comparison: Comparison, summary: Mapping[str, Mapping]) -> str:
    settings = comparison.recipe.settings
    tables = {name: rows for name, rows in summary.items() if rows}
    methods = next(iter(tables.values()))
    count = len(unseen_domains(next(iter(methods.values()))['mIoU']))
    return '\n\n'.join(
        [
            f'## mIoU in percent on {count} unseen domains',
            *(
                f'### Trained on {settings[name].title}\n\n{accuracy_table(comparison, rows)}'
                for name, rows in tables.items()
            ),
        ]
    )


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
