"""The demo: SoMA, a frozen and a fully fine-tuned backbone, from toy GTA to unseen toy domains.

Every step is one of the scripts in ``tools/``, with the commands that a real run takes.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mmcv
import numpy as np
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn
from rich.table import Table

from .config import REPOSITORY, load_config
from .files import atomic_path, write_json
from .inference import Inferencer, colour_overlay, side_by_side, stack_rows

METHODS = ('soma', 'frozen', 'full')
_PRETRAINED = 'checkpoints/dinov2_toy14_pretrain.pth'
_CONVERTED = 'checkpoints/dinov2_toy_converted.pth'
_PANEL_DOMAINS = ('citys', 'fog', 'night', 'snow')


@dataclass(frozen=True)
class Step:
    """One script of the demo.

    Attributes:
        title: What it does.
        minutes: How long it takes on two cores.
        command: Script below ``tools/`` and its arguments.
        product: A file that shows that the step was done; None to run it always.
    """

    title: str
    minutes: float
    command: Sequence[str]
    product: str | None = None


def preparation() -> list[Step]:
    """The steps before training: data, conversion, pretraining."""
    nproc = str(min(4, len(os.sched_getaffinity(0))))
    streets = ('make_toy_streets.py', 'data/toy', '--images', '300', '--val-images', '12')
    return [
        Step(
            'Make toy streets: GTA to train on, seven other domains to test on',
            0.4,
            (*streets, '--sources', 'gta', '--nproc', nproc),
        ),
        *(
            Step(
                f'Convert the labels of {name} to train ids',
                0.1,
                (f'convert_datasets/{name}.py', f'data/toy/{name}', '--nproc', nproc),
            )
            for name in ('gta', 'cityscapes', 'mapillary')
        ),
        Step(
            'Pretrain a toy foundation model on other scenes, in random styles',
            2.5,
            ('pretrain_toy.py', _PRETRAINED, '--nproc', nproc),
            _PRETRAINED,
        ),
        Step(
            'Convert it to patches of 16 pixels and pictures of 256 x 256',
            0.1,
            (
                *('convert_models/convert_dinov2.py', _PRETRAINED, _CONVERTED),
                *('--height', '256', '--width', '256', '--patch-size', '16'),
            ),
        ),
    ]


def config_file(method: str) -> Path:
    """The toy config of a method."""
    return REPOSITORY / 'configs' / 'toy' / f'{method}_dinov2-toy_semfpn_gta2all_256x256.py'


def training(work_dir: Path) -> list[Step]:
    """The steps of each method: train, then test on the unseen domains."""
    # Each method is tested by a script of its own, so training need not validate.
    no_validation = [f'{key}=None' for key in ('val_cfg', 'val_dataloader', 'val_evaluator')]
    steps = []
    for method in METHODS:
        config, folder = str(config_file(method)), work_dir / method
        train = ('train.py', config, '--work-dir', str(folder), '--cfg-options', *no_validation)
        test = ('test.py', config, str(checkpoint(work_dir, method)), '--work-dir')
        steps += [
            Step(f'Train: {method}', 1.3, train),
            Step(f'Test on unseen domains: {method}', 0.3, (*test, str(folder / 'test'))),
        ]
    return steps


def checkpoint(work_dir: Path, method: str) -> Path:
    """The file that training writes at its end."""
    return work_dir / method / 'iter_700.pth'


def run_demo(work_dir: Path) -> dict[str, dict[str, float]]:
    """Run all steps, print the table, write ``summary.json`` and ``panel.png``.

    Args:
        work_dir: Folder of logs, checkpoints and results.

    Returns:
        mIoU in percent by method and domain, and their mean.

    Raises:
        RuntimeError: If a step fails; the message names the command and the log.
    """
    start, work_dir = time.monotonic(), work_dir.resolve()  # scripts run in the repository
    run_steps(preparation() + training(work_dir), work_dir / 'logs')
    summary = {method: read_metrics(work_dir / method / 'test') for method in METHODS}
    write_json(summary, work_dir / 'summary.json')
    with atomic_path(work_dir / 'panel.png') as temporary:
        Image.fromarray(draw_panel(work_dir)).save(temporary)
    console = Console()
    console.print(summary_table(summary))
    minutes = (time.monotonic() - start) / 60
    console.print(f'{minutes:.1f} minutes; {work_dir}/summary.json, {work_dir}/panel.png')
    return summary


def run_steps(steps: Sequence[Step], logs: Path) -> None:
    """Run scripts one after the other, with a progress bar over all of them.

    Args:
        steps: The scripts, run from the repository's root.
        logs: Folder for what each of them prints.

    Raises:
        RuntimeError: If a script fails.
    """
    logs.mkdir(parents=True, exist_ok=True)
    seconds = [60 * step.minutes for step in steps]
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn()) as progress:
        task = progress.add_task('demo', total=sum(seconds))
        for index, step in enumerate(steps):
            progress.console.print(
                f'{index + 1}/{len(steps)} {step.title} (about {step.minutes:g} min)'
            )
            log = logs / f'{index + 1:02d}_{Path(step.command[0]).stem}.log'
            if step.product is None or not (REPOSITORY / step.product).exists():
                for elapsed in _run(step.command, log):
                    done = sum(seconds[:index]) + min(elapsed, seconds[index])
                    progress.update(task, completed=done)
            progress.update(task, completed=sum(seconds[: index + 1]))


def _run(command: Sequence[str], log: Path) -> Iterator[float]:
    """Run a script below ``tools/``; yields the seconds since its start now and then."""
    command = [sys.executable, str(REPOSITORY / 'tools' / command[0]), *command[1:]]
    start = time.monotonic()
    with open(log, 'w') as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                yield time.monotonic() - start
                time.sleep(0.5)
        finally:
            process.kill()
    if process.returncode:
        tail = ''.join(log.read_text().splitlines(keepends=True)[-5:])
        raise RuntimeError(f'{shlex.join(command)} failed; the end of {log}:\n{tail}')


def read_metrics(folder: Path) -> dict[str, float]:
    """Read mIoU by domain, and ``mean``, from the newest test in a work dir."""
    newest = max(folder.glob('*/domains_test.json'), key=os.path.getmtime)
    report = json.loads(newest.read_text())
    scores = {**report['domains'], 'mean': report['mean']}
    return {name: round(score['mIoU'], 2) for name, score in scores.items()}


def summary_table(summary: Mapping[str, Mapping[str, float]]) -> Table:
    """Make a table: a row a method, a column a domain; the best of each column is bold."""
    domains = list(next(iter(summary.values())))
    table = Table(title='mIoU in percent on toy domains that the training on GTA never saw')
    table.add_column('method')
    for domain in domains:
        table.add_column(domain, justify='right')
    best = {domain: max(row[domain] for row in summary.values()) for domain in domains}
    for method, row in summary.items():
        cells = [f'{row[d]:.2f}' if row[d] < best[d] else f'[bold]{row[d]:.2f}' for d in domains]
        table.add_row(method, *cells)
    return table


def draw_panel(work_dir: Path) -> np.ndarray:
    """Draw, for a picture of some unseen domains, input, truth and each method's prediction."""
    config = load_config(config_file(METHODS[0]))
    init_default_scope('mmseg')
    dataset = DATASETS.build(config.test_dataloader.dataset)
    samples = {}
    for index in range(len(dataset)):
        sample = dataset.get_data_info(index)
        samples.setdefault(sample['domain'], sample)
    inferencers = {
        method: Inferencer(config_file(method), str(checkpoint(work_dir, method)))
        for method in METHODS
    }
    rows = []
    for domain in _PANEL_DOMAINS:
        sample = samples[domain]
        image = mmcv.imread(sample['img_path'])
        maps = {'truth': mmcv.imread(sample['seg_map_path'], flag='unchanged')}
        maps |= {method: inferencer(image) for method, inferencer in inferencers.items()}
        meta = inferencers[METHODS[0]]
        overlays = [colour_overlay(image[..., ::-1], m, meta.palette) for m in maps.values()]
        last = domain == _PANEL_DOMAINS[-1]
        rows.append(
            side_by_side(
                [image[..., ::-1], *overlays],
                [domain, *maps],
                meta.classes if last else (),
                meta.palette,
            )
        )
    return stack_rows(rows)
