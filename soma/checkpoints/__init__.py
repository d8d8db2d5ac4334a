"""Checkpoints: functions on files and state dicts."""

from .average import average_files
from .convert import convert_dinov2_file
from .extract import extract_adapter
from .load import join_base, load_plain, open_checkpoint, plain_weights
from .merge import merge_files

__all__ = [
    'average_files',
    'convert_dinov2_file',
    'extract_adapter',
    'join_base',
    'load_plain',
    'merge_files',
    'open_checkpoint',
    'plain_weights',
]
