"""Checkpoints: functions on files and state dicts."""

from .convert import convert_dinov2_file
from .extract import extract_adapter
from .load import join_base, load_plain, open_checkpoint, plain_weights
from .merge import merge_files

__all__ = [
    'convert_dinov2_file',
    'extract_adapter',
    'join_base',
    'load_plain',
    'merge_files',
    'open_checkpoint',
    'plain_weights',
]
