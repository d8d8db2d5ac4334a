"""Models, registered in mmengine's root registry."""

from importlib.util import find_spec

from .backbones import DINOv2

if find_spec('mmseg') and find_spec('mmdet'):
    from . import heads  # noqa: F401

__all__ = ['DINOv2']
