"""OLoRA: train the first directions of a QR decomposition (arXiv 2406.01775)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..base import register_adapter
from ..low_rank import LowRankConfig, LowRankConv2d, LowRankLayer, LowRankLinear
from ..svd import Components, check_finite


class OLoRALayer(LowRankLayer):
    """OLoRA: ``W + s (B A - B0 A0)`` with ``W = Q R``, ``B0 = Q[:, :r]`` and ``A0 = R[:r]``.

    The decomposition is without pivots: the directions are those of the first columns of ``W``.
    """

    method = 'OLoRA'
    takes_over = True

    def compute_split(self) -> Components:
        """The first columns of ``Q`` and rows of ``R``, of each stacked matrix (section 3)."""
        check_finite(weight := self.matrix())
        Q, R = torch.linalg.qr(weight.double().unflatten(0, (self.groups, -1)))
        root = self.scale**0.5  # by which both are divided, and the scale is not split here
        A, B = R[:, : self.rank], Q[:, :, : self.rank]
        return Components(A.flatten(0, 1) * root, B.flatten(0, 1) * root)


class OLoRALinear(OLoRALayer, LowRankLinear):
    """A linear layer with OLoRA, made with :meth:`from_plain`."""


class OLoRAConv2d(OLoRALayer, LowRankConv2d):
    """A convolution with OLoRA, made with :meth:`from_plain`."""


@register_adapter
@dataclass(frozen=True)
class OLoRAConfig(LowRankConfig):
    """Settings of OLoRA: the first directions of a QR decomposition train (arXiv 2406.01775)."""

    method = 'OLoRA'
    layers = (OLoRALinear, OLoRAConv2d)
