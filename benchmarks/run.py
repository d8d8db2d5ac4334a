"""Run the CPU benchmarks, and write their tables and plots into docs/benchmarks.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from soma.io.files import atomic_path, write_json
from soma.utils.config import REPOSITORY
from soma.utils.machine import machine
from soma.utils.progress import track

DOCUMENT = REPOSITORY / 'docs' / 'benchmarks.md'
FOLDER = REPOSITORY / 'docs' / 'benchmarks'
BEGIN, END = '<!-- measured: begin -->', '<!-- measured: end -->'
TITLES = {
    'linear': 'Linear layers of a block, forward and backward',
    'svd_split': 'SVD split',
    'updates': 'Optimizer and average of ViT-L with Mask2Former',
    'sliding_windows': 'Sliding windows',
    'attention': 'Deformable attention',
    'training_step': 'Whole training step with Mask2Former',
    'memory': 'Options that save memory',
}
Rows = dict[str, list[dict]]


class Goal(NamedTuple):
    """What a benchmark should show.

    Attributes:
        text: The goal in words.
        measured: From all rows to the number that counts, the worst of its kind.
        reached: Whether a number is good enough.
    """

    text: str
    measured: Callable[[Rows], float]
    reached: Callable[[float], bool]


def _worst(name: str, key: str, choose: Callable[[Iterable], float], **which) -> Callable:
    """The worst value of a key in the rows where others have the given values."""

    def measured(rows: Rows) -> float:
        chosen = [r for r in rows[name] if all(r.get(k) == v for k, v in which.items())]
        return choose(float(row[key]) for row in chosen if row[key] != '')

    return measured


def _many_tokens(rows: Rows) -> float:
    usual = [r for r in rows['linear'] if r['precision'] == 'float32' and r['rank'] == 16]
    return max(r['soma_to_frozen'] for r in usual if r['batch'] * r['tokens'] >= 1000)


GOALS = [
    Goal('SoMA layer / frozen layer, from 1,000 tokens: at most 1.15', _many_tokens, (1.15).__ge__),
    Goal(
        'SoMA layer / plain low-rank path, float32, rank 16: below 1',
        _worst('linear', 'soma_to_two_path', max, precision='float32', rank=16),
        (1.0).__gt__,
    ),
    Goal(
        'SoMA layer / plain low-rank path, everywhere: below 1',
        _worst('linear', 'soma_to_two_path', max),
        (1.0).__gt__,
    ),
    Goal(
        'memory kept, SoMA / plain low-rank path: at most 1',
        _worst('linear', 'kept_to_two_path', max),
        (1.0).__ge__,
    ),
    Goal(
        'split / float32 SVD one by one, speed: at least 4',
        _worst('svd_split', 'speed', min, way='split'),
        (4.0).__le__,
    ),
    Goal(
        'split, relative error of the minor part: below 1e-6',
        _worst('svd_split', 'error', max, way='split'),
        (1e-6).__gt__,
    ),
    Goal(
        'split of 96 matrices, second start in seconds: below 2',
        _worst('svd_split', 'seconds', max, way='split, second start: from the file'),
        (2.0).__gt__,
    ),
    Goal(
        'optimizer step / moving its bytes: at most 1.3',
        _worst('updates', 'to_moving_its_bytes', max),
        (1.3).__ge__,
    ),
    Goal(
        'update of the average, speed: at least 5',
        _worst('updates', 'speed', min, what='average of the weights'),
        (5.0).__le__,
    ),
    Goal(
        'memory of the average, saved: at least 5 times',
        _worst('updates', 'memory_ratio', min, what='average of the weights'),
        (5.0).__le__,
    ),
    Goal(
        'sliding windows in the default batch, speed: at least 1',
        _worst('sliding_windows', 'speed', min, way='batch_windows=4'),
        (1.0).__le__,
    ),
    Goal(
        'deformable attention, largest difference: at most 1e-5',
        _worst('attention', 'largest_difference', max),
        (1e-5).__ge__,
    ),
    *(
        Goal(
            f'training step of ViT-{arch}, speed: at least 1.5',
            _worst('training_step', 'speed', min, arch=arch, image=512, adapted_from=start),
            (1.5).__le__,
        )
        for arch, start in (('B', 4), ('L', 8))
    ),
    Goal(
        'deformable attention, forward, speed: above 1',
        _worst('attention', 'forward_speed', min),
        (1.0).__lt__,
    ),
    Goal(
        'deformable attention, forward and backward, speed: above 1',
        _worst('attention', 'forward_backward_speed', min),
        (1.0).__lt__,
    ),
]


def run_all() -> Rows:
    """Run each benchmark in a process of its own."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in track(TITLES, len(TITLES), 'benchmarks'):
            out = Path(folder) / f'{name}.json'
            script = REPOSITORY / 'benchmarks' / f'{name}.py'
            subprocess.run([sys.executable, str(script), '--json', str(out)], check=True)
            rows[name] = json.loads(out.read_text())['rows']
    return rows


