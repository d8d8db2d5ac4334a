"""The file that says what to compare."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.config import Config


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        config: Its config file; of an average, that of the first method it averages.
        options: What changes in that config, by dotted key.
        average: Names of the methods whose backbones it averages; none if it trains.
        note: What its name does not say, for the report.
    """

    config: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    average: tuple[str, ...] = ()
    note: str = ''


@dataclass(frozen=True)
class Setting:
    """What to train on and what to test on.

    Attributes:
        source: Config file with the ``train_dataloader``; its pipeline does not count.
        target: Config file with ``test_dataloader`` and ``test_evaluator``.
        title: What the report says that was trained on.
        groups: Further means: domains by the name of the mean.
    """

    source: Path
    target: Path
    title: str
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What a comparison is made of, as its file says it.

    Attributes:
        name: That of its file.
        methods: By name, in the order of the tables.
        settings: By name.
        seeds: One run of each method and setting for each.
        iterations: Length of a training; None for that of each method's config.
        chosen: Names of the settings that run unless others are asked for.
        introduction: Beginning of the report, Markdown.
        baselines: Names of the methods that the others are compared with.
        claims: What is said of two methods, ``dict(claim, method, against, source)``: that the
            first scores higher than the second.
    """

    name: str
    methods: Mapping[str, Method]
    settings: Mapping[str, Setting]
    seeds: tuple[int, ...]
    iterations: int | None
    chosen: tuple[str, ...]
    introduction: str
    baselines: tuple[str, ...] = ()
    claims: tuple[Mapping[str, str], ...] = ()


def read_recipe(
    path: str | os.PathLike,
    changes: Mapping[str, Any] | None = None,
    added: Sequence[str] = (),
) -> Recipe:
    """Read a recipe: a Python file with ``methods``, ``settings`` and what else it wants to say.

    ``methods`` has ``dict(config=FILE)`` or ``dict(average=[NAMES])`` by name, either with a
    ``note``, the first with ``options`` as ``--cfg-options`` has them; ``options`` of the recipe
    are for all methods. ``settings`` has ``dict(source=FILE, target=FILE)`` by name, perhaps with
    a ``title`` and ``groups``. Files are relative to the recipe. ``seeds``, ``iterations``,
    ``chosen``, ``introduction``, ``baselines`` and ``claims`` are as in :class:`Recipe`; the braces
    of the introduction may hold ``spread``, ``methods`` and ``iterations``.

    Args:
        path: The file.
        changes: Further ``options`` for all methods, above those of the recipe.
        added: Further methods, ``name=config file``, relative to the current folder.

    Raises:
        FileNotFoundError: If it, or a config that it names, is not there.
        ValueError: If it lacks something, or names an unknown method or setting.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no recipe {path}')
    content = Config.fromfile(str(path)).to_dict()

    for text in added:
        name, equals, config = text.partition('=')
        if not equals or name in content.get('methods', ()):
            raise ValueError(f'{text!r} must be NAME=CONFIG, with a name that the recipe has not')
        content.setdefault('methods', {})[name] = dict(config=os.path.abspath(config))
    _check_keys(path, content)
    methods, settings = _methods(path, content, changes or {}), {}
    for name, options in content['settings'].items():
        files = (_file(path, f'settings[{name!r}]', options, key) for key in ('source', 'target'))
        settings[name] = Setting(*files, options.get('title', name), options.get('groups', {}))
    recipe = Recipe(
        path.stem,
        methods,
        settings,
        tuple(content.get('seeds', (0, 1, 2))),
        content.get('iterations'),
        tuple(content.get('chosen', settings)),
        content.get('introduction', '# {methods}'),
        tuple(content.get('baselines', ())),
        tuple(content.get('claims', ())),
    )
    _check_names(path, recipe)
    return recipe


def _check_keys(path: Path, content: Mapping) -> None:
    """Refuse what nothing would read; a recipe may have variables of its own."""
    known = {field.name for field in fields(Recipe)} - {'name'} | {'options'}
    for key in content:
        if key not in known and (close := get_close_matches(key, known, 1, 0.85)):
            raise ValueError(f'{path}: nothing reads {key!r}: is it {close[0]!r}?')
    for key, kind in {'methods': Method, 'settings': Setting}.items():
        if not content.get(key):
            raise ValueError(f'{path} needs {key}')
        known = {field.name for field in fields(kind)}
        for name, options in content[key].items():
            if unknown := [option for option in options if option not in known]:
                raise ValueError(f'{path}: nothing reads {unknown[0]!r} of {key}[{name!r}]')
            if 'average' in options and not options.keys() <= {'average', 'note'}:
                raise ValueError(f'{path}: {key}[{name!r}] averages others: leave its config out')


def _methods(path: Path, content: Mapping, changes: Mapping) -> dict[str, Method]:
    methods = {}
    for name, options in content['methods'].items():
        average = tuple(options.get('average', ()))
        if unknown := [
            part for part in average if 'config' not in content['methods'].get(part, ())
        ]:
            raise ValueError(f'{path}: {name} averages {unknown[0]}, which has no config there')
        trained = content['methods'][average[0]] if average else options
        methods[name] = Method(
            _file(path, f'methods[{name!r}]', trained, 'config'),
            {**content.get('options', {}), **trained.get('options', {}), **changes},
            average,
            options.get('note', ''),
        )
    return methods


def _file(path: Path, owner: str, options: Mapping, key: str) -> Path:
    if key not in options:
        raise ValueError(f'{path}: {owner} needs {key}=FILE')
    config = Path(os.path.normpath(path.absolute().parent / options[key]))
    if not config.is_file():
        raise FileNotFoundError(f'{path}: {owner} has {key}={str(config)!r}, which is no file')
    return config


def _check_names(path: Path, recipe: Recipe) -> None:
    if unknown := [name for name in recipe.chosen if name not in recipe.settings]:
        raise ValueError(f'{path}: chosen has {unknown[0]}, which is none of the settings')
    named = [('baselines', name) for name in recipe.baselines]
    for claim in recipe.claims:
        if missing := [key for key in ('claim', 'method', 'against') if key not in claim]:
            raise ValueError(f'{path}: the claim {dict(claim)} needs {missing[0]}')
        named += [(f'the claim {claim["claim"]!r}', claim[key]) for key in ('method', 'against')]
    for place, name in named:
        if name not in recipe.methods:
            raise ValueError(f'{path}: {place} has {name}, which is none of the methods')
