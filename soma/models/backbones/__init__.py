"""Backbones."""

from .adapted import adapted_backbone
from .dinov2 import DINOv2

__all__ = ['DINOv2', 'adapted_backbone']
