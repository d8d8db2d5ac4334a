"""Decode heads and their parts."""

from .mask2former import LeanMask2FormerHead
from .pixel_decoder import LeanPixelDecoder

__all__ = ['LeanMask2FormerHead', 'LeanPixelDecoder']
