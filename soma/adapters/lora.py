"""LoRA and what is like it: a low-rank change beside a weight from which nothing is taken."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .fold import DORA, row_norms, with_row_norms
from .layer import AdaptedConvLayer, AdaptedLinearLayer
from .low_rank import LowRankConv2d, LowRankLayer, LowRankLinear
from .svd import Components, split_components


class LoRALayer(LowRankLayer):
    """LoRA (arXiv 2106.09685): ``W + s B A`` with a random ``A`` and ``B = 0`` at the start."""

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


class MiCALayer(LowRankLayer):
    """MiCA (in peft since 0.20): ``W + s U_r A`` with ``A = 0`` at the start.

    ``U_r``, the left singular vectors of the smallest singular values, stays frozen as ``B``.
    """

    method = 'MiCA'
    TRAINED = ('A',)
    component = 'minor'
    cacheable = True

    def compute_split(self) -> Components:
        """The minor components of the weight, as those of SoMA."""
        return split_components(self.matrix(), self.rank, self.component, self.groups)

    def start_from_(self, parts: Components) -> None:
        """Start from the directions of the components on the left."""
        # Orthogonal already, but for zero singular values, whose directions are any others.
        B = torch.linalg.qr(parts.B.view(self.groups, -1, self.rank).double()).Q
        super().start_from_(Components(torch.zeros_like(self.A), B.flatten(0, 1)))


class MiCALinear(MiCALayer, LowRankLinear):
    """A linear layer with MiCA, made with :meth:`from_plain`."""


class MiCAConv2d(MiCALayer, LowRankConv2d):
    """A convolution with MiCA, made with :meth:`from_plain`."""


class DoRALayer(LoRALayer):
    """DoRA (arXiv 2402.09353): LoRA on the direction of a weight, beside its magnitude.

    ``W_eff = m (W + s B A) / |W + s B A|``, with norms of what makes each output. The norm gets no
    gradient (section 4.3). At the start ``m = |W|`` as this device computes it; another may round
    the norm differently, so that there the first outputs are those of the plain layer to 1e-7.
    """

    method = 'DoRA'
    TENSORS = DORA
    NO_DECAY = ('magnitude',)

    def _add_adapter(self, *args, **options) -> None:
        super()._add_adapter(*args, **options)
        start = row_norms(self.weight.detach().to(self.A))
        self.register_parameter('magnitude', nn.Parameter(start))

    @torch.no_grad()
    def start_from_(self, parts: Components) -> None:
        """Start from LoRA's factors and the norms of the weight."""
        super().start_from_(parts)
        self.magnitude.copy_(row_norms(self.weight + LowRankLayer.delta(self)))

    def effective_weight(self) -> Tensor:
        """``W_eff`` in the shape of the weight, in the precision of the adapter."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return with_row_norms(self.weight + LowRankLayer.delta(self), self.magnitude)


class DoRALinear(DoRALayer, AdaptedLinearLayer):
    """A linear layer with DoRA, made with :meth:`from_plain`."""


class DoRAConv2d(DoRALayer, AdaptedConvLayer):
    """A convolution with DoRA, made with :meth:`from_plain`."""
