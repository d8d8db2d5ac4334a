"""Sets of models that are trained one after the other and averaged (ReVT, arXiv 2308.13331)."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from ..checkpoints.average import Average, average_files
from ..checkpoints.combine import check_average
from ..io.files import InputError
from ..utils.cli import config_from
from .checks import check_config

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
        args: As for :func:`~soma.utils.cli.config_from`.

    Raises:
        FileNotFoundError: If there is no such config.
        InputError: If it is not of a set, or a model of it cannot be averaged with the others.
    """
    whole, root = config_from(args), Path(args.work_dir or 'work_dirs')
    average = whole.get('average')
    paths = average.get('configs') if isinstance(average, Mapping) else None
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str) for path in paths):
        raise InputError(f'{args.config} has no average.configs, the config files of a set')
    options = {key: value for key, value in average.items() if key != 'configs'}
    if unknown := options.keys() - {*_OPTIONS}:
        raise InputError(f'{args.config}: average.{min(unknown)} is none of {", ".join(_OPTIONS)}')
    known = {key: value for key, value in options.items() if key != 'rank'}
    try:
        check_average(len(paths), **known)
    except (TypeError, ValueError) as error:
        raise InputError(f'{args.config}: average: {error}') from error
    members = []
    for path in paths:
        path = Path(os.path.normpath(Path(args.config).parent / path))
        folder = root / path.stem
        given = {**vars(args), 'config': path, 'work_dir': str(folder)}
        config = config_from(argparse.Namespace(**given))
        check_config(config)
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
    return ModelSet(members, options, root / Path(args.config).stem / 'average.pth')
