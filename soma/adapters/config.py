"""Settings of the adapters: the ``adapter`` dict of a config, by its ``type``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar

from torch import nn

from .bitfit import bitfit_class
from .layer import Adapter, AdapterLayer
from .lora import DoRAConv2d, DoRALinear, LoRAConv2d, LoRALinear, MiCAConv2d, MiCALinear
from .soma import SoMAConv2d, SoMALinear
from .split import split_layers
from .svd import check_component
from .svf import SVFConv2d, SVFLinear, check_ratio
from .targets import VIT_TARGETS, check_groups, find_layers

GROUPS = {'qkv': 3}  # as in vision transformers of timm
# What can be adapted, as what. A class that only derives from these may compute something else.
PLAIN: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: nn.Linear, nn.Conv2d: nn.Conv2d}


@dataclass(frozen=True)
class AdapterConfig:
    """Settings of any adapter.

    Attributes:
        folds: Whether the adapter is a change of weights, so that it can be folded into them.
        adds_up: Whether the mean of several is that of the changes of their weights.
        low_rank: Whether it is a low-rank change, as peft's LoRA.
        start_block: The first ``blocks.<i>`` that is adapted.
    """

    method: ClassVar[str]
    folds: ClassVar[bool] = True
    adds_up: ClassVar[bool] = True
    low_rank: ClassVar[bool] = False

    start_block: int = 0

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            ValueError: If a value is out of range.
        """
        if self.start_block < 0:
            raise ValueError(f'start_block must be at least 0, got {self.start_block}')

    def make(self, model: nn.Module, split: bool) -> dict[str, Adapter]:
        """Make the adapters; the model's own modules and parameters stay as they are.

        Args:
            model: What is adapted.
            split: Whether its weights are there already, to start from.

        Returns:
            The modules to put into the model, by dotted name.

        Raises:
            ValueError: If the adapter does not fit the model, which is unchanged then.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class LayerConfig(AdapterConfig):
    """Settings of an adapter that replaces layers.

    Attributes:
        targets: Regular expression, or several, that fully match a module's dotted name. The
            default matches the linear layers of a vision transformer's blocks.
        exclude: As ``targets``: which of these stay plain.
        train_bias: Whether the biases of adapted layers train.
        groups: How many matrices are stacked in the linear layers of a name, by its last part.
        adapts: What layers it adapts, in words.
    """

    adapts: ClassVar[str] = 'plain nn.Linear and nn.Conv2d layers'
    layers: ClassVar[tuple[type[AdapterLayer], ...]]

    targets: str | Sequence[str] = VIT_TARGETS
    exclude: str | Sequence[str] = ()
    train_bias: bool = False
    groups: Mapping[str, int] = field(default_factory=lambda: dict(GROUPS))

    def options(self) -> dict:
        """What a layer is made with beside its groups."""
        names = {f.name for f in fields(self)} - {'start_block', 'targets', 'exclude', 'groups'}
        return {name: getattr(self, name) for name in names}

    def layer_class(self, layer: nn.Module) -> type[AdapterLayer] | None:
        """The class of an adapted layer in the place of a plain one, None if there is none."""
        plain = PLAIN.get(type(layer))
        return next((kind for kind in self.layers if plain and issubclass(kind, plain)), None)

    def make(self, model: nn.Module, split: bool) -> dict[str, AdapterLayer]:
        """Make the adapted layers, as in the parent class."""
        adapted = {}
        flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
        try:
            found = find_layers(model, self)
            if self.groups != GROUPS:
                check_groups(self.groups, found)
            for name, layer in found.items():
                adapted[name] = self._adapt(name, layer)
            if split:
                split_layers(adapted)
        except ValueError:
            for parameter, flag in flags.items():
                parameter.requires_grad_(flag)
            raise
        return adapted

    def _adapt(self, name: str, layer: nn.Module) -> AdapterLayer:
        """Make the adapted layer of a plain one; an error says its name."""
        linear = isinstance(layer, nn.Linear)
        groups = self.groups.get(name.rpartition('.')[2], 1) if linear else 1
        try:
            adapted = self.layer_class(layer).from_plain(layer, groups=groups, **self.options())
        except ValueError as error:
            raise ValueError(f'layer {name!r}: {error}') from error
        adapted.method = self.method
        return adapted


@dataclass(frozen=True)
class LoRAConfig(LayerConfig):
    """Settings of LoRA: a random low-rank change beside the weight (arXiv 2106.09685).

    Attributes:
        rank: Rank of the change, per matrix.
        alpha: The change is scaled by ``alpha / rank``; None means ``alpha = rank``.
    """

    method = 'LoRA'
    low_rank = True
    layers = (LoRALinear, LoRAConv2d)

    rank: int = 16
    alpha: float | None = None

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        if not isinstance(self.rank, int) or self.rank < 1:
            raise ValueError(f'rank must be at least 1, and whole, got {self.rank!r}')
        if self.alpha is not None and not (isinstance(self.alpha, int | float) and self.alpha > 0):
            raise ValueError(f'alpha must be positive, got {self.alpha!r}')


@dataclass(frozen=True)
class DoRAConfig(LoRAConfig):
    """Settings of DoRA: LoRA on the direction of a weight, beside its magnitude."""

    method = 'DoRA'
    adds_up = low_rank = False
    layers = (DoRALinear, DoRAConv2d)


@dataclass(frozen=True)
class MiCAConfig(LoRAConfig):
    """Settings of MiCA: a change in the frozen directions of the minor components."""

    method = 'MiCA'
    layers = (MiCALinear, MiCAConv2d)


@dataclass(frozen=True)
class PiSSAConfig(LoRAConfig):
    """Settings of PiSSA: the principal components train (arXiv 2404.02948)."""

    method = 'PiSSA'
    layers = (SoMALinear, SoMAConv2d)

    component: ClassVar[str] = 'principal'

    def options(self) -> dict:
        """What a layer is made with beside its groups."""
        return {**super().options(), 'component': self.component}


@dataclass(frozen=True)
class MiLoRAConfig(PiSSAConfig):
    """Settings of MiLoRA: the minor components train, biases do not (arXiv 2406.09044)."""

    method = 'MiLoRA'
    component = 'minor'


@dataclass(frozen=True)
class SoMAConfig(LoRAConfig):
    """Settings of SoMA: some singular components and the biases train (arXiv 2412.04077).

    Attributes:
        component: ``'minor'`` (SoMA), ``'principal'`` or ``'random'``.
    """

    method = 'SoMA'
    layers = (SoMALinear, SoMAConv2d)

    train_bias: bool = True
    component: str = 'minor'

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        check_component(self.component)


@dataclass(frozen=True)
class SVFConfig(LayerConfig):
    """Settings of SVF: the singular values train (arXiv 2206.06122).

    Attributes:
        ratio: Share of the singular values that train, the largest first.
    """

    method = 'SVF'
    layers = (SVFLinear, SVFConv2d)

    ratio: float = 1.0

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        check_ratio(self.ratio)


@dataclass(frozen=True)
class BitFitConfig(LayerConfig):
    """Settings of BitFit: the biases of layers and norms train (arXiv 2106.10199)."""

    method = 'BitFit'
    adapts = 'layers with a bias'

    targets: str | Sequence[str] = VIT_TARGETS.replace('(attn', r'(norm[12]|attn', 1)
    train_bias: bool = field(default=True, init=False)
    groups: Mapping[str, int] = field(default_factory=dict, init=False)

    def options(self) -> dict:
        """No options."""
        return {}

    def layer_class(self, layer: nn.Module) -> type[AdapterLayer] | None:
        """The class of any layer with a bias."""
        if isinstance(layer, AdapterLayer) or getattr(layer, 'bias', None) is None:
            return None
        return bitfit_class(type(layer))


ADAPTERS: dict[str, type[AdapterConfig]] = {
    config.method: config
    for config in (
        SoMAConfig,
        LoRAConfig,
        DoRAConfig,
        MiCAConfig,
        PiSSAConfig,
        MiLoRAConfig,
        SVFConfig,
        BitFitConfig,
    )
}


def parse_adapter(config: Mapping | AdapterConfig) -> AdapterConfig:
    """Validate an adapter config.

    Args:
        config: ``dict(type='SoMA', rank=16, ...)`` or the dataclass itself.

    Returns:
        The dataclass.

    Raises:
        ValueError: If the type or an option is unknown, or a value out of range.
    """
    if isinstance(config, AdapterConfig):
        return config
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ValueError(f"adapter: needs a dict(type='SoMA', ...), got {config!r}")
    options = dict(config)
    kind = options.pop('type')
    if kind not in ADAPTERS:
        raise ValueError(f'adapter: unknown type {kind!r}, choose one of {sorted(ADAPTERS)}')
    known = {f.name for f in fields(ADAPTERS[kind]) if f.init}
    if unknown := sorted(options.keys() - known):
        raise ValueError(f'adapter: unknown options {unknown} of {kind}, it has {sorted(known)}')
    try:
        return ADAPTERS[kind](**options)
    except ValueError as error:
        raise ValueError(f'adapter: {error}') from error
