"""Segmentors."""

from .ensemble import SegmentorEnsemble
from .eomt import EoMT
from .prototype import EpisodePreProcessor, PrototypeSegmentor
from .window_encoder_decoder import WindowEncoderDecoder

__all__ = [
    'EoMT',
    'EpisodePreProcessor',
    'PrototypeSegmentor',
    'SegmentorEnsemble',
    'WindowEncoderDecoder',
]
