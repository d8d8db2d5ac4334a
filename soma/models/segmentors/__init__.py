"""Segmentors."""

from .ensemble import SegmentorEnsemble
from .window_encoder_decoder import WindowEncoderDecoder

__all__ = ['SegmentorEnsemble', 'WindowEncoderDecoder']
