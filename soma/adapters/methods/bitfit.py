"""BitFit: train the biases alone (arXiv 2106.10199)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from torch import Tensor, nn

from ..base import register_adapter
from ..layer import AdapterLayer
from ..layer_config import LayerConfig
from ..lending import parameter_name


class BitFitLayer(AdapterLayer):
    """Any layer with a bias, such as a norm, of which nothing else trains.

    Its class is made by :func:`bitfit_class`; it computes what the plain layer does.
    """

    method = 'BitFit'
    plain: type[nn.Module]
    train_bias = True

    @classmethod
    def _like(cls, layer: nn.Module) -> BitFitLayer:
        """A copy of the layer, with the same parameters."""
        if getattr(layer, 'bias', None) is None:
            raise ValueError(f'{type(layer).__name__} has no bias that BitFit could train')
        return _copy_as(cls, layer)

    def _plain(self) -> nn.Module:
        plain = _copy_as(self.plain, self)
        plain.__dict__.pop('method', None)
        return plain

    def _add_adapter(self) -> None:
        """Nothing is added."""

    def split_(self) -> None:
        """There is nothing to take out of the weight."""

    @staticmethod
    def fold(weight: Tensor, tensors: Mapping[str, Tensor], settings: Mapping) -> Tensor:
        """The weight, which stays what it is."""
        return weight

    def settings(self) -> dict:
        """No options."""
        return {}

    def __reduce__(self) -> tuple:
        """Let copies and pickles make the class anew."""
        return _restore, (self.plain, self.__dict__)

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the plain layer does."""
        return self.plain.forward(self, x)


@cache
def bitfit_class(plain: type[nn.Module]) -> type[BitFitLayer]:
    """The class of layers of a plain class that train their biases."""
    return type(f'BitFit{plain.__name__}', (BitFitLayer, plain), {'plain': plain})


def _restore(plain: type[nn.Module], state: dict) -> BitFitLayer:
    cls = bitfit_class(plain)
    layer = cls.__new__(cls)
    layer.__dict__.update(state)
    return layer


def _copy_as(cls: type[nn.Module], layer: nn.Module) -> nn.Module:
    """The same layer as an instance of another class, with a dict of parameters of its own."""
    twin = copy.copy(layer)
    twin._parameters = dict(layer._parameters)
    twin.__class__ = cls
    return twin


@register_adapter
@dataclass(frozen=True)
class BitFitConfig(LayerConfig):
    """Settings of BitFit: the biases of layers and norms train (arXiv 2106.10199)."""

    method = 'BitFit'
    adapts = 'layers with a bias'
    adapts_norms = True
    layers = (BitFitLayer,)

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

    @classmethod
    def check_tensors(cls, state: Mapping[str, Tensor], targets: Iterable[str], settings: Mapping):
        """Check that the biases are there.

        Raises:
            ValueError: If one is missing.
        """
        if missing := [n for n in targets if parameter_name(n, 'bias', state) not in state]:
            raise ValueError(f'its card names the layer {missing[0]}, whose bias is missing')
