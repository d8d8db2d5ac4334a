"""Models, registered in mmengine's root registry."""

from .backbones import DINOv2

__all__ = ['DINOv2']
