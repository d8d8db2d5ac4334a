"""The config of a run: a method's, on the data of a setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from pprint import pformat

from mmengine.config import Config

from soma.io.checkpoint_files import pretrained_file
from soma.utils.config import load_config, runner_keys

from .recipe import Method, Setting

_OURS = ('randomness', 'train_cfg', 'val_dataloader', 'val_evaluator')


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
    config = _read(method.config, 'train_dataloader', 'train_cfg', 'param_scheduler')
    source = _read(setting.source, 'train_dataloader')
    target = _read(setting.target, 'test_dataloader', 'test_evaluator')
    if not pretrained_file(config['model']['backbone'].get('init_cfg')):
        raise ValueError(f'{method.config} names no pretrained weights in model.backbone.init_cfg')
    _check_domains(source, target, setting)
    pipeline = next(datasets(config['train_dataloader']['dataset']))['pipeline']
    for dataset in datasets(source['train_dataloader']['dataset']):
        dataset['pipeline'] = pipeline
    target['test_evaluator']['per_image'] = True  # to draw images again
    config['train_dataloader'] = source['train_dataloader']
    config |= {key: target[key] for key in ('test_dataloader', 'test_evaluator')}
    config = _with_options(config, method)
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
        val_dataloader=config['test_dataloader'],
        val_evaluator=config['test_evaluator'],
    )
    if config.get('visualizer'):
        config['visualizer']['vis_backends'] = [dict(type='LocalVisBackend')]
    # Variables of config files are no settings of the run.
    return {key: value for key, value in config.items() if key in runner_keys()}


def _with_options(config: dict, method: Method) -> dict:
    merged = Config(config)
    merged.merge_from_dict(dict(method.options))
    return merged.to_dict()


def check_options(method: Method) -> None:
    """Refuse options that do not fit the config of a method.

    Raises:
        InputError: If one names what the config has not.
        ValueError: If one is for the comparison to say.
    """
    if method.options:
        load_config(method.config, method.options)
    for option in method.options:
        if option.split('.')[0] in _OURS:
            raise ValueError(f"{option} is the comparison's own, and no option of a method")


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


def _check_domains(source: dict, target: dict, setting: Setting) -> None:
    """Refuse a mean that counts a domain that was trained on, or a group of others than tested."""
    tested = domains(target, 'test')
    averaged = target['test_evaluator'].get('mean_over') or tested
    if seen := [name for name in domains(source, 'train') if name in averaged]:
        raise ValueError(
            f'{setting.target} counts {seen[0]}, on which is trained, in the mean over unseen '
            'domains: leave it out of test_evaluator.mean_over'
        )
    for group, members in setting.groups.items():
        if unknown := [name for name in members if name not in tested]:
            raise ValueError(f'{setting.target} does not test {unknown[0]} of the group {group}')


_parse = cache(Config.fromfile)  # many runs share a file


def _read(path: Path, *keys: str) -> dict:
    config = _parse(str(path)).to_dict()
    if missing := [key for key in keys if key not in config]:
        raise ValueError(f'{path} has no {missing[0]}')
    return config
