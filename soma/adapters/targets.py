"""Which layers of a model an adapter config means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from torch import nn

from .base import LARGEST
from .blocks import block_name, number_blocks, number_layers, stack_name
from .lending import named_layers
from .patterns import as_list, full_matches
from .presets import preset_names
from .saved import find_saved, is_inside

AUTO, ALL_LINEAR = 'auto', 'all-linear'
# The last layer of a classifier, as timm, torchvision and transformers call it.
_OUTPUT = re.compile(
    r'(head|heads|head_dist|fc|score|classifier|(cls|distillation)_classifier)(\.(head|fc|\d+))?'
)


class Choice(Protocol):
    """What :func:`find_layers` asks of a config.

    Attributes:
        method: Its name, for messages.
        adapts: What it adapts, in words.
        adapts_norms: Whether normalisations are among its targets by default.
        targets: Regular expression, or several, that fully match a module's dotted name; or
            :data:`AUTO`, the layers of a known family, or :data:`ALL_LINEAR`.
        exclude: As ``targets``: what is left out.
        start_block: The first block.
        modules_to_save: As ``targets``: what trains whole, and is not adapted.
    """

    method: str
    adapts: str
    adapts_norms: bool
    targets: str | Sequence[str]
    exclude: str | Sequence[str]
    start_block: int
    modules_to_save: str | Sequence[str]

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
    modules, blocks = named_layers(model), number_blocks(model)
    numbers = number_layers(modules, blocks)
    layers, all_matched = {}, []
    for pattern, matched in _match(model, modules, config).items():
        all_matched += matched
        later = [n for n in matched if numbers.get(n, LARGEST) >= config.start_block]
        if not later:
            raise ValueError(
                f'start_block {config.start_block} leaves none of the {len(matched)} '
                f'layers that {pattern!r} matches'
            )
        layers.update((name, modules[name]) for name in later)
    _check_start({n for n in all_matched if block_name(n) in blocks}, config.start_block)
    excluded = set()
    for pattern in as_list('exclude', config.exclude):
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


def _match(model: nn.Module, modules: dict[str, nn.Module], config: Choice) -> dict[str, list[str]]:
    """The names that each of the targets matches.

    Raises:
        ValueError: If one matches none.
    """
    targets = as_list('targets', config.targets)
    if not targets:
        raise ValueError('targets is empty')
    known = [name for name, module in modules.items() if config.layer_class(module)]
    about = f'{type(model).__name__}; its layers are named like {known[:5]}'
    if config.targets not in (AUTO, ALL_LINEAR):
        matches = {pattern: full_matches('target', pattern, modules) for pattern in targets}
        if missing := [pattern for pattern, names in matches.items() if not names]:
            raise ValueError(f'target {missing[0]!r} matches no layer of {about}')
        return matches
    saved = find_saved(model, config.modules_to_save)
    known = [name for name in known if not is_inside(name, saved)]
    if config.targets == AUTO:
        names = preset_names(known, config.adapts_norms)
        if not names:
            raise ValueError(
                f'no targets are given, and none are known for {about}: give a regular expression, '
                f'or targets={ALL_LINEAR!r}'
            )
    else:
        outputs = _output_layers(model)
        linear = [name for name in known if isinstance(modules[name], nn.Linear)]
        names = [n for n in linear if modules[n] not in outputs and not _OUTPUT.fullmatch(n)]
        if not names:
            raise ValueError(f'targets {ALL_LINEAR!r} finds no linear layer to adapt in {about}')
    return {config.targets: names}


def _output_layers(model: nn.Module) -> set[nn.Module]:
    """The classifiers that networks of timm tell of, wherever they stand in a model."""
    outputs = set()
    for module in model.modules():
        if callable(classifier := getattr(module, 'get_classifier', None)):
            parts = classifier()
            outputs.update(parts if isinstance(parts, list | tuple) else [parts])
    return outputs


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
    stacks = {stack for name in names if (stack := stack_name(name))}
    if start_block and len(stacks) != 1:
        where = ', '.join(f'{stack}.<i>' for stack in sorted(stacks)) or 'no blocks.<i>'
        raise ValueError(
            f'start_block {start_block} counts the blocks of one place, but the targets are in '
            f'{where}: choose by targets'
        )
