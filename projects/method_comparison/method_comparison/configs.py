"""The config of a run: a method's, on the data of a setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from pprint import pformat

from mmengine.config import Config

from soma.io.checkpoint_files import pretrained_file
from soma.utils.config import load_config

from .recipe import Method, Setting


def run_config(method: Method, setting: Setting, seed: int, iterations: int | None) -> dict:
    """Put the data of a setting into a method's config.

    The method's train pipeline stays, for it may be the method. The test stands at the end of the
    training too, as its validation.

    Args:
        method: Whose config it is.
        setting: What to train and to test on.
        seed: Of all randomness.
        iterations: Length of the training, to which the schedule is stretched; None for the
            config's.

    Returns:
        The config, as plain data.

    Raises:
        ValueError: If a file lacks what it is there for.
    """
    keys = ('train_dataloader', 'train_cfg', 'param_scheduler')
    config = _read(method.config, *keys, options=method.options)
    source = _read(setting.source, 'train_dataloader')
    target = _read(setting.target, 'test_dataloader', 'test_evaluator')
    if not pretrained_file(config['model']['backbone'].get('init_cfg')):
        raise ValueError(f'{method.config} names no pretrained weights in model.backbone.init_cfg')
    pipeline = next(datasets(config['train_dataloader']['dataset']))['pipeline']
    for dataset in datasets(source['train_dataloader']['dataset']):
        dataset['pipeline'] = pipeline
    _check_mean(source, target, setting.target)
    target['test_evaluator']['per_image'] = True  # to draw images again
    full = config['train_cfg']['max_iters']
    iterations = iterations or full
    for schedule in config['param_scheduler']:
        for key in ('begin', 'end'):
            if key in schedule:
                schedule[key] = schedule[key] * iterations // full
    config['train_cfg'] |= dict(max_iters=iterations, val_interval=iterations)
    config['default_hooks']['checkpoint']['interval'] = iterations
    config |= dict(
        randomness=dict(seed=seed),
        train_dataloader=source['train_dataloader'],
        val_dataloader=target['test_dataloader'],
        val_evaluator=target['test_evaluator'],
        test_dataloader=target['test_dataloader'],
        test_evaluator=target['test_evaluator'],
    )
    if config.get('visualizer'):
        config['visualizer']['vis_backends'] = [dict(type='LocalVisBackend')]
    return config


def config_text(config: dict, title: str) -> str:
    """A config as a Python file; the title goes into a comment."""
    lines = [
        f'{key} = {pformat(value, width=100, sort_dicts=False)}' for key, value in config.items()
    ]
    return '\n'.join([f'# {title}', *lines, ''])


def datasets(dataset: Mapping) -> Iterator[dict]:
    """The datasets that a dataset of a config joins or repeats; itself if it does neither."""
    if 'dataset' in dataset:
        yield from datasets(dataset['dataset'])
    elif 'datasets' in dataset:
        for part in dataset['datasets']:
            yield from datasets(part)
    else:
        yield dataset


def domains(config: Mapping, split: str) -> list[str]:
    """Names of the domains that a config trains on (``train``) or tests on (``test``)."""
    return [part['domain'] for part in datasets(config[f'{split}_dataloader']['dataset'])]


def _check_mean(source: dict, target: dict, file: Path) -> None:
    """Refuse a test whose mean would count a domain that was trained on."""
    averaged = target['test_evaluator'].get('mean_over') or domains(target, 'test')
    if seen := [name for name in domains(source, 'train') if name in averaged]:
        raise ValueError(
            f'{file} counts {seen[0]}, on which is trained, in the mean over unseen domains: '
            'leave it out of test_evaluator.mean_over'
        )


def _read(path: Path, *keys: str, options: Mapping | None = None) -> dict:
    config = Config.fromfile(str(path))
    if options:
        load_config(path, options)  # refuses those that do not fit
        config.merge_from_dict(dict(options))
    config = config.to_dict()
    if missing := [key for key in keys if key not in config]:
        raise ValueError(f'{path} has no {missing[0]}')
    return config
