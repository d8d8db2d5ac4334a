"""What of a config others need to predict, and what a config that came from others may not say.

OpenMMLab's classes read files that arguments name, some of them as Python or as pickles, evaluate
texts and import the package that a type begins with. So a shared config has names and numbers only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress

from ..io.files import InputError
from .config import test_dataset

_KEPT = ('default_scope', 'custom_imports', 'model', 'test_pipeline', 'tta_model', 'tta_pipeline')
# Of no use with all weights at hand: which to load, what to freeze.
_DROPPED = ('init_cfg', 'pretrained', 'load_from', 'frozen_parameters')
_PACKAGES = {'mmengine', 'mmcv', 'mmseg', 'mmdet', 'mmpretrain'}
_SCOPES = ('default_scope', '_scope_', 'scope')
_NAME = re.compile(r'\w+(\.\w+)*')
# Neither paths and addresses nor what eval() could call with.
_TEXT = re.compile(r'[\w .,+*#-]*')
_READ = re.compile(
    r'.*\.(py|json|ya?ml|pkl|pickle|np[yz]|pth?|bin|txt|xml)|pickle|trust_remote_code', re.I
)


def prediction_config(config: Mapping, source: str) -> dict:
    """Take what predicting needs out of a config, and make sure that it reads and runs nothing.

    Args:
        config: Plain data.
        source: Where it is from, for messages.

    Returns:
        Model, pipelines, scope and the names of the modules to import, which mmengine imports of
        config files alone. Of all weights to load only those of the backbone are named.

    Raises:
        InputError: If there is no model or pipeline, or a value is no name or number.
    """
    values = {key: _without_weights(config[key]) for key in _KEPT if config.get(key)}
    model = values.get('model')
    if not isinstance(model, dict) or not isinstance(model.get('backbone', {}), dict):
        raise InputError(f'{source}: its config has no model: name a config file of your own')
    if 'test_pipeline' not in values:
        with suppress(AttributeError, TypeError):  # of what has another form
            values['test_pipeline'] = _without_weights(test_dataset(config).get('pipeline'))
    steps = values.get('test_pipeline')
    typed = isinstance(steps, list) and all(
        isinstance(step, dict) and isinstance(step.get('type'), str) for step in steps
    )
    if not typed or not steps:
        raise InputError(f'{source}: its config has no test_pipeline that is a list of transforms')
    backbone = model.get('backbone', {})
    adapter = backbone.pop('adapter', None)  # has patterns; its method checks it
    _check(values, source, '')
    if adapter is not None:
        backbone['adapter'] = adapter
    originals = backbones(config['model'])
    for kept, original in zip(backbones(model), originals, strict=True):
        if base := _base(original.get('init_cfg')):
            kept['init_cfg'] = base
    return values


def backbones(model: Mapping) -> Iterator[dict]:
    """Yield the config of a model's backbone, and of the one that it wraps."""
    part = model.get('backbone')
    while isinstance(part, Mapping):
        yield part
        part = part.get('backbone')


def _without_weights(node: object) -> object:
    """A copy without what is of use in training alone."""
    if isinstance(node, Mapping):
        return {k: _without_weights(value) for k, value in node.items() if k not in _DROPPED}
    if isinstance(node, list | tuple):
        return type(node)(map(_without_weights, node))
    return node


def _base(init_cfg: object) -> dict | None:
    """The part of an ``init_cfg`` that names pretrained weights."""
    for entry in init_cfg if isinstance(init_cfg, list) else [init_cfg]:
        if isinstance(entry, Mapping) and entry.get('type') == 'Pretrained':
            names = {key: entry.get(key) for key in ('checkpoint', 'prefix')}
            return {'type': 'Pretrained', **{k: v for k, v in names.items() if isinstance(v, str)}}
    return None


def _check(node: object, source: str, place: str, key: object = None) -> None:
    """Raise an ``InputError`` for a text that is no plain name."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            inner = f'{place}.{name}'.lstrip('.')
            _check(name, source, f'{place}, a key,')
            _check(value, source, inner, name)
    elif isinstance(node, list | tuple | set):
        for value in node:
            _check(value, source, place, key)
    elif isinstance(node, str) or key in _SCOPES[:2]:
        if key in _SCOPES:
            fits = node in _known_scopes()
        elif key == 'type':
            scope, dot, _ = node.partition('.')
            fits = _NAME.fullmatch(node) and (not dot or scope in _known_scopes())
        else:
            fits = _TEXT.fullmatch(node) and not _READ.fullmatch(node)
        if not fits:
            raise InputError(
                f'{source}: its config has {place} = {ascii(node)[:60]}, which could read files or '
                'run code: a shared config may not have it, a config file of your own may'
            )


def _known_scopes() -> set[str]:
    """Names of the packages that mmengine may import when it looks for a class."""
    from mmengine.registry import MODELS

    return {*_PACKAGES, *MODELS.children}
