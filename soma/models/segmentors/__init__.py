"""Segmentors."""

from .ensemble import SegmentorEnsemble
from .prototype import EpisodePreProcessor, PrototypeSegmentor
from .window_encoder_decoder import WindowEncoderDecoder

__all__ = [
    'EpisodePreProcessor',
    'PrototypeSegmentor',
    'SegmentorEnsemble',
    'WindowEncoderDecoder',
]
