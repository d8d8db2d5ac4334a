"""Configs: read one, point its paths at the right folders."""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from glob import escape, glob
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from ..io.files import InputError
from .num_classes import write_num_classes

if TYPE_CHECKING:  # who only parses arguments need not wait for it
    from mmengine.config import Config

REPOSITORY = Path(__file__).resolve().parents[2]
# Keys at the top that others than mmengine's runner itself read.
_OTHER_KEYS = (
    'runner_type',
    'average',
    'num_classes',
    'load_heads',
    'custom_imports',
    'tta_model',
    'tta_pipeline',
    'test_pipeline',
    'activation_checkpointing',
    'efficient_conv_bn_eval',
    'compile',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'strategy',
    'sync_bn',
)
# What a test takes from another config.
TEST_DATA = ('test_dataloader', 'test_evaluator', 'tta_pipeline')
PACKED = 'shards://'  # before the path of a packed folder
_PATH_KEYS = ('data_root', 'mixing_set', 'checkpoint', 'load_from')


def each_dataset(config: Mapping | None, place: str) -> Iterator[tuple[str, Mapping]]:
    """Dotted key and config of each dataset, those in ``ConcatDataset`` ... one by one.

    Args:
        config: The ``dataset`` of a data loader.
        place: Its dotted key.
    """
    if not config:
        return
    if 'datasets' in config:
        for index, child in enumerate(config['datasets']):
            yield from each_dataset(child, f'{place}.datasets.{index}')
    elif 'dataset' in config:
        yield from each_dataset(config['dataset'], f'{place}.dataset')
    else:
        yield place, config


def test_dataset(config: Mapping) -> Mapping:
    """The first dataset that a config tests on; {} without one."""
    data = (config.get('test_dataloader') or {}).get('dataset')
    return next((dataset for _, dataset in each_dataset(data, '')), {})


def metainfo_of(dataset: Mapping) -> dict:
    """The classes and colours of the config of a dataset, whose files need not be there."""
    from mmengine.registry import DATASETS

    with DATASETS.switch_scope_and_registry(None) as registry:
        return registry.build({**dataset, 'pipeline': [], 'lazy_init': True}).metainfo


