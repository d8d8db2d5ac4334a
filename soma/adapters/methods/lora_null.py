"""LoRA-Null: train what a weight does where its inputs are least (arXiv 2503.02659)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..base import register_adapter
from ..from_data import FromDataLayer
from ..low_rank import LowRankConfig, LowRankConv2d, LowRankLinear
from ..svd import Components, split_components


class LoRANullLayer(FromDataLayer):
    """LoRA-Null: ``W + s (B A - B0 A0)``, ``B0 A0`` the part of ``W`` in the null space of inputs.

    ``N (in, r)`` are the ``r`` directions in which the inputs have the least energy: the last
    eigenvectors of their covariance. ``W N N^T = U S V^T``, of rank ``r``, is split into
    ``B0 = U sqrt(S)`` and ``A0 = sqrt(S) V^T`` (section 3). With ``freeze_a``, ``A`` stays, so that
    the weight changes in the null space alone (the paper's second version).
    """

    method = 'LoRANull'

    def _add_adapter(
        self,
        rank: int = 16,
        alpha: float | None = None,
        freeze_a: bool = False,
        train_bias: bool = False,
    ) -> None:
        self.freeze_a = freeze_a
        if freeze_a:
            self.TRAINED = ('B',)
        super()._add_adapter(rank, alpha, train_bias)

    def components(self, weight: Tensor, covariance: Tensor) -> Components:
        """The part in the null space, as in the parent class."""
        null = torch.linalg.eigh(covariance).eigenvectors[:, : self.rank]  # ascending
        parts = split_components(weight @ null, self.rank, 'principal', self.groups)  # all
        return Components(parts.A @ null.T, parts.B)

    def settings(self) -> dict:
        """``rank``, ``alpha`` and ``freeze_a``."""
        return {**super().settings(), 'freeze_a': self.freeze_a}


class LoRANullLinear(LoRANullLayer, LowRankLinear):
    """A linear layer with LoRA-Null, made with :meth:`from_plain`."""


class LoRANullConv2d(LoRANullLayer, LowRankConv2d):
    """A convolution with LoRA-Null, made with :meth:`from_plain`."""


@register_adapter
@dataclass(frozen=True)
class LoRANullConfig(LowRankConfig):
    """Settings of LoRA-Null: what a weight does in the null space of its inputs trains.

    Attributes:
        freeze_a: Whether ``A`` stays, and ``B`` trains alone.
    """

    method = 'LoRANull'
    layers = (LoRANullLinear, LoRANullConv2d)

    freeze_a: bool = False
