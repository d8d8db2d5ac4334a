"""DoRA: LoRA on the direction of a weight, beside its magnitude (arXiv 2402.09353)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..base import Recognised, register_adapter
from ..layer import AdaptedConvLayer, AdaptedLinearLayer
from ..low_rank import LOW_RANK, LowRankConfig, LowRankLayer, recognise_low_rank
from ..svd import Components
from .lora import LoRALayer

_TINY = 1e-30  # in the place of the norm of a row of zeros


class DoRALayer(LoRALayer):
    """DoRA: LoRA on the direction of a weight, beside its magnitude.

    ``W_eff = m (W + s B A) / |W + s B A|``, with norms of what makes each output. The norm gets no
    gradient (section 4.3). At the start ``m = |W|`` as this device computes it; another may round
    the norm differently, so that there the first outputs are those of the plain layer to 1e-7.
    """

    method = 'DoRA'
    TENSORS = (*LOW_RANK, 'magnitude')
    NO_DECAY = ('magnitude',)

    def _add_adapter(self, *args, **options) -> None:
        super()._add_adapter(*args, **options)
        start = row_norms(self.weight.detach().to(self.A))
        self.register_parameter('magnitude', nn.Parameter(start))

    @torch.no_grad()
    def start_from_(self, parts: Components) -> None:
        """Start from LoRA's factors and the norms of the weight."""
        super().start_from_(parts)
        self.magnitude.copy_(row_norms(self.plain_weight + LowRankLayer.delta(self)))

    @staticmethod
    def fold(weight: Tensor, tensors: Mapping[str, Tensor], settings: Mapping) -> Tensor:
        """``m (W + s B A) / |W + s B A|``, as in the parent class."""
        changed = LowRankLayer.fold(weight, tensors, settings)
        if tensors['magnitude'].shape != weight.shape[:1]:
            size = list(tensors['magnitude'].shape)
            raise ValueError(f'the magnitude {size} is made for another weight')
        ratio = tensors['magnitude'] / row_norms(changed).detach().clamp_min(_TINY)
        return changed * ratio.view(-1, *[1] * (weight.ndim - 1))


class DoRALinear(DoRALayer, AdaptedLinearLayer):
    """A linear layer with DoRA, made with :meth:`from_plain`."""


class DoRAConv2d(DoRALayer, AdaptedConvLayer):
    """A convolution with DoRA, made with :meth:`from_plain`."""


@register_adapter
@dataclass(frozen=True)
class DoRAConfig(LowRankConfig):
    """Settings of DoRA: LoRA on the direction of a weight, beside its magnitude."""

    method = 'DoRA'
    adds_up = low_rank = False
    layers = (DoRALinear, DoRAConv2d)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> Recognised | None:
        """A low-rank change beside a magnitude."""
        return recognise_low_rank(state, lambda t: t.keys() == {*LOW_RANK, 'magnitude'})


def row_norms(weight: Tensor) -> Tensor:
    """Euclidean norm of what makes each output of a weight ``(out, in, ...)``."""
    return torch.linalg.vector_norm(weight.flatten(1), dim=1)
