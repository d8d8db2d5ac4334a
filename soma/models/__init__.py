"""Models, registered in mmengine's root registry."""

from ..registration import register

register()

from .backbones import DINOv2, TimmPyramid, TimmVisionTransformer

__all__ = ['DINOv2', 'TimmPyramid', 'TimmVisionTransformer']
