"""Models, registered in mmengine's root registry."""

from ..registration import register

register()

from .backbones import DINOv2

__all__ = ['DINOv2']
