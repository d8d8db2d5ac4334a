"""Put adapters into any ``nn.Module``, and take them out again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from torch import nn

from .report import AdapterReport, adapter_report, block_index
from .soma import SoMAConv2d, SoMALayer, SoMALinear
from .split import split_layers
from .svd import COMPONENTS

VIT_TARGETS = r'blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(fc1|fc2|w12|w3))'


@dataclass(frozen=True)
class SoMAConfig:
    """Settings of a SoMA adapter, the ``adapter`` dict of a config.

    Attributes:
        rank: Number of singular components that train, per matrix.
        alpha: The adapter is scaled by ``alpha / rank``; None means ``alpha = rank``.
        start_block: The first ``blocks.<i>`` that is adapted.
        targets: Regular expression, or several, that fully match a module's dotted name. The
            default matches the linear layers of a vision transformer's blocks.
        train_bias: Whether the biases of adapted layers train.
        component: ``'minor'`` (SoMA), ``'principal'`` or ``'random'``.
        groups: How many matrices are stacked in the layers of a name, by the last part of it.
    """

    rank: int = 16
    alpha: float | None = None
    start_block: int = 0
    targets: str | Sequence[str] = VIT_TARGETS
    train_bias: bool = True
    component: str = 'minor'
    groups: Mapping[str, int] = field(default_factory=lambda: {'qkv': 3})

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            ValueError: If a value is out of range.
        """
        if self.rank < 1:
            raise ValueError(f'adapter: rank must be at least 1, got {self.rank}')
        if self.start_block < 0:
            raise ValueError(f'adapter: start_block must be at least 0, got {self.start_block}')
        if self.component not in COMPONENTS:
            raise ValueError(
                f'adapter: component must be one of {COMPONENTS}, got {self.component!r}'
            )

    @property
    def patterns(self) -> list[str]:
        """The targets as a list."""
        return [self.targets] if isinstance(self.targets, str) else list(self.targets)


ADAPTERS = {'SoMA': SoMAConfig}
# What can be adapted. A class that only derives from these may compute something else.
LAYERS: dict[type[nn.Module], type[SoMALayer]] = {nn.Linear: SoMALinear, nn.Conv2d: SoMAConv2d}


def parse_adapter(config: Mapping | SoMAConfig) -> SoMAConfig:
    """Validate an adapter config.

    Args:
        config: ``dict(type='SoMA', rank=16, ...)`` or the dataclass itself.

    Returns:
        The dataclass.

    Raises:
        ValueError: If the type or an option is unknown, or a value out of range.
    """
    if isinstance(config, SoMAConfig):
        return config
    options = dict(config)
    kind = options.pop('type', None)
    if kind not in ADAPTERS:
        raise ValueError(f'adapter: unknown type {kind!r}, choose one of {sorted(ADAPTERS)}')
    known = {f.name for f in fields(ADAPTERS[kind])}
    if unknown := sorted(options.keys() - known):
        raise ValueError(f'adapter: unknown options {unknown} of {kind}, it has {sorted(known)}')
    return ADAPTERS[kind](**options)


def inject_adapter(
    model: nn.Module, config: Mapping | SoMAConfig, split: bool = True
) -> AdapterReport:
    """Replace the targeted layers of a model by adapted ones, and freeze all the rest.

    Afterwards only ``A``, ``B`` and, with ``train_bias``, the biases of adapted layers train.

    Args:
        model: Any module; changed in place.
        config: ``dict(type='SoMA', rank, alpha, start_block, targets, train_bias, component)`` or
            a :class:`SoMAConfig`.
        split: Split the weights now. False when pretrained weights are loaded later: a plain
            weight that is loaded into an adapted layer is split then.

    Returns:
        A report of what is adapted, frozen and trained; its ``str`` is a table.

    Raises:
        ValueError: If an option is wrong, a pattern or ``start_block`` matches no layer, a target
            is no linear layer or convolution, or is adapted already. The model is unchanged then.
    """
    config = parse_adapter(config)
    matches = _find_targets(model, config)
    adapted = {}
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        for name, layer in matches.items():
            adapted[name] = _adapt(name, layer, config)
        if split:
            split_layers(adapted)
    except ValueError as error:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
        raise ValueError(f'adapter: {error}') from error

    model.requires_grad_(False)
    for name, layer in adapted.items():
        parent, _, leaf = name.rpartition('.')
        setattr(model.get_submodule(parent), leaf, layer)
        for parameter in layer.adapter_parameters().values():
            parameter.requires_grad_(True)
    return adapter_report(model)


def merge_adapter(model: nn.Module) -> int:
    """Fold every adapted layer of a model into a plain one, in place.

    Args:
        model: Any module below which adapted layers may stand. A second call finds none and
            changes nothing.

    Returns:
        The number of layers that were merged.
    """
    adapted = [(n, m) for n, m in model.named_modules() if n and isinstance(m, SoMALayer)]
    for name, layer in adapted:
        parent, _, leaf = name.rpartition('.')
        setattr(model.get_submodule(parent), leaf, layer.merge())
    return len(adapted)


def adapter_names(model: nn.Module) -> set[str]:
    """Names of the parameters that train with the adapters of a model."""
    return {
        f'{prefix}.{name}'
        for prefix, module in model.named_modules()
        if isinstance(module, SoMALayer)
        for name in module.adapter_parameters()
    }


def _adapt(name: str, layer: nn.Module, config: SoMAConfig) -> SoMALayer:
    """Make the adapted layer of a plain one; an error says its name."""
    try:
        return LAYERS[type(layer)].from_plain(
            layer,
            rank=config.rank,
            alpha=config.alpha,
            component=config.component,
            groups=config.groups.get(name.rpartition('.')[2], 1),
            train_bias=config.train_bias,
        )
    except ValueError as error:
        raise ValueError(f'layer {name!r}: {error}') from error


def _find_targets(model: nn.Module, config: SoMAConfig) -> dict[str, nn.Module]:
    """List the layers to adapt by name; raise if a pattern is of no use."""
    names = [(name, module) for name, module in model.named_modules() if name]
    if not config.patterns:
        raise ValueError('adapter: targets is empty')
    matches = {}
    for pattern in config.patterns:
        try:
            regex = re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f'adapter: target {pattern!r} is no regular expression: {error}'
            ) from error
        matched = {name: module for name, module in names if regex.fullmatch(name)}
        if not matched:
            raise ValueError(
                f'adapter: target {pattern!r} matches no layer of {type(model).__name__}; '
                f'its layers are named like {[n for n, m in names if type(m) in LAYERS][:5]}'
            )
        later = {
            name: module
            for name, module in matched.items()
            if (block_index(name) is None or block_index(name) >= config.start_block)
        }
        if not later:
            raise ValueError(
                f'adapter: start_block {config.start_block} leaves none of the {len(matched)} '
                f'layers that {pattern!r} matches'
            )
        matches.update(later)
    for name, module in matches.items():
        if type(module) not in LAYERS:
            raise ValueError(
                f'adapter: target {name!r} is a {type(module).__name__}; only plain '
                'nn.Linear and nn.Conv2d layers can be adapted'
            )
    return matches
