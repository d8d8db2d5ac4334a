"""Configs: read one, point its paths at the right folders, apply the command line's wishes."""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from .adapters import ADAPTERS
from .cli import add_trust
from .files import pretrained_file

REPOSITORY = Path(__file__).resolve().parents[1]
_PATH_KEYS = ('data_root', 'mixing_set', 'checkpoint', 'load_from')
_TEST_DATA = ('test_dataloader', 'test_evaluator', 'tta_pipeline')


class _KeyValue(DictAction):
    def __call__(self, parser, namespace, values, option_string=None) -> None:
        if wrong := [value for value in values if '=' not in value]:
            parser.error(f'{option_string}: {wrong[0]!r} is not key=value')
        super().__call__(parser, namespace, values, option_string)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options`` to a script's arguments."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=_KeyValue, help='override the config: key=value ...'
    )


def runner_parser(description: str) -> argparse.ArgumentParser:
    """Make a parser with the arguments that training and testing share.

    Args:
        description: What ``--help`` says of the script.

    Returns:
        The parser, with ``config``, ``--work-dir``, ``--cfg-options``, ``--trust`` and
        ``--launcher``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder of logs, checkpoints and results')
    add_cfg_options(parser)
    add_trust(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser


def config_from(args: argparse.Namespace) -> Config:
    """Read the config that the arguments of :func:`runner_parser` ask for.

    Args:
        args: Parsed arguments.

    Returns:
        The config.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))  # mmengine reads it from there
    config = load_config(args.config, args.cfg_options)
    config.launcher = args.launcher
    config.work_dir = args.work_dir or config.work_dir
    return config


def load_config(path: str | os.PathLike, options: Mapping | None = None) -> Config:
    """Read a config file.

    Relative ``data_root``, ``mixing_set``, ``checkpoint`` and ``load_from`` are looked for in the
    current folder, then in the repository, so that scripts work from any folder.

    Args:
        path: The file.
        options: Values that replace the file's, by dotted key (``--cfg-options``).

    Returns:
        The config. ``work_dir`` defaults to ``work_dirs/<name of the file>``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If an option names a place in a list that is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no config file {path}')
    config = Config.fromfile(str(path))
    try:
        config.merge_from_dict(dict(options or {}))
    except KeyError as error:  # a place in a list that is not there
        raise ValueError(f'{path} does not fit the options: {error.args[0]}') from error
    _resolve_paths(config)
    if config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / path.stem)
    return config


def _resolve_paths(node) -> None:
    """Make relative paths absolute that exist in the repository but not in the current folder."""
    items = node.items() if isinstance(node, Mapping | Config) else enumerate(node)
    for key, value in list(items):
        if isinstance(value, Mapping | list | tuple):
            _resolve_paths(value)
        elif key in _PATH_KEYS and isinstance(value, str):
            elsewhere = REPOSITORY / value
            if elsewhere.exists() and not Path(value).exists():
                node[key] = str(elsewhere)


def use_plain_model(config: Config) -> str | None:
    """Take the adapter and the loading of pretrained weights out of a config, for testing.

    An adapter that cannot be folded into the weights (Rein) stays.

    Args:
        config: Changed in place.

    Returns:
        The file of base weights that the backbone would have loaded.
    """
    config.load_from, config.resume = None, False
    backbone = config.model.get('backbone', {})
    adapter = backbone.get('adapter') or {}
    folds = getattr(ADAPTERS.get(adapter.get('type')), 'folds', True)
    if folds:
        backbone.pop('adapter', None)
    if backbone.get('type') == 'AdaptedBackbone':
        inner = backbone.backbone
        if folds:
            config.model.backbone = inner
        backbone = inner
    backbone.pop('base_dtype', None)
    return pretrained_file(backbone.pop('init_cfg', None))


def build_model(config: Config) -> nn.Module:
    """Build the model of a config, segmentor or detector, in the config's ``default_scope``.

    Args:
        config: Left as it is. Without a scope, its model is taken for one of mmseg's.

    Returns:
        The model with random weights, ready to predict.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    # DINO writes into the config that it is given.
    return MODELS.build(copy.deepcopy(config.model)).eval()


def use_test_data(config: Config, path: str | os.PathLike, options: Mapping | None = None) -> None:
    """Make a config test on what another one tests on.

    Args:
        config: Changed in place.
        path: A config file with a ``test_dataloader`` and a ``test_evaluator``.
        options: Values that replace those of this file, by dotted key.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it lacks one of the two, or an option does not fit.
    """
    other = load_config(path, options)
    for key in ('test_dataloader', 'test_evaluator'):
        if key not in other:
            raise ValueError(f'{path} has no {key}, which --test-data needs')
    for key in _TEST_DATA:
        if key in other:
            config[key] = other[key]  # where update() would keep keys that the other one lacks


def split_test_options(options: Mapping | None) -> tuple[dict, dict]:
    """Split ``--cfg-options`` into those of the test data and the others."""
    options = dict(options or {})
    ours = {key: options.pop(key) for key in list(options) if key.split('.')[0] in _TEST_DATA}
    return ours, options


def amp_dtype() -> str:
    """Name what mixed precision computes in on this machine: bfloat16, or on older GPUs float16."""
    # GPUs before compute capability 8.0 only emulate bfloat16.
    older = torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0)
    return 'float16' if older else 'bfloat16'


def use_amp(config: Config) -> None:
    """Make a config train in mixed precision; in float16 with loss scaling.

    Args:
        config: Changed in place.
    """
    if amp_dtype() == 'bfloat16':
        config.optim_wrapper.type = 'BFloat16OptimWrapper'
        for key in ('dtype', 'loss_scale', 'use_fsdp'):  # of AmpOptimWrapper
            config.optim_wrapper.pop(key, None)
    else:
        config.optim_wrapper.update(type='AmpOptimWrapper', dtype='float16')


def use_tta(config: Config) -> None:
    """Make a config test with its test-time augmentation.

    Args:
        config: Changed in place; needs ``tta_pipeline`` and ``tta_model``.

    Raises:
        ValueError: If the config has none.
    """
    for key in ('tta_pipeline', 'tta_model'):
        if key not in config:
            raise ValueError(f'the config has no {key}, which --tta needs')
    dataset = config.test_dataloader.dataset
    for part in dataset.get('datasets', [dataset]):
        part.pipeline = config.tta_pipeline
    config.model = dict(config.tta_model, module=config.model)
