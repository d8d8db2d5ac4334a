"""Configs that came with a file of weights: read without running code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from ..io.files import InputError
from .shared_config import prediction_config

if TYPE_CHECKING:
    from mmengine.config import Config


def shared_config(text: str, source: str) -> Config:
    """Read what predicting needs of the text of a config that others may have made.

    The arguments are those of :func:`parse_config`.

    Raises:
        InputError: As :func:`parse_config` and :func:`~soma.utils.shared_config.prediction_config`.
    """
    from mmengine.config import Config

    return Config(prediction_config(parse_config(text, source).to_dict(), source))


def parse_config(text: str, source: str) -> Config:
    """Read the text of a dumped config as data.

    A config file is Python, which could do anything. A dumped one has assignments of numbers,
    texts, lists and ``dict(...)`` only, and these are all that is read here.

    Args:
        text: As ``Config.pretty_text`` writes it.
        source: Where it is from, for messages.

    Raises:
        InputError: If anything else stands there.
    """
    from mmengine.config import Config

    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f'{source}: its config is no Python text ({error})') from error
    values = {}
    try:
        for node in body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if name != '_base_':
                    values[name] = _data(value, source)
                case _:
                    _refuse(node, source)
        return Config(values)
    except (TypeError, KeyError, RecursionError) as error:  # no keys of a config
        raise InputError(f'{source}: its config cannot be used ({error})') from error


def _data(node: ast.expr, source: str) -> object:
    """The value of an expression that calls nothing but ``dict``."""
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.List(elts=items):
            return [_data(item, source) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_data(item, source) for item in items)
        case ast.Set(elts=items):
            return {_data(item, source) for item in items}
        case ast.Dict(keys=keys, values=items) if None not in keys:
            pairs = zip(keys, items, strict=True)
            return {_data(key, source): _data(item, source) for key, item in pairs}
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=items):
            if all(item.arg for item in items):
                return {item.arg: _data(item.value, source) for item in items}
        case ast.Call(func=ast.Name(id='dict'), args=[ast.Dict() as content], keywords=[]):
            return _data(content, source)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    return _refuse(node, source)


def _refuse(node: ast.AST, source: str) -> None:
    raise InputError(
        f'{source}: its config has {ast.unparse(node)[:60]!r} in line {node.lineno}, which would '
        'have to be run: name a config file of your own'
    )


@contextmanager
def only_registered() -> Iterator[None]:
    """Let mmengine build registered classes only.

    By default a ``type`` such as ``'subprocess.run'`` is imported and called.
    """
    with patch('mmengine.registry.registry.get_object_from_string', lambda name: None):
        yield
