"""CorDA: components of a weight by what its inputs need of it (arXiv 2406.05223)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..base import register_adapter
from ..from_data import FromDataLayer
from ..low_rank import LowRankConfig, LowRankConv2d, LowRankLinear
from ..svd import Components, split_components

_MODES = {'kpm': 'minor', 'ipm': 'principal'}
_DAMPING = 0.01  # of the mean of the diagonal


class CorDALayer(FromDataLayer):
    """CorDA: ``W + s (B A - B0 A0)``, ``B0 A0`` components of ``W`` oriented by its inputs.

    With the covariance ``C`` of the inputs and ``W C = U S V^T``, the weight is
    ``W = U S (V^T C^-1)`` (section 3.2). Of its components, the smallest train to preserve what the
    weight does with these inputs, or the largest to learn from them. ``C`` is the mean over all
    inputs, with a hundredth of the mean of its diagonal added to it, as in the public code, which
    makes it invertible in float64. That code, and peft, divide the inputs of a batch by their
    maximum before, which weighs the batches and changes the balance of ``A`` and ``B``.
    """

    method = 'CorDA'

    def _add_adapter(
        self,
        rank: int = 16,
        alpha: float | None = None,
        mode: str = 'kpm',
        train_bias: bool = False,
    ) -> None:
        _check_mode(mode)
        super()._add_adapter(rank, alpha, train_bias)
        self.mode = mode

    def components(self, weight: Tensor, covariance: Tensor) -> Components:
        """The components of the mode, as in the parent class."""
        damped = covariance.clone()
        damped.diagonal().add_(_DAMPING * damped.diagonal().mean())
        parts = split_components(weight @ damped, self.rank, _MODES[self.mode], self.groups)
        return Components(torch.linalg.solve(damped, parts.A.T).T, parts.B)

    def settings(self) -> dict:
        """``rank``, ``alpha`` and ``mode``."""
        return {**super().settings(), 'mode': self.mode}


class CorDALinear(CorDALayer, LowRankLinear):
    """A linear layer with CorDA, made with :meth:`from_plain`."""


class CorDAConv2d(CorDALayer, LowRankConv2d):
    """A convolution with CorDA, made with :meth:`from_plain`."""


@register_adapter
@dataclass(frozen=True)
class CorDAConfig(LowRankConfig):
    """Settings of CorDA: components oriented by the inputs train (arXiv 2406.05223).

    Attributes:
        mode: ``'kpm'`` trains the smallest components, which preserves knowledge, ``'ipm'`` the
            largest, which learns faster.
    """

    method = 'CorDA'
    layers = (CorDALinear, CorDAConv2d)
    start_only = ('mode',)

    mode: str = 'kpm'

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        _check_mode(self.mode)


def _check_mode(mode: str) -> None:
    """Raise a ``ValueError`` if there is no such mode."""
    if mode not in _MODES:
        raise ValueError(f'mode must be one of {[*_MODES]}, got {mode!r}')
