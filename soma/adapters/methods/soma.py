"""SoMA: train some singular components of a frozen weight (arXiv 2412.04077)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..base import Recognised, register_adapter
from ..low_rank import (
    LOW_RANK,
    LowRankConfig,
    LowRankConv2d,
    LowRankLayer,
    LowRankLinear,
    recognise_low_rank,
)
from ..svd import Components, check_component, split_components


class SoMALayer(LowRankLayer):
    """What :class:`SoMALinear` and :class:`SoMAConv2d` share; mixed into a plain layer.

    ``A0`` and ``B0`` are the components of the weight that the adapter took over: the smallest
    (SoMA; MiLoRA, arXiv 2406.09044), the largest (PiSSA, arXiv 2404.02948) or random ones.
    """

    method = 'SoMA'
    takes_over = True

    def _add_adapter(
        self,
        rank: int = 16,
        alpha: float | None = None,
        component: str = 'minor',
        train_bias: bool = True,
    ) -> None:
        check_component(component)
        super()._add_adapter(rank, alpha, train_bias)
        self.component = component

    @property
    def random(self) -> bool:
        """Whether the split draws random numbers."""
        return self.component == 'random'

    @property
    def cache_key(self) -> tuple[int, str] | None:
        """Rank and component, unless it is drawn anew each time."""
        return None if self.random else (self.rank, self.component)

    def compute_split(self) -> Components:
        """The components of the weight, as :func:`~soma.adapters.split_components`."""
        return split_components(self.matrix(), self.rank, self.component, self.groups)

    def settings(self) -> dict:
        """``rank``, ``alpha`` and ``component``."""
        return {**super().settings(), 'component': self.component}


class SoMALinear(SoMALayer, LowRankLinear):
    """A linear layer that trains the minor singular components of its weight.

    Args:
        in_features: As for ``nn.Linear``.
        out_features: As for ``nn.Linear``.
        rank: Number of components per group.
        alpha: Scale times rank; the rank if None.
        component: As for :func:`~soma.adapters.split_components`.
        groups: Number of matrices that are stacked in the weight (3 for a fused qkv).
        train_bias: Whether the bias trains.
        bias: As for ``nn.Linear``.
        device: As for ``nn.Linear``.
        dtype: As for ``nn.Linear``.

    Raises:
        ValueError: If the rank or the groups do not fit the weight.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int = 16,
        alpha: float | None = None,
        component: str = 'minor',
        groups: int = 1,
        train_bias: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias, device, dtype)
        self.groups = groups
        self._add_adapter(rank, alpha, component, train_bias)
        self._freeze()


class SoMAConv2d(SoMALayer, LowRankConv2d):
    """A convolution that trains the minor components of its kernel, read as ``out x in*kh*kw``.

    Made from an ``nn.Conv2d`` with :meth:`from_plain`.
    """


@register_adapter
@dataclass(frozen=True)
class SoMAConfig(LowRankConfig):
    """Settings of SoMA: some singular components and the biases train (arXiv 2412.04077).

    Attributes:
        component: ``'minor'`` (SoMA), ``'principal'`` or ``'random'``.
    """

    method = 'SoMA'
    layers = (SoMALinear, SoMAConv2d)
    start_only = ('component',)

    train_bias: bool = True
    component: str = 'minor'

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        check_component(self.component)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> Recognised | None:
        """A low-rank change that has taken components out of the weight."""
        recognised = recognise_low_rank(
            state, lambda t: t.keys() == {*LOW_RANK} and len(t['A0']) > 0
        )
        return recognised and recognised._replace(
            settings={**recognised.settings, 'component': 'minor'}
        )
