"""What the study runs: methods, sources and seeds, and the config of each run."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import Config

from ..utils.config import REPOSITORY, load_config
from .jobs import Job

SOURCES = ('gta', 'synthia', 'urbansyn')
UNSEEN = ('citys', 'bdd', 'map', 'fog', 'night', 'rain', 'snow')
REVT = ('full', 'full-pixmix', 'full-bilateral')  # whose backbones it averages
METHODS = (
    'frozen',
    'last2',
    'full',
    'bitfit',
    'lora',
    'dora',
    'pissa',
    'milora',
    'mica',
    'svf',
    'soma',
    'rein',
    'full-pixmix',
    'full-bilateral',
    'revt',
)
# One thread, and no GPU: the numbers depend neither on the machine's cores nor on its GPU.
ENVIRONMENT = {
    **dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'), '1'),
    'CUDA_VISIBLE_DEVICES': '',
}

_CONFIG = """\
# {method} on the toy {source}, seed {seed}: written by tools/study.py
_base_ = {base!r}

# Serialised samples would only serve workers, and take seconds to make.
source = {{**_base_.{source}, 'data_root': '{data}/{source}', 'serialize_data': False}}
randomness = dict(seed={seed})
model = dict(backbone=dict(init_cfg=dict(checkpoint={pretrained!r})))
train_dataloader = dict(
    dataset=dict(
        **source,
        indices={images},
        pipeline=[
            {{**step, 'mixing_set': {fractals!r}}} if 'mixing_set' in step else step
            for step in _base_.train_dataloader.dataset.pipeline
        ],
    )
)
# The unseen domains, and images of the source that training does not see
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        datasets=[
            *(
                {{
                    **part,
                    'data_root': part['data_root'].replace('data/toy', {data!r}),
                    'serialize_data': False,
                }}
                for part in _base_.val_dataloader.dataset.datasets
            ),
            dict(**source, indices=-{held_out}, pipeline=_base_.test_pipeline),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(mean_over={unseen})
test_evaluator = val_evaluator
# The schedule in the same proportions
param_scheduler = [
    {{**each, **{{key: each[key] * {iterations} // {full} for key in ('begin', 'end')}}}}
    for each in _base_.param_scheduler
]
train_cfg = dict(max_iters={iterations}, val_interval={iterations})
default_hooks = dict(checkpoint=dict(interval={iterations}))
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
"""


def script(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a script of ``tools/``."""
    return (sys.executable, str(REPOSITORY / 'tools' / name), *arguments)


@dataclass(frozen=True)
class Run:
    """One training and its test.

    Attributes:
        method: One of ``METHODS``.
        source: Domain to train on, one of ``SOURCES``.
        seed: Of the head's weights, the adapter's, and the order and augmentation of the images.
    """

    method: str
    source: str
    seed: int

    def __str__(self) -> str:
        return f'{self.source}/{self.method}/seed{self.seed}'

    @property
    def parts(self) -> tuple[Run, ...]:
        """The runs whose backbones this one averages; none if it trains."""
        names = REVT if self.method == 'revt' else ()
        return tuple(Run(name, self.source, self.seed) for name in names)


@dataclass(frozen=True)
class Study:
    """Which runs there are, and what they share.

    Attributes:
        work_dir: Folder of logs, checkpoints and results.
        methods: Out of ``METHODS``, in the order of the tables.
        sources: Out of ``SOURCES``.
        seeds: One run of each method and source for each.
        iterations: Length of a training.
        images: Images of a source to train on.
        held_out: Images of each domain to test on, those of the source included.
        data: Folder of the toy streets and the toy foundation model, relative to the repository.

    Raises:
        ValueError: If a method or source is unknown or given twice, there is no seed, or too few
            iterations.
    """

    work_dir: Path
    methods: tuple[str, ...] = METHODS
    sources: tuple[str, ...] = ('gta', 'synthia')
    seeds: tuple[int, ...] = (0, 1, 2)
    iterations: int = 350
    images: int = 300
    held_out: int = 12
    data: str = 'data/toy_study'

    def __post_init__(self) -> None:
        for what, known in (('methods', METHODS), ('sources', SOURCES), ('seeds', None)):
            values = getattr(self, what)
            wrong = [value for value in values if known and value not in known]
            if wrong or not values or len(set(values)) < len(values):
                choice = f', out of {", ".join(known)}' if known else ''
                raise ValueError(f'{what} must be different ones{choice}; got {list(values)}')
        if self.iterations < 14:  # the warm-up is a fourteenth
            raise ValueError(f'iterations must be at least 14, got {self.iterations}')

    @property
    def reported(self) -> list[Run]:
        """The runs of the tables."""
        return [
            Run(method, source, seed)
            for seed in self.seeds  # so that an unfinished study has all methods
            for source in self.sources
            for method in self.methods
        ]

    @property
    def runs(self) -> list[Run]:
        """All runs, each after those that it needs."""
        return list(dict.fromkeys(run for each in self.reported for run in (*each.parts, each)))

    @property
    def pretrained(self) -> str:
        """The toy foundation model, as the backbones read it."""
        return f'{self.data}/checkpoints/dinov2_toy_converted.pth'

    def folder(self, run: Run) -> Path:
        """Where a run writes."""
        return self.work_dir / str(run)

    def config_file(self, run: Run) -> Path:
        """The config of a run."""
        return self.folder(run) / 'config.py'

    def result_file(self, run: Run) -> Path:
        """What a run has found; it is written last."""
        return self.folder(run) / 'result.json'

    def checkpoint(self, run: Run) -> Path:
        """The file that a run ends with."""
        name = 'averaged.pth' if run.parts else f'iter_{self.iterations}.pth'
        return self.folder(run) / 'work' / name

    def config_text(self, run: Run) -> str:
        """Write the config of a run: its method's, and what differs from it."""
        method = run.parts[0].method if run.parts else run.method
        base = REPOSITORY / 'configs/toy' / f'{method}_dinov2-toy_semfpn_gta2all_256x256.py'
        return _CONFIG.format(
            method=run.method,
            source=run.source,
            seed=run.seed,
            base=os.path.relpath(base, self.folder(run)),
            full=load_config(base).train_cfg.max_iters,
            data=self.data,
            pretrained=self.pretrained,
            fractals=f'{self.data}/fractals',
            images=self.images,
            held_out=self.held_out,
            unseen=list(UNSEEN),
            iterations=self.iterations,
        )

    def preparation(self, jobs: int) -> list[Job]:
        """The scripts that make data and foundation model and have not run yet.

        Args:
            jobs: Number of processes that render; the images do not depend on it.
        """
        data, nproc, done = Path(self.data), ('--nproc', str(jobs)), []

        def add(name: str, *command: str, product: Path | None = None, needs=()) -> str:
            if product is None or not (REPOSITORY / product).exists():
                log = self.work_dir / 'logs' / f'{name.replace(" ", "_")}.txt'
                done.append(Job(name, None, log, [script(*command)], needs))
            return name

        # The longest first: nothing else needs so much time and only one core.
        public = data / 'checkpoints' / 'dinov2_toy14_pretrain.pth'
        model = add('pretraining', 'pretrain_toy.py', str(public), *nproc, product=public)
        size = ('--height', '256', '--width', '256', '--patch-size', '16')
        convert = ('convert_models/convert_dinov2.py', str(public), self.pretrained, *size)
        add('conversion', *convert, product=Path(self.pretrained), needs=[model])
        counts = ('--images', str(self.images + self.held_out), '--val-images', str(self.held_out))
        options = (*counts, '--sources', *SOURCES, *nproc)
        streets = add('toy streets', 'make_toy_streets.py', str(data), *options)
        for name in (*SOURCES, 'cityscapes', 'mapillary'):
            convert = (f'convert_datasets/{name}.py', str(data / name))
            add(
                f'labels of {name}',
                *convert,
                product=data / name / 'conversion.json',
                needs=[streets],
            )
        if any(run.method == 'full-pixmix' for run in self.runs):
            options = ('--images', '200', '--size', '256', *nproc)
            add('fractals', 'make_fractals.py', str(data / 'fractals'), *options)
        names = {job.name for job in done}
        return [replace(job, needs=[n for n in job.needs if n in names]) for job in done]

    def job(self, run: Run, needs: Sequence[str]) -> Job:
        """The scripts of a run, after those that it needs."""
        folder, config = self.folder(run), str(self.config_file(run))
        work = ('--work-dir', str(folder / 'work'))
        if run.parts:
            average, files = str(self.checkpoint(run)), map(str, map(self.checkpoint, run.parts))
            options = ('--weights-filter', 'backbone', '--cpu-only')
            commands = [
                script('model_reparameterization.py', average, '--checkpoints', *files, *options),
                script('test.py', config, average, *work),
            ]
        else:
            commands = [script('train.py', config, *work)]
        return Job(str(run), run.method, folder / 'log.txt', commands, needs)

    def settings(self, run: Run) -> str:
        """A hash of all settings of a run whose config is written, those of its parts included."""
        configs = [Config.fromfile(self.config_file(each)).to_dict() for each in (*run.parts, run)]
        return hashlib.sha256(json.dumps(configs, sort_keys=True).encode()).hexdigest()
