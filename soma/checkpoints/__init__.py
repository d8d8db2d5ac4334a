"""Checkpoints: functions on files and state dicts."""

from .convert import convert_dinov2_file

__all__ = ['convert_dinov2_file']
