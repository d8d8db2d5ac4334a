"""Writes the one ``num_classes`` of a config into all of its heads; compares them with data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..io.files import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

# Parts of a model that count something else, and those whose heads get the number without having
# one yet.
_OTHERS = {'backbone', 'neck', 'rpn_head', 'semantic_head'}
_OF_CLASSES = re.compile('(decode|auxiliary|bbox|mask|query|atss)_head')


def write_num_classes(config: Config | Mapping, options: Mapping | None = None) -> None:
    """Make the heads of a config, in place, as wide as its ``num_classes`` says, if it says it.

    Lists of ``class_weight`` get a weight for each class: those of equal weights, and those whose
    last one, of no object, differs (Mask2Former).

    Args:
        config: The config.
        options: What has been put into it by dotted key (``--cfg-options``).

    Raises:
        InputError: If it is no number of classes, no head is there for it, a ``class_weight`` has
            different weights for another number of classes, or an option says another number.
    """
    count, model = config.get('num_classes'), config.get('model')
    if count is None:
        return
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise InputError(f'num_classes must be a whole number of at least 1, got {count!r}')
    if not model:
        return  # of data alone
    for key, value in (options or {}).items():
        if re.fullmatch(r'model\..*_head(\.\d+)?\.num_classes', key) and value != count:
            raise InputError(
                f'{key}={value}, but num_classes = {count} at the top of the config is that of all '
                f'heads: change it there, or by --cfg-options num_classes={value}'
            )
    heads = dict(heads_of(model))
    for place, head in heads.items():
        before = head.get('num_classes')
        head['num_classes'] = count
        _write_weights(head, place, before, count)
    if not heads and not _is_panoptic(model, count):
        raise InputError(f'num_classes = {count}, but the model has no head with classes')


def check_count(head: str, count: object, meta: Mapping, place: str) -> None:
    """Check that a head tells as many classes apart as data has.

    Args:
        head: Its dotted key.
        count: Its ``num_classes``; what is no number passes.
        meta: What the data says of itself, with ``classes``.
        place: Where the config has the data.

    Raises:
        InputError: If it is another number.
    """
    names = [*meta['classes']]
    kinds = ('classes', 'thing_classes', 'stuff_classes')
    if isinstance(count, int) and count not in {len(meta[kind]) for kind in kinds if kind in meta}:
        listed = ', '.join([*names[:3], '...'] if len(names) > 3 else names)
        raise InputError(
            f'{head}.num_classes is {count}, but the data of {place} has {len(names)} classes: '
            f'{listed}; write num_classes = {len(names)} at the top of the config'
        )


def heads_of(node: object, place: str = 'model') -> Iterator[tuple[str, dict]]:
    """Dotted key and config of each head with classes, those in other heads too."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    for key, value in items:
        if key in _OTHERS or not isinstance(value, Mapping | list | tuple):
            continue
        inner = f'{place}.{key}'
        name = key if isinstance(key, str) else place.rpartition('.')[2]  # of a list of heads
        if isinstance(value, Mapping) and name.endswith('_head') and 'type' in value:
            holds_heads = any(str(part).endswith('_head') for part in value)
            of_classes = _OF_CLASSES.fullmatch(name) and not holds_heads
            borders = 'boundary_threshold' in value  # mmseg's STDCHead
            if ('num_classes' in value or of_classes) and not borders:
                yield inner, value
        yield from heads_of(value, inner)


def _is_panoptic(model: Mapping, count: int) -> bool:
    """Whether a panoptic head, which has two numbers, has as many classes."""
    head = model.get('panoptic_head', {})
    return head.get('num_things_classes', 0) + head.get('num_stuff_classes', 0) == count


def _write_weights(node: object, place: str, before: int | None, count: int) -> None:
    """Make each ``class_weight`` of a head as long as its number of classes."""
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        inner = f'{place}.{key}'
        if key == 'class_weight' and isinstance(value, list | tuple):
            node[key] = _weights(list(value), inner, before, count)
        elif isinstance(value, Mapping | list | tuple) and not str(key).endswith('_head'):
            _write_weights(value, inner, before, count)


def _weights(weights: list[float], place: str, before: int | None, count: int) -> list[float]:
    if before is None:
        before = len(weights) if len({*weights}) == 1 else len(weights) - 1
    of_classes, of_none = weights[:before], weights[before:]
    is_old = before != count and len(weights) in (before, before + 1)
    if is_old and len({*of_classes}) == 1:
        return of_classes[:1] * count + of_none
    if len(weights) in (count, count + 1):
        return weights
    raise InputError(
        f'{place} has {len(weights)} weights, and num_classes is {count}: write {count} of them, '
        'and one for no object if the head has it'
    )
