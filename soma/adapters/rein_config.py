"""Settings of Rein: the ``adapter`` dict of a config with ``type='Rein'``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from torch import nn

from .config import ADAPTERS, AdapterConfig
from .rein import Rein, attach_rein, check_options
from .targets import find_layers


@dataclass(frozen=True)
class ReinConfig(AdapterConfig):
    """Settings of Rein: tokens that refine the features after each block (arXiv 2312.04265).

    Attributes:
        targets: Regular expression, or several, that fully match the names of the blocks. They
            return tokens ``(N, n, c)`` or maps ``(N, c, H, W)``.
        exclude: As ``targets``: which of these are left alone.
        num_tokens: Number of tokens of a block.
        rank: Rank of the tokens of a block; None for any.
        query_dims: Width of the queries.
        link: Whether the model returns queries made of the tokens, for ``ReinMask2FormerHead``.
        scale_init: Where the factor of the change starts.
        zero_init: Whether the change starts at zero.
    """

    method = 'Rein'
    folds = False
    adapts = 'modules with parameters'

    targets: str | Sequence[str] = r'blocks\.\d+'
    exclude: str | Sequence[str] = ()
    num_tokens: int = 100
    rank: int | None = 16
    query_dims: int = 256
    link: bool = False
    scale_init: float = 0.001
    zero_init: bool = False

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        check_options(self.num_tokens, self.rank, self.query_dims)

    def layer_class(self, layer: nn.Module) -> type[Rein] | None:
        """Rein for any module with parameters."""
        return Rein if any(True for _ in layer.parameters()) else None

    def make(self, model: nn.Module, split: bool) -> dict[str, nn.Module]:
        """Attach the tokens to the blocks."""
        names = {f.name for f in fields(self)} - {'start_block', 'targets', 'exclude'}
        options = {name: getattr(self, name) for name in names}
        return {'reins': attach_rein(model, find_layers(model, self), **options)}


ADAPTERS[ReinConfig.method] = ReinConfig
