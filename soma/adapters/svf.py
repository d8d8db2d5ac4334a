"""SVF: train the singular values alone (arXiv 2206.06122)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .fold import SVF
from .layer import AdaptedConvLayer, AdaptedLinearLayer, AdapterLayer
from .spectrum import Spectrum, decompose_matrix, spectrum_rank
from .svd import low_rank_product


class SVFLayer(AdapterLayer):
    """A layer whose weight is ``U diag(S) V``, of which the singular values ``S`` train.

    It computes with ``W + U diag(S - S0) V``, which for a decomposition of full rank is
    ``U diag(S) V`` without its rounding: a new layer equals the plain one exactly. With a ``ratio``
    below one, the largest singular values train and the others stay as they are. ``U`` and ``V``
    follow from the weight, so no file holds them. Zero singular values have no direction, and stay.

    Attributes:
        S: Shape ``(rank,)``, or ``(groups, rank)`` for stacked matrices; ``S0`` is its start.
        U: Shape ``(out, rank)``.
        V: Shape ``(groups * rank, in)``.
        rebuild_error: Largest difference between the weight and ``U diag(S) V`` at the start,
            relative to the largest entry of the weight. Of a ratio below one it is what was left.
    """

    method = 'SVF'
    TENSORS = SVF
    NO_DECAY = ('S',)
    rebuild_error: float = 0.0

    def _add_adapter(self, ratio: float = 1.0, train_bias: bool = False) -> None:
        check_ratio(ratio)
        self.ratio, self.train_bias = ratio, train_bias and self.bias is not None
        matrix = self.weight.detach().flatten(1)
        if len(matrix) % self.groups:
            raise ValueError(f'{self.groups} groups do not divide the {len(matrix)} outputs')
        rank = spectrum_rank(matrix.shape, ratio, self.groups)
        shape = (rank,) if self.groups == 1 else (self.groups, rank)
        self.S = nn.Parameter(matrix.new_zeros(shape))
        self.register_buffer('S0', matrix.new_zeros(shape))
        self.register_buffer('U', matrix.new_zeros(len(matrix), rank), persistent=False)
        size = (self.groups * rank, matrix.shape[1])
        self.register_buffer('V', matrix.new_zeros(size), persistent=False)

    def compute_split(self) -> Spectrum:
        """All of the weight's singular components, or the largest."""
        return decompose_matrix(self.matrix(), self.ratio, self.groups)

    def matrix(self) -> Tensor:
        """The weight that the layer has, ``(out, in)``: ``U`` and ``V`` are those of no other."""
        return self.weight.detach().flatten(1).to(self.S)

    @torch.no_grad()
    def start_from_(self, parts: Spectrum) -> None:
        """Start from the singular values of the weight."""
        self.unsplit = None
        self.S.copy_(parts.S.view_as(self.S))
        self.S0.copy_(self.S)
        self._take_vectors(parts)

    def _take_vectors(self, parts: Spectrum) -> None:
        self.U.copy_(parts.U)
        self.V.copy_(parts.V)
        matrix = self.matrix()
        rebuilt = low_rank_product(parts.S.view(-1, 1) * self.V, self.U, self.groups)
        largest = matrix.abs().max().clamp_min(torch.finfo(matrix.dtype).tiny)
        self.rebuild_error = ((rebuilt - matrix).abs().max() / largest).item()

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """Load; singular vectors are those of the weight that comes in, or else is there."""
        super()._load_from_state_dict(state_dict, prefix, *args)
        if f'{prefix}S' in state_dict and (f'{prefix}weight' in state_dict or not self.V.any()):
            self._take_vectors(self.compute_split())

    def effective_weight(self) -> Tensor:
        """The weight with its present singular values, in the precision of ``S``."""
        with torch.autocast(self.weight.device.type, enabled=False):
            change = (self.S - self.S0).view(-1, 1) * self.V
            return self.weight + low_rank_product(change, self.U, self.groups).view_as(self.weight)

    def settings(self) -> dict:
        """``ratio``."""
        return {'ratio': self.ratio}


def check_ratio(ratio: float) -> None:
    """Raise a ``ValueError`` if there is no such share of the singular values."""
    if not 0 < ratio <= 1:
        raise ValueError(f'ratio must be above 0 and at most 1, got {ratio}')


class SVFLinear(SVFLayer, AdaptedLinearLayer):
    """A linear layer whose singular values train, made with :meth:`from_plain`."""


class SVFConv2d(SVFLayer, AdaptedConvLayer):
    """A convolution whose kernel's singular values train, made with :meth:`from_plain`.

    The kernel is read as ``(out, in * kh * kw)``; one with groups as as many matrices.
    """
