"""Name the key of a config that something could not be built from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from ..io.files import InputError

if TYPE_CHECKING:
    from mmengine.config import Config


def plain_config(config: Config | Mapping) -> Mapping:
    """The keys and values of a config as plain data."""
    return config if isinstance(config, Mapping) else config.to_dict()


@contextmanager
def naming_keys(config: Config | Mapping) -> Iterator[None]:
    """Name the key of a config that something could not be built from.

    An error of anything that mmengine's registries build counts as one of the config.

    Args:
        config: What it is built from.

    Raises:
        InputError: In the place of such an error.
    """
    try:
        yield
    except OSError:  # it names its file
        raise
    except Exception as error:
        place = _place(error.__traceback__, plain_config(config))
        if place is None:
            raise
        reason = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        if unknown := re.match(r'(.+ is not in the .+ registry)\. ', reason):
            raise InputError(f'{place}: {unknown[1]}') from error
        kind = '' if reason and isinstance(error, ValueError) else f'{type(error).__name__}: '
        refused = type(error) if isinstance(error, InputError) else InputError
        raise refused(f'{place}: {kind}{" ".join(reason.split())}') from error


def _place(traceback: TracebackType | None, config: Mapping) -> str | None:
    """Dotted key of the innermost part of a config that was being built; None if none was."""
    place, built = '', False
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
        code = frame.f_code
        if not code.co_name.startswith('build') or not _is_of_mmengine(frame):
            continue
        built = True
        arguments = (frame.f_locals.get(n) for n in code.co_varnames[: code.co_argcount])
        part = next((value for value in arguments if isinstance(value, Mapping)), None)
        place = _find(config, part or {}, place) or place
    return (place or 'the config') if built else None


def _is_of_mmengine(frame: FrameType) -> bool:
    return frame.f_globals.get('__name__', '').startswith('mmengine.')


def _find(config: Mapping, part: Mapping, place: str) -> str | None:
    """Dotted key of what something was built from; the nearest below a place, if there is one."""
    parts = [*_parts(config)]
    parts.sort(key=lambda item: not f'{item[0]}.'.startswith(f'{place}.'))
    # Builders add to what they are given, and take from it.
    equal = [key for key, value in parts if value == part]
    return next(iter(equal + [k for k, v in parts if v.get('type') == part.get('type', v)]), None)


def _parts(node: object, key: str = '') -> Iterator[tuple[str, Mapping]]:
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    for name, value in items:
        place = f'{key}.{name}' if key else str(name)
        if isinstance(value, Mapping):
            yield place, value
        if isinstance(value, Mapping | list | tuple):
            yield from _parts(value, place)
