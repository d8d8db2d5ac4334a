"""MiLoRA: the minor components train, biases do not (arXiv 2406.09044)."""

from dataclasses import dataclass, field

from ..base import register_adapter
from .soma import SoMAConfig


@register_adapter
@dataclass(frozen=True)
class MiLoRAConfig(SoMAConfig):
    """Settings of MiLoRA: the minor components train, biases do not (arXiv 2406.09044)."""

    method = 'MiLoRA'

    train_bias: bool = False
    component: str = field(default='minor', init=False)
