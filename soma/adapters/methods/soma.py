"""SoMA: train some singular components of a frozen weight (arXiv 2412.04077)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..base import Recognised, register_adapter
from ..blocks import block_index
from ..low_rank import (
    LOW_RANK,
    LowRankConfig,
    LowRankConv2d,
    LowRankLayer,
    LowRankLinear,
    recognise_low_rank,
)
from ..svd import COMPONENTS, Components, split_components

_CHOICES = (*COMPONENTS, 'release')
_RAMP = (12, 16, 20)  # from each of these blocks on, the rank is twice as large


class SoMALayer(LowRankLayer):
    """What :class:`SoMALinear` and :class:`SoMAConv2d` share; mixed into a plain layer.

    ``A0`` and ``B0`` are the components of the weight that the adapter took over: the smallest
    (SoMA; MiLoRA, arXiv 2406.09044), the largest (PiSSA, arXiv 2404.02948) or random ones.

    With ``component='release'`` it starts as SoMA's public code does, which splits the weights that
    a new network has, before the pretrained ones take their place: ``W + s B A`` with the minor
    components ``B A`` of a random matrix, and ``A0 = B0 = 0``. Such a network is not the pretrained
    one at step 0.
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
        _check_component(component)
        super()._add_adapter(rank, alpha, train_bias)
        self.component = component

    @property
    def random(self) -> bool:
        """Whether the split draws random numbers."""
        return self.component in ('random', 'release')

    @property
    def cache_key(self) -> tuple[int, str] | None:
        """Rank and component, unless it is drawn anew each time."""
        return None if self.random else (self.rank, self.component)

    def compute_split(self) -> Components:
        """The components of the weight, as :func:`~soma.adapters.split_components`."""
        matrix, component = self.matrix(), self.component
        if component == 'release':
            matrix, component = torch.empty_like(matrix), 'minor'
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))  # as a new nn.Linear
        return split_components(matrix, self.rank, component, self.groups)

    def start_from_(self, parts: Components) -> None:
        """Start from the components, which in the release are none of the weight's."""
        super().start_from_(parts)
        if self.component == 'release':
            self.A0.zero_()
            self.B0.zero_()

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
        component: As for :func:`~soma.adapters.split_components`, or ``'release'``.
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
        component: ``'minor'`` (SoMA), ``'principal'``, ``'random'`` or ``'release'``
            (:class:`SoMALayer`).
        rank_ramp: Whether ranks rise with depth, as an option of the release has it: twice the
            ``rank`` from block 12 on, four times from 16, eight times from 20, with the same
            ``alpha``.
    """

    method = 'SoMA'
    layers = (SoMALinear, SoMAConv2d)
    start_only = ('component',)
    refused = {  # noqa: RUF012
        'lora_dropout': 'the paper has no dropout, and its release sets one that it never applies'
    }

    train_bias: bool = True
    component: str = 'minor'
    rank_ramp: bool = False

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        _check_component(self.component)

    def choose(self, layers: dict[str, nn.Module]) -> dict[str, nn.Module]:
        """Check that a ramp rises."""
        if self.rank_ramp and all(_ramp(name) == 1 for name in layers):
            raise ValueError(
                f'rank_ramp raises the ranks from block {_RAMP[0]} on, and no layer is there'
            )
        return layers

    def layer_options(self, name: str) -> dict:
        """What a layer is made with; its rank by its block."""
        options = self.options()
        if options.pop('rank_ramp'):
            options['alpha'] = self.rank if self.alpha is None else self.alpha
            options['rank'] *= _ramp(name)
        return options

    def card_options(self) -> dict:
        """The first rank of a ramp."""
        return {'rank': self.rank, 'rank_ramp': True} if self.rank_ramp else {}

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> Recognised | None:
        """A low-rank change that has taken components out of the weight."""
        recognised = recognise_low_rank(
            state, lambda t: t.keys() == {*LOW_RANK} and len(t['A0']) > 0, _ramp
        )
        if recognised is None:
            return None
        settings = {**recognised.settings, 'component': 'minor'}
        if any(state[f'{layer}.B'].shape[1] != settings['rank'] for layer in recognised.groups):
            settings['rank_ramp'] = True
        return recognised._replace(settings=settings)


def _ramp(name: str) -> int:
    """How many times the first rank of a ramp a layer has."""
    block = block_index(name) or 0
    return 2 ** sum(block >= first for first in _RAMP)


def _check_component(component: str) -> None:
    """Raise a ``ValueError`` if there is no such start."""
    if component not in _CHOICES:
        raise ValueError(f'component must be one of {_CHOICES}, got {component!r}')
