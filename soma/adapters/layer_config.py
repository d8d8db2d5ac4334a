"""Settings of adapters that replace layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from .base import AdapterConfig, is_count
from .blocks import stacked_matrices
from .layer import AdapterLayer
from .lending import InProjection
from .split import split_layers
from .targets import ALL_LINEAR, AUTO, check_groups, find_layers

# What can be adapted, as what. A class that only derives from these may compute something else.
PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: nn.Linear,
    NonDynamicallyQuantizableLinear: nn.Linear,  # the output of nn.MultiheadAttention
    InProjection: nn.Linear,
    nn.Conv2d: nn.Conv2d,
}


@dataclass(frozen=True)
class LayerConfig(AdapterConfig):
    """Settings of an adapter that replaces layers.

    Attributes:
        targets: Regular expression, or several, that fully match a module's dotted name. With
            ``'auto'`` they are those of the family in :data:`~soma.adapters.presets.PRESETS`; with
            ``'all-linear'`` all linear layers but the classifier and those that are too small for
            the rank. The input projection of an ``nn.MultiheadAttention`` is called ``in_proj``.
        exclude: As ``targets``: which of these stay plain.
        train_bias: Whether the biases of adapted layers train.
        groups: How many matrices are stacked in the linear layers of a name, by its last part, one
            where nothing is said; None finds it (:func:`~soma.adapters.blocks.stacked_matrices`).
        adapts: What layers it adapts, in words.
        adapts_norms: Whether normalisations are among its targets by default.
        layers: The adapted layers, one class for each plain one, all with the same tensors and
            ``fold``.
    """

    adapts: ClassVar[str] = 'plain nn.Linear and nn.Conv2d layers'
    adapts_norms: ClassVar[bool] = False
    layers: ClassVar[tuple[type[AdapterLayer], ...]]

    targets: str | Sequence[str] = AUTO
    exclude: str | Sequence[str] = ()
    train_bias: bool = False
    groups: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        groups = self.groups
        if groups is None:
            return
        if not isinstance(groups, Mapping) or not all(map(is_count, groups.values())):
            raise ValueError(f'groups must be whole numbers from 1 by name, got {groups!r}')

    def options(self) -> dict:
        """What a layer is made with beside its groups."""
        where = {f.name for f in fields(AdapterConfig)} | {'targets', 'exclude', 'groups'}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in where}

    def layer_options(self, name: str) -> dict:
        """What the layer of that name in the model is made with: by default as all others."""
        return self.options()

    def card_options(self) -> dict:
        """The options that the layers have together on a card, since each has its own value."""
        return {}

    def choose(self, layers: dict[str, nn.Module]) -> dict[str, nn.Module]:
        """Choose among the targets, by name; a ``ValueError`` if an option is of no use there."""
        return layers

    def layer_class(self, layer: nn.Module) -> type[AdapterLayer] | None:
        """The class of an adapted layer in the place of a plain one, None if there is none."""
        plain = PLAIN.get(type(layer))
        return next((kind for kind in self.layers if plain and issubclass(kind, plain)), None)

    def make(self, model: nn.Module, split: bool) -> dict[str, AdapterLayer]:
        """Make the adapted layers, as in the parent class."""
        adapted = {}
        flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
        try:
            layers = self.choose(find_layers(model, self))
            if self.groups is not None:
                check_groups(self.groups, layers)
            for name, layer in layers.items():
                try:
                    adapted[name] = self._adapt(model, name, layer)
                except ValueError:
                    if self.targets != ALL_LINEAR or (name == [*layers][-1] and not adapted):
                        raise
            if split:
                split_layers(adapted)
        except ValueError:
            for parameter, flag in flags.items():
                parameter.requires_grad_(flag)
            raise
        return adapted

    def _adapt(self, model: nn.Module, name: str, layer: nn.Module) -> AdapterLayer:
        """Make the adapted layer of a plain one; an error says its name."""
        groups = 1
        if isinstance(layer, nn.Linear):
            if self.groups is None:
                groups = stacked_matrices(model, name, layer)
            else:
                groups = self.groups.get(name.rpartition('.')[2], 1)
        try:
            adapted = self.layer_class(layer).from_plain(
                layer, groups=groups, **self.layer_options(name)
            )
        except ValueError as error:
            raise ValueError(f'layer {name!r}: {error}') from error
        adapted.method, adapted.shared = self.method, self.card_options()
        return adapted

    @classmethod
    def layer_tensors(cls) -> tuple[str, ...]:
        """Names of the adapter's tensors in a layer."""
        return cls.layers[0].TENSORS

    @classmethod
    def tensor_names(cls, names: Iterable[str], targets: Iterable[str]) -> set[str]:
        """Which names are those of the layers' own tensors."""
        return {f'{target}.{name}' for target in targets for name in cls.layer_tensors()} & {*names}

    @classmethod
    def check_tensors(cls, state: Mapping[str, Tensor], targets: Iterable[str], settings: Mapping):
        """Check that each layer has all its tensors.

        Raises:
            ValueError: If one lacks some.
        """
        for target in targets:
            missing = [n for n in cls.layer_tensors() if f'{target}.{n}' not in state]
            if missing:
                raise ValueError(
                    f'its card names the layer {target}, whose {missing[0]} is missing'
                )

    @classmethod
    def fold(cls, weight: Tensor, tensors: Mapping[str, Tensor], settings: Mapping) -> Tensor:
        """Fold the adapter of a layer into its weight."""
        return cls.layers[0].fold(weight, tensors, settings)
