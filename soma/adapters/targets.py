"""Which layers of a model an adapter config means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from torch import nn

from .blocks import block_index

VIT_TARGETS = r'blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(fc1|fc2|w12|w3))'


class Choice(Protocol):
    """What :func:`find_layers` asks of a config.

    Attributes:
        method: Its name, for messages.
        adapts: What it adapts, in words.
        targets: Regular expression, or several, that fully match a module's dotted name.
        exclude: As ``targets``: what is left out.
        start_block: The first block.
    """

    method: str
    adapts: str
    targets: str | Sequence[str]
    exclude: str | Sequence[str]
    start_block: int

    def layer_class(self, layer: nn.Module) -> type[nn.Module] | None:
        """What stands in the place of a module, None if it cannot be adapted."""


def find_layers(model: nn.Module, config: Choice) -> dict[str, nn.Module]:
    """List the layers to adapt; raise if a pattern is of no use.

    Args:
        model: Where to look.
        config: Which layers.

    Returns:
        Layers by dotted name.

    Raises:
        ValueError: If a pattern or ``start_block`` matches no layer, or a target cannot be adapted.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    targets, excludes = (as_list(name, getattr(config, name)) for name in ('targets', 'exclude'))
    if not targets:
        raise ValueError('targets is empty')
    layers, all_matched = {}, []
    for pattern in targets:
        matched = full_matches('target', pattern, modules)
        if not matched:
            known = [name for name, module in modules.items() if config.layer_class(module)]
            raise ValueError(
                f'target {pattern!r} matches no layer of {type(model).__name__}; '
                f'its layers are named like {known[:5]}'
            )
        all_matched += matched
        later = [name for name in matched if _is_from(name, config.start_block)]
        if not later:
            raise ValueError(
                f'start_block {config.start_block} leaves none of the {len(matched)} '
                f'layers that {pattern!r} matches'
            )
        layers.update((name, modules[name]) for name in later)
    _check_start(all_matched, config.start_block)
    excluded = set()
    for pattern in excludes:
        matched = full_matches('exclude', pattern, layers)
        if not matched:
            raise ValueError(f'exclude {pattern!r} matches none of the {len(layers)} layers')
        excluded.update(matched)
    if excluded == layers.keys():
        raise ValueError(f'exclude {config.exclude!r} leaves none of the {len(layers)} layers')
    layers = {name: module for name, module in layers.items() if name not in excluded}
    for name, module in layers.items():
        if config.layer_class(module) is None:
            raise ValueError(
                f'target {name!r} is a {type(module).__name__}, but {config.method} '
                f'adapts {config.adapts}'
            )
    return layers


def check_groups(groups: Iterable[str], layers: Iterable[str]) -> None:
    """Raise a ``ValueError`` if groups are given for layers that are not there.

    Args:
        groups: Last parts of the names that they are given for.
        layers: Names of the layers to adapt.
    """
    names = {name.rpartition('.')[2] for name in layers}
    if unknown := sorted(set(groups) - names):
        raise ValueError(
            f'groups {unknown} are no names of layers to adapt; the last parts of these are '
            f'{sorted(names)}'
        )


def _check_start(names: Iterable[str], start_block: int) -> None:
    """Raise if ``start_block`` would be of no use, or count something else than blocks."""
    places = {name.partition('blocks.')[0] for name in names if block_index(name) is not None}
    if start_block and len(places) != 1:
        where = ', '.join(f'{place}blocks.<i>' for place in sorted(places)) or 'no blocks.<i>'
        raise ValueError(
            f'start_block {start_block} counts the blocks of one place, but the targets are in '
            f'{where}: choose by targets'
        )


def as_list(option: str, patterns: str | Sequence[str]) -> list[str]:
    """The regular expressions of an option; a ``ValueError`` that names it if there are none."""
    listed = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(listed, list | tuple) or not all(isinstance(p, str) for p in listed):
        raise ValueError(
            f'{option} must be a regular expression or a list of several, got {patterns!r}'
        )
    return list(listed)


def full_matches(option: str, pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern of an option matches whole; a ``ValueError`` if it is none."""
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(f'{option} {pattern!r} is no regular expression: {error}') from error
    return [name for name in names if regex.fullmatch(name)]


def _is_from(name: str, start_block: int) -> bool:
    """Whether a layer stands in no block, or in one from ``start_block`` on."""
    block = block_index(name)
    return block is None or block >= start_block
