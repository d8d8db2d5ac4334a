"""What a demo is, and the scripts of ``tools/`` and ``projects/`` that it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from soma.utils.config import REPOSITORY, load_config
from soma.utils.jobs import Job

TEST = 'Test on all domains: '


def script(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a script, by its path in the repository."""
    return (sys.executable, str(REPOSITORY / name), *arguments)


class Step(NamedTuple):
    """A script that runs before the trainings; ``kind`` and ``needs`` are those of its job."""

    name: str
    kind: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Demo:
    """What is trained and shown.

    Attributes:
        configs: Config file by the name of the method, in the order of the table.
        title: Of the table.
        seconds: How long the jobs of a kind take on two cores.
        panel: Domains of which an image is drawn.
        folder: Default folder of results below ``work_dirs``.
        readme: Those of the domains in the small sheet for the README; without any there is none.
        steps: What runs before the trainings.
    """

    configs: Mapping[str, Path]
    title: str
    seconds: Mapping[str, float]
    panel: tuple[str, ...]
    folder: str
    readme: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    def checkpoint(self, work_dir: Path, method: str) -> Path:
        """The file that training writes at its end."""
        iterations = load_config(self.configs[method]).train_cfg.max_iters
        return work_dir / method / f'iter_{iterations}.pth'

    def preparation(self, work_dir: Path) -> list[Job]:
        """The jobs of the steps before the trainings."""
        return [_job(work_dir, *step) for step in self.steps]

    def training(self, work_dir: Path) -> list[Job]:
        """The scripts that train and test each method, one after the other."""
        # Each method is tested by a script of its own, so training need not validate.
        no_validation = [f'{key}=None' for key in ('val_cfg', 'val_dataloader', 'val_evaluator')]
        jobs = []
        for method, file in self.configs.items():
            config, folder = str(file), work_dir / method
            work = ('--work-dir', str(folder))
            train = script('tools/train.py', config, *work, '--cfg-options', *no_validation)
            checkpoint = str(self.checkpoint(work_dir, method))
            work = ('--work-dir', str(folder / 'test'))
            test = script('tools/test.py', config, checkpoint, *work)
            jobs.append(_job(work_dir, f'Train: {method}', 'train', train))
            jobs.append(_job(work_dir, TEST + method, 'test', test, [jobs[-1].name]))
        return jobs


def _job(
    work_dir: Path, name: str, kind: str, command: tuple[str, ...], needs: Iterable[str] = ()
) -> Job:
    file = name.replace(': ', '_').replace(' ', '_').lower()
    return Job(name, kind, work_dir / 'logs' / f'{file}.txt', [command], tuple(needs))
