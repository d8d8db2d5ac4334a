"""RecycleLoRA: two adapters from a pivoted QR of the weight (arXiv 2603.28142)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..base import register_adapter
from ..low_rank import LowRankConfig, LowRankConv2d, LowRankLayer, LowRankLinear
from ..qr import pivoted_qr
from ..svd import Components


class RecycleLoRALayer(LowRankLayer):
    """What the two layers share: ``W + s (B A + B_sub A_sub - B0 A0)``, ``s = alpha / all ranks``.

    With ``W P = Q R``, its pivots in the order of their choice, the columns of ``B`` start as the
    last of ``Q`` and those of ``B_sub`` as the first. A row of ``A`` or ``A_sub`` starts as zeros
    but for a 1 at the column of ``W`` that is the pivot. ``B0 A0`` is the start of both.
    """

    method = 'RecycleLoRA'
    TENSORS = ('A', 'B', 'A_sub', 'B_sub', 'A0', 'B0')
    TRAINED = NO_DECAY = ('A', 'B', 'A_sub', 'B_sub')
    LR_MULT = {'A_sub': 0.5, 'B_sub': 0.5}  # noqa: RUF012

    def _add_adapter(
        self, rank: int = 32, sub_rank: int = 4, alpha: float = 1.0, train_bias: bool = False
    ) -> None:
        self.sub_rank = sub_rank
        super()._add_adapter(rank, alpha, train_bias)

    def _ranks(self) -> dict[str, int]:
        return {'': self.rank, '_sub': self.sub_rank, '0': self.rank + self.sub_rank}

    @property
    def scale(self) -> float:
        """``s = alpha / (rank + sub_rank)``."""
        return self.alpha / (self.rank + self.sub_rank)

    @property
    def cache_key(self) -> tuple[int, str]:
        """Both ranks, and how the weight is split."""
        return self.rank + self.sub_rank, f'qr{self.rank}'

    def compute_split(self) -> Components:
        """Pivots and columns of ``Q`` for both adapters, those of the main one first."""
        matrix, parts = self.matrix(), []
        for group in matrix.chunk(self.groups):
            size = min(group.shape)
            index = [*range(size - self.rank, size), *range(self.sub_rank)]
            pivots, columns = pivoted_qr(group, index)
            A = torch.zeros(len(index), group.shape[1]).to(group)
            A[range(len(index)), pivots[index]] = 1
            parts.append((A, columns.to(group)))
        return Components(*map(torch.cat, zip(*parts, strict=True)))

    @torch.no_grad()
    def start_from_(self, parts: Components) -> None:
        """Start both adapters from their share of the components."""
        self.unsplit = None
        ranks = (self.rank, self.sub_rank)
        rows = [group.split(ranks) for group in parts.A.chunk(self.groups)]
        for target, value in (
            *zip((self.A, self.A_sub), map(torch.cat, zip(*rows, strict=True)), strict=True),
            *zip((self.B, self.B_sub), parts.B.split(ranks, 1), strict=True),
            (self.A0, parts.A),
            (self.B0, parts.B),
        ):
            target.copy_(value)

    @staticmethod
    def joined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Both adapters as one of the sum of their ranks, so that one product computes them."""
        A0, B0 = tensors['A0'], tensors['B0']
        groups = max(1, len(A0) // max(1, B0.shape[1]))
        rows = [tensors[name].unflatten(0, (groups, -1)) for name in ('A', 'A_sub')]
        return {
            'A': torch.cat(rows, 1).flatten(0, 1),
            'B': torch.cat([tensors['B'], tensors['B_sub']], 1),
            'A0': A0,
            'B0': B0,
        }

    def settings(self) -> dict:
        """``rank``, ``alpha`` and ``sub_rank``."""
        return {**super().settings(), 'sub_rank': self.sub_rank}


class RecycleLoRALinear(RecycleLoRALayer, LowRankLinear):
    """A linear layer with RecycleLoRA, made with :meth:`from_plain`."""


class RecycleLoRAConv2d(RecycleLoRALayer, LowRankConv2d):
    """A convolution with RecycleLoRA, made with :meth:`from_plain`."""


@register_adapter
@dataclass(frozen=True)
class RecycleLoRAConfig(LowRankConfig):
    """Settings of RecycleLoRA: a main adapter and a sub adapter (arXiv 2603.28142).

    Attributes:
        rank: Of the main adapter, which starts from the last pivots; 0 for none.
        sub_rank: Of the sub adapter, which starts from the first pivots; 0 for none.
        alpha: The change is scaled by ``alpha / (rank + sub_rank)``.
    """

    method = 'RecycleLoRA'
    averages_to = 'LoRA'  # an average has no two roles
    layers = (RecycleLoRALinear, RecycleLoRAConv2d)
    rank_options = {'B': 'rank', 'B_sub': 'sub_rank'}  # noqa: RUF012

    rank: int = 32
    alpha: float = 1.0
    sub_rank: int = 4
    groups: Mapping[str, int] | None = field(default_factory=dict)  # a fused qkv is one matrix
