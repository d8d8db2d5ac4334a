"""The report of a study: its files, and the document with all that there is to say."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..engine.speed import machine
from ..io.files import atomic_path, write_json
from .plan import UNSEEN, Study
from .plots import plot_drift, plot_generalisation
from .tables import Spread, accuracy_table, as_json, cost_table, drift_table, summarise

_INTRODUCTION = """\
# Who generalises on the toy streets

Each method trains on one toy domain and is tested on seven that it has never seen: one backbone,
one head. `tools/study.py` made this page with all of its numbers{spread}.

- Backbone: a ViT of width 64 with 6 blocks, pretrained once by `tools/pretrain_toy.py`. Head:
  SemFPN.
- Training: {iterations} iterations of 4 crops of 256 x 256 on {images} images of the source, in
  one thread. The configs are `configs/toy/*_dinov2-toy_semfpn_gta2all_256x256.py`. A seed sets the
  weights of the head and of the adapter, and the order and augmentation of the images.
- Test: {held_out} images of each domain, and as many of the source that the training did not see
  (*source, held out*), which do not count in *mean of unseen*.
- Methods (docs/methods.md): {methods}
- Learning rates: {learning_rates}

## What this does not tell

- The foundation model is a toy. It has learned the same 19 classes from labels, on other scenes of
  the same generator in random styles. DINOv2 has learned from 142 million images without labels;
  what fine-tuning should keep of it is another thing.
- One program draws all domains. They differ in camera, light, paint and weather, and in nothing
  that it does not know.
- {iterations} iterations are a short training, with a high learning rate. Longer ones may change
  the order.
- Each domain has {held_out} test images, the same for all runs. The standard deviations are those
  of training, not of the choice of images, scenes or foundation model.
- Differences within one or two standard deviations mean nothing, and those of few seeds are rough
  themselves. One of many methods is the best by chance.
- None of this is about real data; `configs/` has the real settings.
"""
# What a name does not say of a method.
_METHODS = {
    'last2': '`last2` trains the last two blocks.',
    'soma': '`soma` is the only one whose weight decay is annealed, as its recipe has it. Of the '
    'adapters it and `svf` alone leave the first two blocks as they are.',
    'bitfit': '`bitfit` trains biases, and moves no matrix.',
    'rein': '`rein` changes the features between the blocks, and moves no matrix.',
    'full-pixmix': '`full-pixmix` and `full-bilateral` are `full` with other augmentation.',
    'revt': '`revt` averages the backbones of `full`, `full-pixmix` and `full-bilateral`, with the '
    'head of `full`.',
}
_LEARNING_RATES = """\
AdamW at 4e-3, one schedule for all. What trains in the backbone has a multiple of
  it (`lr_mult` in the method's config), the best of 0.15, 0.5 and 1.5, and beyond as long as the
  best was at the end: one run for each on a third source, the toy UrbanSyn, with seed 10 and 350
  iterations, judged by the mean over the same unseen domains. `full-pixmix` and
  `full-bilateral` have that of `full`. One run each is a rough choice, as rough for all."""
_DRIFT = """\
## Where the weights move to

*change* is the size of the change of all matrices of the backbone, relative to their own (Frobenius
norm, percent). The other columns say where its energy lies, in percent: between singular components
of the pretrained matrix in the larger half on both sides (*principal*), in the smaller half on both
sides (*minor*), or one in each (*between*); and *outside* of all components of a matrix that is not
square. In a square matrix a change without any direction has 25, 25 and 50. Layer by layer:
`tools/analyze_spectrum.py work_dirs/study/SOURCE/METHOD/seed0/work/iter_{iterations}.pth --against
{pretrained}`.
"""
_COSTS = """\
## Costs

Seconds and memory were measured on {cores} cores of {cpu}, perhaps with several runs side by side;
other machines will find others. The seconds are those of the iterations alone, of an average those
of its trainings. *To share* are all tensors that the pretrained file lacks or has with other
values.
"""


def write_report(study: Study, results: Sequence[Mapping], folder: Path) -> None:
    """Write ``summary.json``, ``accuracy.md`` and the document ``study.md`` with its images.

    Args:
        study: What was run.
        results: What there is of it; nothing is written where there is none.
        folder: Where to write.
    """
    if not results:
        return
    summary = summarise(study, results)
    write_json(as_json(summary), folder / 'summary.json')
    _write(folder / 'accuracy.md', _accuracy(study, summary))
    write_document(study, results, folder / 'study.md')


def write_document(study: Study, results: Sequence[Mapping], path: Path) -> None:
    """Write the document, and its images into a folder of its name beside it.

    Args:
        study: What was run.
        results: What there is of it.
        path: The Markdown file; not written where there is no result.
    """
    if not results:
        return
    summary = {source: rows for source, rows in summarise(study, results).items() if rows}
    images = path.with_suffix('')
    plot_generalisation(summary, images / 'generalisation.png')
    plot_drift(summary, images / 'drift.png')
    seeds = ', '.join(map(str, study.seeds))
    spread = f'. They are means over the seeds {seeds} ± their standard deviation (n - 1)'
    introduction = _INTRODUCTION.format(
        spread=spread if study.seeds[1:] else f', of seed {seeds}',
        methods=' '.join(text for name, text in _METHODS.items() if name in study.methods),
        iterations=study.iterations,
        images=study.images,
        held_out=study.held_out,
        learning_rates=_LEARNING_RATES,
    )
    parts = [
        introduction,
        _accuracy(study, summary),
        '\n'.join(conclusions(summary)),
        f'![mean of unseen domains against source]({images.name}/generalisation.png)',
        _DRIFT.format(iterations=study.iterations, pretrained=study.pretrained),
        *(f'{_title(source)}\n\n{drift_table(study, rows)}' for source, rows in summary.items()),
        f'![shares of the change]({images.name}/drift.png)',
        _COSTS.format(**machine()),
        *(f'{_title(source)}\n\n{cost_table(study, rows)}' for source, rows in summary.items()),
    ]
    _write(path, '\n\n'.join(part.strip() for part in parts))


def conclusions(summary: Mapping[str, Mapping]) -> list[str]:
    """Say what the numbers say: list items, for each source and for the order of the methods."""
    items = []
    for source, methods in summary.items():
        unseen = {name: row['mIoU']['unseen'] for name, row in methods.items()}
        best = max(unseen, key=lambda name: unseen[name].mean)
        text = f'- On the toy {source}, `{best}` has the highest mean, {unseen[best].text(1)}.'
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


def _accuracy(study: Study, summary: Mapping[str, Mapping]) -> str:
    tables = (
        f'{_title(source)}\n\n{accuracy_table(study, rows)}'
        for source, rows in summary.items()
        if rows
    )
    title = f'## mIoU in percent on {len(UNSEEN)} unseen domains'
    return '\n\n'.join([title, *tables])


def _title(source: str) -> str:
    return f'### Trained on the toy {source}'


def _names(names: Sequence[str]) -> str:
    return ', '.join(f'`{name}`' for name in names) or 'none'


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text + '\n')
