"""LoRA: a random low-rank change beside the weight (arXiv 2106.09685)."""

from __future__ import annotations

import math
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
from ..svd import Components


class LoRALayer(LowRankLayer):
    """LoRA: ``W + s B A`` with a random ``A`` and ``B = 0`` at the start."""

    method = 'LoRA'
    random = True

    def compute_split(self) -> Components:
        """A random ``A``, drawn as that of a new ``nn.Linear``, and a ``B`` of zeros."""
        A = torch.empty_like(self.A)
        nn.init.kaiming_uniform_(A, a=math.sqrt(5))
        return Components(A, torch.zeros_like(self.B))


class LoRALinear(LoRALayer, LowRankLinear):
    """A linear layer with LoRA, made with :meth:`from_plain`."""


class LoRAConv2d(LoRALayer, LowRankConv2d):
    """A convolution with LoRA, made with :meth:`from_plain`."""


@register_adapter
@dataclass(frozen=True)
class LoRAConfig(LowRankConfig):
    """Settings of LoRA: a random low-rank change beside the weight (arXiv 2106.09685)."""

    method = 'LoRA'
    layers = (LoRALinear, LoRAConv2d)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> Recognised | None:
        """A low-rank change that has taken nothing out of the weight."""
        return recognise_low_rank(state, lambda t: t.keys() == {*LOW_RANK} and not len(t['A0']))
