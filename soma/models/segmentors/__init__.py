"""Segmentors."""

from .window_encoder_decoder import WindowEncoderDecoder

__all__ = ['WindowEncoderDecoder']
