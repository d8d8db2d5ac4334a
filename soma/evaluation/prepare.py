"""What a test takes from a config, and from another one."""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Mapping

from mmengine.config import Config
from mmengine.runner import Runner

from ..engine.checks import check_config
from ..io.files import InputError, check_folder
from ..io.hub import checkpoint_in, last_in
from ..models.build import LeftOut, use_plain_model
from ..utils.cli import config_from
from ..utils.config import TEST_DATA, each_dataset, load_config, without_keys
from .dump import SUFFIXES


def prepare_test(
    args: argparse.Namespace, models: int | None = None, operation: str = 'add'
) -> tuple[Config, LeftOut]:
    """Make the config that the arguments of ``tools/test.py`` ask for.

    Args:
        args: The arguments, in which a folder becomes the checkpoint that it means.
        models: How many models predict together; a single one, and no ensemble, if None.
        operation: How they do, as for :class:`~soma.models.segmentors.SegmentorEnsemble`.

    Returns:
        The config, of a plain model, and what was taken out of it.

    Raises:
        FileNotFoundError: If there is no such config file.
        InputError: If the arguments do not fit the config, or a folder cannot be written to.
    """
    if 'checkpoint' in args:
        if not args.work_dir and last_in(args.checkpoint):
            args.work_dir = args.checkpoint  # results belong beside what they are of
        args.checkpoint = checkpoint_in(args.checkpoint)
    if 'checkpoints' in args:
        args.checkpoints = [*map(checkpoint_in, args.checkpoints)]
    options = args.cfg_options
    if args.test_data:
        args.cfg_options = without_keys(options, TEST_DATA)
    config = config_from(args)
    check_config(config)
    left_out = use_plain_model(config)
    if args.test_data:
        use_test_data(config, args.test_data, options)
    if not config.get('test_evaluator'):
        raise InputError(f'{args.config} has no test_evaluator: name other data with --test-data')
    if args.show_dir:
        check_folder(args.show_dir)
    _write_predictions(config, args.out)
    if args.show_dir or args.show:
        draw = dict(out_dir=args.show_dir, show=args.show, wait_time=args.wait_time)
        config.setdefault('custom_hooks', []).append(dict(type='DrawPredictionsHook', **draw))
    if models is not None:
        members = [copy.deepcopy(config.model) for _ in range(models)]  # some write into theirs
        config.model = dict(type='SegmentorEnsemble', models=members, operation=operation)
    if args.tta:
        use_tta(config)
    return config, left_out


def say_what_is_tested(runner: Runner, args: argparse.Namespace) -> None:
    """Log what the arguments of a test ask for, and let the report have it."""
    names = 'checkpoint', 'checkpoints', 'operation', 'base', 'test_data', 'tta'
    facts = {name: value for name in names if (value := getattr(args, name, None))}
    facts = {n: ', '.join(map(str, v)) if isinstance(v, list) else str(v) for n, v in facts.items()}
    runner.message_hub.update_info('tested', facts)
    runner.logger.info('; '.join(f'{name}: {value}' for name, value in facts.items()))


def _write_predictions(config: Config, out: str | None) -> None:
    """Have a test write its predictions to a folder, or those of a detector to a pickle."""
    metrics = config.test_evaluator
    metrics = metrics if isinstance(metrics, list) else [metrics]
    pickled = out is not None and out.endswith(SUFFIXES)
    if pickled and config.get('default_scope') != 'mmdet':
        raise InputError(f'--out {out}: the predictions are images, name a folder for them')
    if metrics[0].get('format_only') and (pickled or not out):
        raise InputError('this test has no labels and only writes predictions: give --out FOLDER')
    if pickled:
        config.test_evaluator = [*metrics, dict(type='DumpPredictions', out_file_path=out)]
    elif out:
        check_folder(out)
        metrics[0].output_dir = out


def use_test_data(config: Config, path: str | os.PathLike, options: Mapping | None = None) -> None:
    """Make a config, in place, test on what another one tests on.

    Args:
        config: The config.
        path: A config file with a ``test_dataloader`` and a ``test_evaluator``.
        options: Values by dotted key, of which those of the test data replace this file's, and
            those of its variables.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it lacks one of the two, or an option does not fit.
    """
    names = load_config(path).keys()
    options = (options or {}).items()
    options = {key: v for key, v in options if key in names or key.split('.')[0] in TEST_DATA}
    other = load_config(path, options)
    for key in ('test_dataloader', 'test_evaluator'):
        if key not in other:
            raise InputError(f'{path} has no {key}, which --test-data needs')
    for key in TEST_DATA:
        if key in other:
            config[key] = other[key]  # where update() would keep keys that the other one lacks


def use_tta(config: Config) -> None:
    """Make a config, in place, test with its test-time augmentation.

    Raises:
        InputError: If the config has no ``tta_pipeline`` or no ``tta_model``.
    """
    for key in ('tta_pipeline', 'tta_model'):
        if key not in config:
            raise InputError(f'the config has no {key}, which --tta needs')
    config.test_pipeline = config.tta_pipeline
    for _, part in each_dataset((config.get('test_dataloader') or {}).get('dataset'), ''):
        part.pipeline = config.tta_pipeline
    config.model = dict(config.tta_model, module=config.model)
