"""What may stand on a card."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .base import LARGEST, is_count

# What would reach a terminal as an escape code, or no file at all.
_CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff]')
_LONGEST = 4096  # no text but that of a config has more characters


def _is_texts(value: object) -> bool:
    listed = isinstance(value, list | tuple) and len(value) <= LARGEST
    return listed and all(isinstance(entry, str) for entry in value)


def _is_numbers(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(v, int | float) for v in value)


def _is_colours(value: object) -> bool:
    triples = isinstance(value, list | tuple) and all(
        isinstance(colour, list | tuple) and len(colour) == 3 for colour in value
    )
    return triples and all(is_count(c, 0) and c < 256 for colour in value for c in colour)


def _is_size(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_side, value)) and len(value) == 2


def _is_side(value: object) -> bool:
    return is_count(value) and value <= LARGEST


KINDS: dict[str, Callable[[Any], bool]] = {
    'a text': lambda value: isinstance(value, str),
    'true or false': lambda value: isinstance(value, bool),
    'a whole number': lambda value: is_count(value, 0),
    f'a whole number from 1 to {LARGEST}': _is_side,
    'height and width': _is_size,
    'a list of names': _is_texts,
    'a list of colours, each three numbers from 0 to 255': _is_colours,
    'a dict': lambda value: isinstance(value, Mapping),
    'lists of numbers by name': lambda v: (
        isinstance(v, Mapping) and all(map(_is_numbers, v.values()))
    ),
    'a text or a dict': lambda value: isinstance(value, str | Mapping),
}


def unusable(data: object) -> Iterator[tuple[str, object]]:
    """Find what is no plain data, no number that one can use or no text that one can show.

    Args:
        data: A card as it stands in a file.

    Yields:
        Place (keys, each after a dot) and value.
    """
    remaining, seen = [('', data)], set()
    while remaining:
        place, value = remaining.pop()
        if isinstance(value, Mapping | list | tuple):
            if id(value) in seen:  # it may be in itself
                continue
            seen.add(id(value))
            pairs = [*value.items()] if isinstance(value, Mapping) else [('', v) for v in value]
            yield from ((f'{place}.{key}', key) for key, _ in pairs if not isinstance(key, str))
            yield from ((place, key) for key, _ in pairs if _CONTROL.search(str(key)))
            remaining += [(f'{place}.{key}' if key else place, entry) for key, entry in pairs]
        elif isinstance(value, str):
            is_config = place.rpartition('.')[2] == 'config'  # of many lines
            text = re.sub(r'[\n\t]', '', value) if is_config else value
            if _CONTROL.search(text) or (len(value) > _LONGEST and not is_config):
                yield place, value
        elif isinstance(value, int):
            if (bits := value.bit_length()) > 63:  # Python shows no number of thousands of digits
                yield place, f'{bits} bits'
        elif value is not None and not (isinstance(value, float) and math.isfinite(value)):
            yield place, value
