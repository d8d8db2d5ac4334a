"""Layers with a low-rank change of their weight."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from .fold import LOW_RANK
from .functional import AdaptedConv2d, AdaptedLinear, weight_delta
from .layer import AdaptedConvLayer, AdaptedLinearLayer, AdapterLayer
from .svd import Components, check_rank


class LowRankLayer(AdapterLayer):
    """Computes with ``W_eff = W + s (B A - B0 A0)``, ``s = alpha / rank``.

    ``W`` is the pretrained weight, untouched and frozen. ``A`` and ``B`` train; ``A0`` and ``B0``
    are the part of ``W`` that they took over, so that a new layer equals the plain one exactly.
    Where nothing was taken over, these have a rank of zero.

    Attributes:
        TRAINED: Which of ``A`` and ``B`` train; the other is a buffer.
        takes_over: Whether the adapter starts from components that it takes out of the weight.
    """

    TENSORS = LOW_RANK
    TRAINED: ClassVar[tuple[str, ...]] = ('A', 'B')
    takes_over: bool = False

    def _add_adapter(
        self, rank: int = 16, alpha: float | None = None, train_bias: bool = False
    ) -> None:
        """Add the adapter's tensors, all zero. ``alpha`` defaults to the rank."""
        out_features, in_features = self.weight.flatten(1).shape
        check_rank(rank, out_features, in_features, self.groups)
        self.rank, self.alpha = rank, float(rank if alpha is None else alpha)
        if self.alpha <= 0:
            raise ValueError(f'alpha must be positive, got {alpha}')
        self.train_bias = train_bias and self.bias is not None
        start = rank if self.takes_over else 0
        for name, shape, first in (
            ('A', (self.groups * rank, in_features), (self.groups * start, in_features)),
            ('B', (out_features, rank), (out_features, start)),
        ):
            value = self.weight.new_zeros(shape)
            if name in self.TRAINED:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
            self.register_buffer(f'{name}0', self.weight.new_zeros(first))

    @property
    def scale(self) -> float:
        """``s = alpha / rank``."""
        return self.alpha / self.rank

    @torch.no_grad()
    def start_from_(self, parts: Components) -> None:
        """Start the adapter from its first ``A`` and ``B``."""
        self.unsplit = None
        self.A.copy_(parts.A)
        self.B.copy_(parts.B)

    def delta(self) -> Tensor:
        """The change of the weight so far, ``s (B A - B0 A0)``, in the shape of the weight."""
        return weight_delta(self.A, self.B, self.A0, self.B0, self.scale, self.groups).view_as(
            self.weight
        )

    def effective_weight(self) -> Tensor:
        """``W_eff`` in the shape of the weight, in the precision of the adapter."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return self.weight + self.delta()

    def settings(self) -> dict:
        """``rank`` and ``alpha``."""
        return {'rank': self.rank, 'alpha': self.alpha}


class LowRankLinear(LowRankLayer, AdaptedLinearLayer):
    """A linear layer with a low-rank change."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        return AdaptedLinear.apply(
            x, self.weight, self.bias, self.A, self.B, self.A0, self.B0, self.scale, self.groups
        )


class LowRankConv2d(LowRankLayer, AdaptedConvLayer):
    """A convolution with a low-rank change of its kernel, read as ``out x in*kh*kw``."""

    def _add_adapter(self, *args, **options) -> None:
        if self.groups != 1 or self.padding_mode != 'zeros' or isinstance(self.padding, str):
            raise ValueError(
                f'{type(self).__name__} needs groups=1, zero padding and a padding in numbers, got '
                f'{nn.Conv2d.extra_repr(self)}: leave this layer out of the targets'
            )
        super()._add_adapter(*args, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, in, h, w)`` to ``(n, out, h', w')``."""
        conv = dict(stride=self.stride, padding=self.padding, dilation=self.dilation)
        return AdaptedConv2d.apply(
            x, self.weight, self.bias, self.A, self.B, self.A0, self.B0, self.scale, conv
        )
