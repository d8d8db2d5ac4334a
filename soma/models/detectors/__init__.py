"""Detectors and their heads."""

from .co_detr import CoDETR
from .co_heads import CoATSSHead, CoDINOHead, CoRoIHead

__all__ = ['CoATSSHead', 'CoDETR', 'CoDINOHead', 'CoRoIHead']
