"""Checkpoints: functions on files and state dicts."""

from ..registration import register

register()

from .average import average_files
from .convert import convert_dinov2_file
from .drift import drift, spectra, total_drift
from .export.backbone import export_backbone
from .export.peft import export_peft
from .extract import extract_adapter
from .load import join_base, load_plain, open_checkpoint, plain_weights
from .matrices import weight_matrices
from .merge import merge_files

__all__ = [
    'average_files',
    'convert_dinov2_file',
    'drift',
    'export_backbone',
    'export_peft',
    'extract_adapter',
    'join_base',
    'load_plain',
    'merge_files',
    'open_checkpoint',
    'plain_weights',
    'spectra',
    'total_drift',
    'weight_matrices',
]