def check_config_file(path: str | os.PathLike) -> Path:
    """Make sure that there is a config file, before what reads it is imported.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f'{path} is a folder: name a config file (tools/new_config.py writes one)')
    if not path.is_file():
        raise FileNotFoundError(f'no config file {path}')
    return path


def runner_keys() -> set[str]:
    """The keys at the top of a config that something reads; the others are variables of its own."""
    from mmengine.runner import Runner

    return {*inspect.signature(Runner.__init__).parameters, *_OTHER_KEYS} - {'self', 'cfg'}


def load_config(path: str | os.PathLike, options: Mapping | None = None) -> Config:
    """Read a config file.

    Relative ``data_root``, ``mixing_set``, ``checkpoint`` and ``load_from`` are looked for in the
    current folder, then in the repository, so that scripts work from any folder. The name of
    ``load_from`` may be a pattern, ``best_*.pth``, that one file fits when training starts.
    ``num_classes`` at the top is that of all heads (:func:`~.num_classes.write_num_classes`).

    Args:
        path: The file.
        options: Values that replace the file's, by dotted key (``--cfg-options``). The file and
            its bases are evaluated with those of their variables (``fold=2``).

    Returns:
        The config. ``work_dir`` defaults to ``work_dirs/<name of the file>``.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it cannot be read, an option does not fit it, or a key at its top is unknown.
    """
    path, options, known = check_config_file(path), dict(options or {}), runner_keys()
    from mmengine.config import Config

    try:
        with _evaluated_with(without_keys(options, known | {'_base_'})) as evaluated:
            config = Config.fromfile(str(path))
    except Exception as error:  # a config is Python, which can raise anything
        reason = f'{type(error).__name__}: {error}'.partition('\n')[0]
        raise InputError(f'{path} cannot be read: {reason}') from error
    _check_keys(config, [key for key in options if key not in evaluated], known, path)
    try:
        config.merge_from_dict(options)
    except (KeyError, TypeError, AttributeError) as error:  # a place that is not there
        reason = error.args[0] if error.args else error
        raise InputError(f'--cfg-options does not fit {path}: {reason}') from error
    try:
        write_num_classes(config, options)
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    resolve_paths(config)
    if config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / path.stem)
    return config


@contextmanager
def _evaluated_with(options: Mapping) -> Iterator[set[str]]:
    """Have mmengine evaluate config files with other values of their variables.

    Yields:
        At the end the names of those that replaced all values of a variable that a file reads.
    """
    from mmengine.config.config import RemoveAssignFromAST

    values, replaced, read, kept = {}, set(), set(), set()
    for name, option in options.items():
        with suppress(ValueError, SyntaxError):  # no literal, such as inf
            ast.literal_eval(code := ast.parse(repr(option), mode='eval'))
            values[name] = code.body

    class Replacing(RemoveAssignFromAST):
        def visit_Module(self, module: ast.Module) -> ast.AST:
            written = Counter()
            for node in module.body:
                match node:
                    case ast.Assign(targets=[ast.Name(id=name)]) if name in values:
                        node.value = ast.copy_location(values[name], node.value)
                        written[name] -= 1
                        replaced.add(name)
            for node in ast.walk(module):
                match node:
                    case ast.Name(id=name, ctx=ast.Store()):
                        written[name] += 1
                    case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(str(name)):
                        # mmengine writes _KEY_1a2b3c for {{_base_.KEY}}
                        read.add(re.sub(r'^_(\w+)(\.[\w.]+)?_[0-9a-f]{6}$', r'\1', name))
            kept.update(+written)
            return self.generic_visit(ast.fix_missing_locations(module))

    with patch('mmengine.config.config.RemoveAssignFromAST', Replacing):
        yield replaced
    replaced.intersection_update(read - kept)


def _check_keys(config: Config, options: Iterable[str], known: set[str], path: Path) -> None:
    """Refuse keys at the top that nothing reads, and options that come too late.

    A config may have variables of its own: one that is almost a known key is an error.
    """
    for key in config:
        close = get_close_matches(key, known, 1, 0.9)
        if close and not key.startswith(tuple(known)):  # as test_dataloader2 does
            raise InputError(f'{path}: nothing reads the key {key!r}: is it {close[0]!r}?')
    for key in options:
        top = key.split('.')[0]
        if top in known:
            continue
        if top not in config:
            close = get_close_matches(top, known | config.keys(), 1)
            hint = f': is it {close[0]!r}?' if close else ''
            raise InputError(f'--cfg-options {key}: nothing reads the key {top!r}{hint}')
        raise InputError(
            f'--cfg-options {key}: {top} is a variable of {path} that no option reaches: set the '
            'keys that are made of it, or write it there'
        )


def without_keys(options: Mapping | None, keys: Iterable[str]) -> dict:
    """Options without those whose first key is one of some keys at the top of a config."""
    return {key: v for key, v in (options or {}).items() if key.split('.')[0] not in keys}


def resolve_paths(node) -> None:
    """Make relative paths absolute that exist in the repository but not in the current folder."""
    items = enumerate(node) if isinstance(node, list | tuple) else node.items()
    for key, value in list(items):
        if isinstance(value, Mapping | list | tuple):
            resolve_paths(value)
        elif key in _PATH_KEYS and isinstance(value, str):
            path = value.removeprefix(PACKED)
            elsewhere = REPOSITORY / path
            if matching_files(elsewhere) and not matching_files(path):
                node[key] = value.removesuffix(path) + str(elsewhere)


def path_from(file: Path, folder: Path) -> str:
    """A file of the repository as seen from a folder in it; from elsewhere its whole path."""
    inside = folder.resolve().is_relative_to(REPOSITORY)
    return os.path.relpath(file, folder) if inside else str(file)


def matching_files(path: str | os.PathLike) -> list[Path]:
    """The file or folder of that path, if there is one; those that fit a name with ``*``."""
    path = Path(path)
    if path.exists() or '*' not in path.name:
        return [path] if path.exists() else []
    return sorted(Path(file) for file in glob(os.path.join(escape(str(path.parent)), path.name)))
