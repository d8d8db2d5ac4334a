"""Detectors and their heads."""

from .co_detr import CoDETR
from .co_heads import CoATSSHead, CoDINOHead, CoRoIHead
from .float32_heads import Float32DINOHead, Float32RPNHead

__all__ = ['CoATSSHead', 'CoDETR', 'CoDINOHead', 'CoRoIHead', 'Float32DINOHead', 'Float32RPNHead']
