"""The demos: SoMA against its baselines on toy streets, from one domain to unseen ones.

Every step is a script of ``tools/`` or of this project, with the commands that a real run takes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from soma.io.files import write_json
from soma.utils.config import REPOSITORY, load_config
from soma.utils.jobs import Job, Usage, run_jobs

from .panel import write_panels

PROJECT = Path(__file__).resolve().parents[1]
PRETRAINED = PROJECT / 'dinov2_toy14_pretrain.safetensors'
CONVERTED = 'checkpoints/dinov2_toy_converted.pth'
_TEST = 'Test on all domains: '


def script(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a script, by its path in the repository."""
    return (sys.executable, str(REPOSITORY / name), *arguments)


def convert_foundation_model() -> tuple[str, ...]:
    """The command that fits the shipped model to patches of 16 pixels and images of 256 x 256."""
    size = ('--height', '256', '--width', '256', '--patch-size', '16')
    return script('tools/convert_models/convert_dinov2.py', str(PRETRAINED), CONVERTED, *size)


def make_streets(folder: str, images: int, val_images: int, nproc: int, *options: str):
    """The command that makes toy streets with so many images to train on and to test on."""
    counts = ('--images', str(images), '--val-images', str(val_images), '--nproc', str(nproc))
    return script('projects/toy_streets/make_toy_streets.py', folder, *counts, *options)


@dataclass(frozen=True)
class Demo:
    """What is trained and shown.

    Attributes:
        methods: Names of the methods, in the order of the table.
        config: Their config files, with ``{method}`` for the name.
        title: Of the table.
        data: Folder of the toy streets.
        images: Images to train on, and to test on in each domain.
        options: Further ones of the script that makes them.
        convert: Datasets whose labels are converted.
        seconds: How long the jobs of a kind take on two cores.
        panel: Domains of which an image is drawn.
        readme: Those of them in the small sheet for the README.
        folder: Default folder of results below ``work_dirs``.
    """

    methods: tuple[str, ...]
    config: str
    title: str
    data: str
    images: tuple[int, int]
    options: tuple[str, ...]
    convert: tuple[str, ...]
    seconds: Mapping[str, float]
    panel: tuple[str, ...]
    readme: tuple[str, ...]
    folder: str

    def config_file(self, method: str) -> Path:
        """The toy config of a method."""
        return PROJECT / 'configs' / self.config.format(method=method)

    def checkpoint(self, work_dir: Path, method: str) -> Path:
        """The file that training writes at its end."""
        iterations = load_config(self.config_file(method)).train_cfg.max_iters
        return work_dir / method / f'iter_{iterations}.pth'

    def preparation(self, work_dir: Path) -> list[Job]:
        """The scripts that make the data and fit the foundation model to it."""
        nproc = len(os.sched_getaffinity(0))
        streets = 'Make toy streets'
        command = make_streets(self.data, *self.images, nproc, *self.options)
        jobs = [_job(work_dir, streets, 'streets', command)]
        jobs += [
            _job(
                work_dir,
                f'Convert the labels of {name} to train ids',
                'convert',
                script(f'tools/convert_datasets/{name}.py', f'{self.data}/{name}'),
                [streets],
            )
            for name in self.convert
        ]
        name = 'Convert the toy foundation model'
        return [*jobs, _job(work_dir, name, 'convert', convert_foundation_model())]

    def training(self, work_dir: Path) -> list[Job]:
        """The scripts that train and test each method, one after the other."""
        # Each method is tested by a script of its own, so training need not validate.
        no_validation = [f'{key}=None' for key in ('val_cfg', 'val_dataloader', 'val_evaluator')]
        jobs = []
        for method in self.methods:
            config, folder = str(self.config_file(method)), work_dir / method
            work = ('--work-dir', str(folder))
            train = script('tools/train.py', config, *work, '--cfg-options', *no_validation)
            checkpoint = str(self.checkpoint(work_dir, method))
            work = ('--work-dir', str(folder / 'test'))
            test = script('tools/test.py', config, checkpoint, *work)
            jobs.append(_job(work_dir, f'Train: {method}', 'train', train))
            jobs.append(_job(work_dir, _TEST + method, 'test', test, [jobs[-1].name]))
        return jobs


