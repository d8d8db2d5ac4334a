"""What a comparison runs: methods, settings and seeds, and the scripts of each run."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from soma.utils.config import REPOSITORY
from soma.utils.jobs import Job

from .configs import check_options, config_text, run_config
from .recipe import Recipe

# One thread, and no GPU: the numbers depend neither on the machine's cores nor on its GPU.
ENVIRONMENT = {
    **dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'), '1'),
    'CUDA_VISIBLE_DEVICES': '',
}


@dataclass(frozen=True)
class Run:
    """One training and its test.

    Attributes:
        method: Name of the method.
        setting: Name of the setting.
        seed: Of the head's weights, the adapter's, and the order and augmentation of the images.
    """

    method: str
    setting: str
    seed: int

    def __str__(self) -> str:
        return f'{self.setting}/{self.method}/seed{self.seed}'


@dataclass(frozen=True)
class Comparison:
    """Which runs there are, and where they write.

    Attributes:
        recipe: What its file says.
        work_dir: Folder of logs, checkpoints and results.
        methods: Out of the recipe's, in the order of the tables.
        settings: Out of the recipe's.
        seeds: One run of each method and setting for each.
        iterations: Length of a training; None for that of each method's config.
        gpu: Whether runs see the GPU and all cores; else each has one core, so that its scores
            depend on neither.

    Raises:
        ValueError: If a method or setting is unknown or given twice, there is no seed, too few
            iterations, or options that do not fit a method's config.
    """

    recipe: Recipe
    work_dir: Path
    methods: tuple[str, ...]
    settings: tuple[str, ...]
    seeds: tuple[int, ...]
    iterations: int | None = None
    gpu: bool = False

    def __post_init__(self) -> None:
        choices = {'methods': self.recipe.methods, 'settings': self.recipe.settings, 'seeds': None}
        for what, known in choices.items():
            values = getattr(self, what)
            unknown = [value for value in values if known and value not in known]
            if unknown or not values or len(set(values)) < len(values):
                choice = f', out of {", ".join(known)}' if known else ''
                raise ValueError(f'{what} must be different ones{choice}; got {list(values)}')
        if self.iterations is not None and self.iterations < 14:  # a schedule needs some room
            raise ValueError(f'iterations must be at least 14, got {self.iterations}')
        for method in self.methods:
            check_options(self.recipe.methods[method])

    @property
    def reported(self) -> list[Run]:
        """The runs of the tables."""
        return [
            Run(method, setting, seed)
            for seed in self.seeds  # so that an unfinished comparison has all methods
            for setting in self.settings
            for method in self.methods
        ]

    @property
    def runs(self) -> list[Run]:
        """All runs, each after those that it needs."""
        return list(dict.fromkeys(run for row in self.reported for run in (*self.parts(row), row)))

    def parts(self, run: Run) -> tuple[Run, ...]:
        """The runs whose backbones one averages; none if it trains."""
        names = self.recipe.methods[run.method].average
        return tuple(Run(name, run.setting, run.seed) for name in names)

    @property
    def document(self) -> Path:
        """The report."""
        return self.work_dir / f'{self.recipe.name}.md'

    def folder(self, run: Run) -> Path:
        """Where a run writes."""
        return self.work_dir / str(run)

    def config_file(self, run: Run) -> Path:
        """The config of a run."""
        return self.folder(run) / 'config.py'

    def result_file(self, run: Run) -> Path:
        """What a run has measured; it is written last."""
        return self.folder(run) / 'result.json'

    def checkpoint(self, run: Run) -> Path:
        """The file that a run ends with."""
        if self.parts(run):
            return self.folder(run) / 'work' / 'averaged.pth'
        iterations = Config.fromfile(self.config_file(run)).train_cfg.max_iters
        return self.folder(run) / 'work' / f'iter_{iterations}.pth'

    def config_text(self, run: Run) -> str:
        """The config of a run, as a Python file."""
        method, setting = self.recipe.methods[run.method], self.recipe.settings[run.setting]
        return config_text(run_config(method, setting, run.seed, self.iterations), str(run))

    def job(self, run: Run, needs: Sequence[str]) -> Job:
        """The scripts of a run whose config is written, after the jobs that it needs."""
        config, work = str(self.config_file(run)), ('--work-dir', str(self.folder(run) / 'work'))
        if parts := self.parts(run):
            average, files = str(self.checkpoint(run)), map(str, map(self.checkpoint, parts))
            options = ('--weights-filter', 'backbone', '--cpu-only')
            commands = [
                _script('model_reparameterization.py', average, '--checkpoints', *files, *options),
                _script('test.py', config, average, *work),
            ]
        else:
            # It begins anew in a clean folder; a cluster may start it again.
            commands = [_script('train.py', config, *work, '--resume')]
        log, clean = self.folder(run) / 'log.txt', self.folder(run) / 'work'
        key = self.hash_settings(run)
        return Job(str(run), run.method, log, commands, needs, clean, key)

    def hash_settings(self, run: Run) -> str:
        """A hash of all settings of a run whose config is written, those of its parts included."""
        files = [self.config_file(part) for part in (*self.parts(run), run)]
        configs = [Config.fromfile(file).to_dict() for file in files]
        settings = json.dumps([configs, self.gpu], sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a script of ``tools/``."""
    return (sys.executable, str(REPOSITORY / 'tools' / name), *arguments)
