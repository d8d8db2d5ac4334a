"""The demos: SoMA against its baselines on toy streets, from one domain to unseen ones.

Every step is one of the scripts in ``tools/``, with the commands that a real run takes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mmcv
import numpy as np
from mmengine.registry import DATASETS, init_default_scope
from mmengine.structures import InstanceData
from PIL import Image
from rich.console import Console
from rich.table import Table

from .inference import Inferencer, draw_result, side_by_side, stack_rows
from .io.files import atomic_path, write_json
from .steps import Step, run_steps
from .utils.config import REPOSITORY, load_config

_PRETRAINED = 'checkpoints/dinov2_toy14_pretrain.pth'
_CONVERTED = 'checkpoints/dinov2_toy_converted.pth'
_SCORE_THR = 0.25  # scores are low after so short a training


@dataclass(frozen=True)
class Demo:
    """What is trained and shown.

    Attributes:
        methods: Names of the methods, in the order of the table.
        config: Their config files, with ``{method}`` for the name.
        title: Of the table.
        data: Steps that make the data.
        minutes: How long a training and a test take on two cores.
        panel: Domains of which an image is drawn.
        folder: Default folder of results below ``work_dirs``.
    """

    methods: tuple[str, ...]
    config: str
    title: str
    data: tuple[Step, ...]
    minutes: tuple[float, float]
    panel: tuple[str, ...]
    folder: str

    def config_file(self, method: str) -> Path:
        """The toy config of a method."""
        return REPOSITORY / 'configs' / 'toy' / self.config.format(method=method)

    def checkpoint(self, work_dir: Path, method: str) -> Path:
        """The file that training writes at its end."""
        iterations = load_config(self.config_file(method)).train_cfg.max_iters
        return work_dir / method / f'iter_{iterations}.pth'

    def steps(self, work_dir: Path) -> list[Step]:
        """All scripts: data, foundation model, and for each method training and test."""
        # Each method is tested by a script of its own, so training need not validate.
        no_validation = [f'{key}=None' for key in ('val_cfg', 'val_dataloader', 'val_evaluator')]
        steps = [*self.data, *_foundation_model()]
        for method in self.methods:
            config, folder = str(self.config_file(method)), work_dir / method
            train = ('train.py', config, '--work-dir', str(folder), '--cfg-options', *no_validation)
            test = ('test.py', config, str(self.checkpoint(work_dir, method)), '--work-dir')
            training, testing = self.minutes
            steps += [
                Step(f'Train: {method}', training, train),
                Step(f'Test on all domains: {method}', testing, (*test, str(folder / 'test'))),
            ]
        return steps


def _nproc() -> str:
    return str(min(4, len(os.sched_getaffinity(0))))


def _foundation_model() -> list[Step]:
    size = ('--height', '256', '--width', '256', '--patch-size', '16')
    return [
        Step(
            'Pretrain a toy foundation model on other scenes, in random styles',
            2.5,
            ('pretrain_toy.py', _PRETRAINED, '--nproc', _nproc()),
            _PRETRAINED,
        ),
        Step(
            'Convert it to patches of 16 pixels and images of 256 x 256',
            0.1,
            ('convert_models/convert_dinov2.py', _PRETRAINED, _CONVERTED, *size),
        ),
    ]


def _streets(folder: str, source: str, images: int, tests: int, *options: str) -> Step:
    counts = ('--images', str(images), '--val-images', str(tests), '--sources', source)
    return Step(
        f'Make toy streets: {source} to train on, other domains to test on',
        0.4,
        ('make_toy_streets.py', folder, *counts, '--nproc', _nproc(), *options),
    )


DEMOS = {
    'segmentation': Demo(
        methods=('soma', 'frozen', 'full'),
        config='{method}_dinov2-toy_semfpn_gta2all_256x256.py',
        title='mIoU in percent on toy domains that the training on GTA never saw',
        data=(
            _streets('data/toy', 'gta', 300, 12),
            *(
                Step(
                    f'Convert the labels of {name} to train ids',
                    0.1,
                    (f'convert_datasets/{name}.py', f'data/toy/{name}', '--nproc', _nproc()),
                )
                for name in ('gta', 'cityscapes', 'mapillary')
            ),
        ),
        minutes=(1.3, 0.3),
        panel=('citys', 'fog', 'night', 'snow'),
        folder='demo',
    ),
    'detection': Demo(
        methods=('soma', 'frozen'),
        config='{method}_dinov2-toy_dino_dc2all_512x256.py',
        title='mAP in percent; the training saw clear daytime (DC), the mean is that of the others',
        data=(_streets('data/toy_weather', 'daytime_clear', 500, 20, '--task', 'detection'),),
        minutes=(2.2, 0.3),
        panel=('DC', 'NC', 'DR', 'NR', 'DF'),
        folder='demo_det',
    ),
}


def run_demo(task: str, work_dir: Path) -> dict[str, dict[str, float]]:
    """Run all steps, print the table, write ``summary.json`` and ``panel.png``.

    Args:
        task: Which of ``DEMOS``.
        work_dir: Folder of logs, checkpoints and results.

    Returns:
        Score in percent by method and domain, and their mean.

    Raises:
        RuntimeError: If a step fails; the message names the command and the log.
    """
    demo = DEMOS[task]
    start, work_dir = time.monotonic(), work_dir.resolve()  # scripts run in the repository
    run_steps(demo.steps(work_dir), work_dir / 'logs')
    summary = {method: read_metrics(work_dir / method / 'test') for method in demo.methods}
    write_json(summary, work_dir / 'summary.json')
    with atomic_path(work_dir / 'panel.png') as temporary:
        Image.fromarray(draw_panel(demo, work_dir)).save(temporary)
    console = Console()
    console.print(summary_table(summary, demo.title))
    minutes = (time.monotonic() - start) / 60
    console.print(f'{minutes:.1f} minutes; {work_dir}/summary.json, {work_dir}/panel.png')
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


def draw_panel(demo: Demo, work_dir: Path) -> np.ndarray:
    """Draw, for an image of some domains, input, truth and each method's prediction."""
    config = load_config(demo.config_file(demo.methods[0]))
    init_default_scope(config.default_scope)
    dataset = DATASETS.build(config.test_dataloader.dataset)
    samples = {}
    for index in range(len(dataset)):
        sample = dataset.get_data_info(index)
        samples.setdefault(sample['domain'], sample)
    inferencers = {
        method: Inferencer(demo.config_file(method), str(demo.checkpoint(work_dir, method)))
        for method in demo.methods
    }
    rows = []
    for domain in demo.panel:
        sample = samples[domain]
        image = mmcv.imread(sample['img_path'])
        results = {'truth': _truth(sample)}
        results |= {method: inferencer(image) for method, inferencer in inferencers.items()}
        meta = inferencers[demo.methods[0]]
        rgb = image[..., ::-1]
        drawn = [
            draw_result(rgb, result, meta.classes, meta.palette, _SCORE_THR)
            for result in results.values()
        ]
        classes = meta.classes if domain == demo.panel[-1] else ()
        rows.append(side_by_side([rgb, *drawn], [domain, *results], classes, meta.palette))
    return stack_rows(rows)


def _truth(sample: Mapping) -> np.ndarray | InstanceData:
    """The labels of a sample of a dataset, as an ``Inferencer`` returns them."""
    if 'seg_map_path' in sample:
        return mmcv.imread(sample['seg_map_path'], flag='unchanged')
    objects = [box for box in sample['instances'] if not box['ignore_flag']]
    return InstanceData(
        bboxes=np.array([box['bbox'] for box in objects], float).reshape(-1, 4),
        labels=np.array([box['bbox_label'] for box in objects], int),
    )