def _job(
    work_dir: Path, name: str, kind: str, command: tuple[str, ...], needs: Iterable[str] = ()
) -> Job:
    file = name.replace(': ', '_').replace(' ', '_').lower()
    return Job(name, kind, work_dir / 'logs' / f'{file}.txt', [command], tuple(needs))


DEMOS = {
    'segmentation': Demo(
        methods=('soma', 'frozen', 'full'),
        config='{method}_dinov2-toy_semfpn_gta2all_256x256.py',
        title='mIoU in percent on toy domains that the training on GTA never saw',
        data='data/toy',
        images=(300, 12),
        options=('--sources', 'gta'),
        convert=('gta', 'cityscapes', 'mapillary'),
        seconds=dict(streets=25, convert=8, train=120, test=25),
        panel=('citys', 'fog', 'night', 'snow'),
        readme=('citys', 'fog', 'night'),
        folder='demo',
    ),
    'detection': Demo(
        methods=('soma', 'frozen'),
        config='{method}_dinov2-toy_dino_dc2all_512x256.py',
        title='mAP in percent; the training saw clear daytime (DC), the mean is that of the others',
        data='data/toy_weather',
        images=(500, 20),
        options=('--sources', 'daytime_clear', '--task', 'detection'),
        convert=(),
        seconds=dict(streets=30, convert=8, train=180, test=30),
        panel=('DC', 'NC', 'DR', 'NR', 'DF'),
        readme=('NC', 'NR', 'DF'),
        folder='demo_det',
    ),
}


def run_demo(task: str, work_dir: Path) -> dict[str, dict[str, float]]:
    """Run all steps, print the table after each test, draw.

    Into the work dir go ``summary.json``, ``panel.png`` (all methods) and ``readme.png`` (small).

    Args:
        task: Which of ``DEMOS``.
        work_dir: Folder of logs, checkpoints and results.

    Returns:
        Score in percent by method and domain, and their mean.

    Raises:
        RuntimeError: If a step fails; the message names the step and its log.
    """
    demo = DEMOS[task]
    start, work_dir = time.monotonic(), work_dir.resolve()  # scripts run in the repository
    summary = {}

    def finish(job: Job, usage: Usage) -> str | Table:
        if not job.name.startswith(_TEST):
            return f'{usage.seconds:.0f} s'
        method = job.name.removeprefix(_TEST)
        summary[method] = read_metrics(work_dir / method / 'test')
        return summary_table(summary, demo.title)

    durations = {kind: [seconds] for kind, seconds in demo.seconds.items()}
    # A training uses all cores: side by side they take longer.
    for jobs, workers in ((demo.preparation(work_dir), 2), (demo.training(work_dir), 1)):
        if failed := run_jobs(jobs, workers, finish, durations, cwd=REPOSITORY):
            name, reason = next(iter(failed.items()))
            raise RuntimeError(f'{name}: {reason}')
    write_json(summary, work_dir / 'summary.json')
    models = {m: (demo.config_file(m), demo.checkpoint(work_dir, m)) for m in demo.methods}
    write_panels(models, demo.panel, demo.readme, work_dir)
    minutes = (time.monotonic() - start) / 60
    Console().print(f'{minutes:.1f} minutes; {work_dir}/summary.json, {work_dir}/panel.png')
    return summary


def read_metrics(folder: Path) -> dict[str, float]:
    """Read the score by domain, and ``mean``, from the newest test in a work dir."""
    newest = max(folder.glob('*/domains_test.json'), key=os.path.getmtime)
    report = json.loads(newest.read_text())
    scores = {**report['domains'], 'mean': report['mean']}
    return {name: round(score[f'm{report["score"]}'], 2) for name, score in scores.items()}


def summary_table(summary: Mapping[str, Mapping[str, float]], title: str) -> Table:
    """Make a table: a row a method, a column a domain; the best of each column is bold."""
    domains = list(next(iter(summary.values())))
    table = Table(title=title)
    table.add_column('method')
    for domain in domains:
        table.add_column(domain, justify='right')
    best = {domain: max(row[domain] for row in summary.values()) for domain in domains}
    for method, row in summary.items():
        cells = [f'{row[d]:.2f}' if row[d] < best[d] else f'[bold]{row[d]:.2f}' for d in domains]
        table.add_row(method, *cells)
    return table
