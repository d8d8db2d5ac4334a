"""MiCA: train a change in the frozen directions of the minor components (in peft since 0.20)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..base import register_adapter
from ..low_rank import LowRankConfig, LowRankConv2d, LowRankLayer, LowRankLinear
from ..svd import Components, split_components


class MiCALayer(LowRankLayer):
    """MiCA: ``W + s U_r A`` with ``A = 0`` at the start.

    ``U_r``, the left singular vectors of the smallest singular values, stays frozen as ``B``.
    """

    method = 'MiCA'
    TRAINED = ('A',)

    @property
    def cache_key(self) -> tuple[int, str]:
        """Shared with SoMA, which takes the same components."""
        return self.rank, 'minor'

    def compute_split(self) -> Components:
        """The minor components of the weight, as those of SoMA."""
        return split_components(self.matrix(), self.rank, 'minor', self.groups)

    def start_from_(self, parts: Components) -> None:
        """Start from the directions of the components on the left."""
        # Orthogonal already, but for zero singular values, whose directions are any others.
        B = torch.linalg.qr(parts.B.view(self.groups, -1, self.rank).double()).Q
        super().start_from_(Components(torch.zeros_like(self.A), B.flatten(0, 1)))


class MiCALinear(MiCALayer, LowRankLinear):
    """A linear layer with MiCA, made with :meth:`from_plain`."""


class MiCAConv2d(MiCALayer, LowRankConv2d):
    """A convolution with MiCA, made with :meth:`from_plain`."""


@register_adapter
@dataclass(frozen=True)
class MiCAConfig(LowRankConfig):
    """Settings of MiCA: a change in the frozen directions of the minor components."""

    method = 'MiCA'
    averages_to = 'LoRA'  # an average leaves these directions
    layers = (MiCALinear, MiCAConv2d)
