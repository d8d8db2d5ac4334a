"""Sets of models that are trained one after the other and averaged (ReVT, arXiv 2308.13331)."""

from __future__ import annotations

import argparse
import gc
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.registry import RUNNERS
from rich.table import Table

from ..adapters.base import parse_adapter
from ..checkpoints.average import Average, average_files
from ..checkpoints.combine import check_average
from ..checkpoints.open import load_plain
from ..io.files import InputError
from ..models.build import LeftOut, build_model
from ..utils.cli import config_from
from ..utils.config import TEST_DATA, without_keys
from ..utils.tables import as_text
from .checks import check_config
from .hooks.stop import StopHook
from .training import train_config

_OPTIONS = ('weights_filter', 'operation', 'factors', 'rank')


class Member(NamedTuple):
    """A model of a set.

    Attributes:
        config: To train it with, in the work dir that ``tools/train.py`` gives it too.
        checkpoint: What its training ends with.
    """

    config: Config
    checkpoint: Path

    @property
    def state(self) -> str:
        """How far its training is."""
        if self.checkpoint.is_file():
            return 'done'
        pointer = self.checkpoint.with_name('last_checkpoint')
        return f'until {Path(pointer.read_text()).name}' if pointer.is_file() else 'not begun'


class ModelSet(NamedTuple):
    """A set of models, and what averages them.

    Attributes:
        members: The models, the first of which has what is not averaged.
        options: Of :func:`~soma.checkpoints.average_files`.
        out: The file of the average.
    """

    members: list[Member]
    options: Mapping
    out: Path

    def average(self) -> Average:
        """Average the checkpoints of the members.

        Raises:
            InputError: As :func:`~soma.checkpoints.average_files`, or if the rank does not fit.
        """
        try:
            return average_files([m.checkpoint for m in self.members], self.out, **self.options)
        except ValueError as error:
            raise InputError(f'average: {error}') from error


def read_set(args: argparse.Namespace) -> ModelSet:
    """Read the config of a set: ``average=dict(configs=[...], weights_filter='backbone')``.

    The paths are relative to the config's. Each model, and the average, has a folder with the name
    of its config in the work dir.

    Args:
        args: The arguments of ``tools/train_average.py``.

    Raises:
        FileNotFoundError: If there is no such config.
        InputError: If it is not of a set, or a model of it cannot be averaged with the others.
    """
    options = without_keys(args.cfg_options, TEST_DATA if args.test_data else ())
    whole, root = _read_config(args, cfg_options=options), Path(args.work_dir or 'work_dirs')
    average = _check_average(whole, args.config)
    options = without_keys(options, ['average'])
    members = []
    for path in average.pop('configs'):
        path = Path(os.path.normpath(Path(args.config).parent / path))
        folder = root / path.stem
        config = _read_config(args, config=path, cfg_options=options, work_dir=str(folder))
        if config.get('average') is not None:
            raise InputError(f'{args.config}: average.configs names {path}, which is of a set, too')
        if config.model != whole.model:
            raise InputError(f'{path}: its model is not that of {args.config}: they do not average')
        if any(folder == member.checkpoint.parent for member in members):
            raise InputError(f'{args.config}: average.configs names {path.name} twice')
        steps = config.get('train_cfg') or {}
        units = [unit for unit in ('iter', 'epoch') if f'max_{unit}s' in steps]
        if not units:
            raise InputError(f'{path} has no train_cfg with max_iters or max_epochs')
        last = f'{units[0]}_{steps[f"max_{units[0]}s"]}.pth'
        members.append(Member(config, folder / last))
    return ModelSet(members, average, root / Path(args.config).stem / 'average.pth')


def _read_config(args: argparse.Namespace, **changes: object) -> Config:
    """Read and check the config that the arguments ask for when some of them are changed."""
    config = config_from(argparse.Namespace(**{**vars(args), **changes}))
    check_config(config)
    return config


def _check_average(config: Config, path: str) -> dict:
    """Check all of ``average`` that can be checked before there are checkpoints; a copy of it."""
    average = config.get('average')
    paths = average.get('configs') if isinstance(average, Mapping) else None
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str) for path in paths):
        raise InputError(f'{path} has no average.configs, the config files of a set')
    options = {key: value for key, value in average.items() if key != 'configs'}
    if unknown := options.keys() - {*_OPTIONS}:
        raise InputError(f'{path}: average.{min(unknown)} is none of {", ".join(_OPTIONS)}')
    try:
        pattern = check_average(len(paths), **options)
        _check_model(config, pattern, options.get('rank'))
    except (TypeError, ValueError) as error:
        raise InputError(f'{path}: average: {error}') from error
    return dict(average)


def _check_model(config: Config, pattern: re.Pattern, rank: int | None) -> None:
    """Check that the model of a config has what is to be averaged.

    Raises:
        ValueError: If it has not.
    """
    adapter = config.model.get('backbone', {}).get('adapter')
    adapter = None if adapter is None else parse_adapter(adapter)
    if adapter and not adapter.adds_up:
        raise ValueError(f'adapters of {adapter.method} are no changes of weights that add up')
    if rank is not None and not (adapter and adapter.low_rank):
        raise ValueError(f'no adapter is averaged that could have a rank of {rank}')
    if pattern.pattern and not any(map(pattern.match, build_model(config).state_dict())):
        raise ValueError(f'no tensor of the model has a name that begins with {pattern.pattern!r}')


def list_set(models: ModelSet) -> str:
    """A table of the models: the config of each, its checkpoint, and how far it is."""
    table = Table('config', 'checkpoint', 'training', box=None)
    for member in models.members:
        table.add_row(member.config.filename, str(member.checkpoint), member.state)
    table.add_row('their average', str(models.out), 'done' if models.out.is_file() else '')
    return as_text(table)


def train_set(models: ModelSet, stop: StopHook, amp: bool = False) -> None:
    """Train the models that are not trained, each from its newest checkpoint.

    Args:
        models: The set.
        stop: As for :func:`~soma.engine.training.train_config`.
        amp: As there.

    Raises:
        InputError: As there.
    """
    for index, member in enumerate(models.members):
        stop.trained = index
        if not member.checkpoint.is_file():
            _use_own_visualizer(member.config)
            train_config(member.config, stop, amp, resume='auto')
            gc.collect()  # the runner, which its hooks hold, with model and optimizer
            torch.cuda.empty_cache()


def average_and_test(models: ModelSet, config: Config, left_out: LeftOut) -> None:
    """Average the models; test a plain model with the average.

    Args:
        models: The set.
        config: To test with, of a plain model.
        left_out: What was taken out of it.

    Raises:
        InputError: If the checkpoints cannot be averaged.
    """
    _use_own_visualizer(config)
    runner = RUNNERS.build(config)
    if is_main_process():
        models.average()
    barrier()
    load_plain(runner.model, models.out, left_out=left_out)
    runner.test()


def _use_own_visualizer(config: Config) -> None:
    """Leave the visualizer without a name: one of the same name would be another runner's."""
    (config.get('visualizer') or {}).pop('name', None)
