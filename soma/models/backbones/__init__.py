"""Backbones."""

from .adapted import adapted_backbone
from .dinov2 import DINOv2
from .timm_pyramid import TimmPyramid
from .vit import TimmVisionTransformer

__all__ = ['DINOv2', 'TimmPyramid', 'TimmVisionTransformer', 'adapted_backbone']
