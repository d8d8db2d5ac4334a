"""Decode heads and their parts."""

from .eomt import EoMTHead
from .mask2former import LeanMask2FormerHead
from .pixel_decoder import LeanPixelDecoder
from .plain_segformer import PlainSegformerHead
from .rein_mask2former import ReinMask2FormerHead

__all__ = [
    'EoMTHead',
    'LeanMask2FormerHead',
    'LeanPixelDecoder',
    'PlainSegformerHead',
    'ReinMask2FormerHead',
]