def draw(
    path: Path, lines: dict[str, list[tuple[float, float]]], across: str, up: str, title: str
) -> None:
    """Draw how a cost grows, into a PNG file.

    Args:
        path: The file.
        lines: Points of each line by its name.
        across: What grows.
        up: What it costs.
        title: Stands above.
    """
    figure = Figure(figsize=(5.5, 3.6), dpi=100)
    axes = figure.add_subplot()
    for name, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker='o', label=name)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_title(title, fontsize='medium')
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize='small')
    with atomic_path(path) as temporary:
        figure.savefig(temporary, bbox_inches='tight')


def draw_all(rows: Rows) -> list[str]:
    """Draw all plots; their names."""
    linear = [r for r in rows['linear'] if r['precision'] == 'float32']
    ways = {'SoMA': 'soma_to_frozen', 'plain low-rank path': 'two_path_to_frozen'}
    single = [r for r in linear if r['batch'] == 1 and r['rank'] == 16 and r['arch'] == 'L']
    ranked = [r for r in linear if (r['arch'], r['batch'], r['tokens']) == ('B', 1, 1024)]
    steps = rows['training_step']
    usual = {r['arch']: r['adapted_from'] for r in steps[:2]}
    sized = [r for r in steps if r['arch'] == 'B' and r['adapted_from'] == usual['B']]
    blocks = [
        {**r, 'adapted': 12 - r['adapted_from']}
        for r in steps
        if r['arch'] == 'B' and r['image'] == 512
    ]
    both = {'ours': 'ours_s', 'plain way': 'plain_s'}
    plots = {
        'tokens': (single, ways, 'tokens', 'time / frozen layers', 'ViT-L, rank 16'),
        'rank': (ranked, ways, 'rank', 'time / frozen layers', 'ViT-B, 1,024 tokens'),
        'image': (sized, both, 'image', 'seconds a training step', 'ViT-B, Mask2Former'),
        'blocks': (blocks, both, 'adapted', 'seconds a training step', 'ViT-B, 512 x 512'),
    }
    names = {'image': 'side of the image in pixels', 'adapted': 'adapted blocks'}
    for name, (chosen, keys, across, up, title) in plots.items():
        lines = {way: [(r[across], r[key]) for r in chosen] for way, key in keys.items()}
        draw(FOLDER / f'{name}.png', lines, names.get(across, across), up, title)
    return list(plots)


def markdown(header: Iterable[str], rows: Iterable[Iterable]) -> str:
    """A table."""
    lines = [list(header), ['---'] * len(list(header)), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines)


def write(rows: Rows, minutes: float) -> None:
    """Put goals, plots and tables between the marks in the document."""
    facts = machine()
    goals = []
    for goal in GOALS:
        value = goal.measured(rows)
        goals.append((goal.text, f'{value:.3g}', 'yes' if goal.reached(value) else 'no'))
    images = ' '.join(f'![{name}](benchmarks/{name}.png)' for name in draw_all(rows))
    parts = [
        BEGIN,
        f'{", ".join(f"{k}: {v}" for k, v in facts.items() if v)}; {minutes:.0f} minutes for all.',
        markdown(('goal', 'measured', 'reached'), goals),
        images,
    ]
    for name, title in TITLES.items():
        keys = list(rows[name][0])
        table = markdown(keys, ([row.get(key, '') for key in keys] for row in rows[name]))
        parts.append(f'### {title} (`benchmarks/{name}.py`)\n\n{table}')
    text = DOCUMENT.read_text()
    middle = '\n\n'.join([*parts, END])
    text, count = re.subn(f'{BEGIN}.*{END}', lambda _: middle, text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f'{DOCUMENT} has no place for results: {BEGIN} ... {END}')
    with atomic_path(DOCUMENT) as temporary:
        temporary.write_text(text)
    write_json({'environment': facts, **rows}, FOLDER / 'results.json')
    table = Table('goal', 'measured', 'reached')
    for goal in goals:
        table.add_row(*goal)
    Console().print(table)


def main() -> None:
    """Measure, write."""
    start = time.monotonic()
    rows = run_all()
    write(rows, (time.monotonic() - start) / 60)
    print(f'{DOCUMENT}, {FOLDER}')


if __name__ == '__main__':
    main()
