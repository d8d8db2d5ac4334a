"""PiSSA: the principal components train (arXiv 2404.02948)."""

from dataclasses import dataclass, field

from ..base import register_adapter
from .soma import SoMAConfig


@register_adapter
@dataclass(frozen=True)
class PiSSAConfig(SoMAConfig):
    """Settings of PiSSA: the principal components train (arXiv 2404.02948)."""

    method = 'PiSSA'

    train_bias: bool = False
    component: str = field(default='principal', init=False)
