"""Checkpoints: functions on files and state dicts."""

from ..registration import register

register()

from .analysis import analyze_file
from .average import average_files
from .checkpoint import Checkpoint
from .convert import convert_dinov2_file
from .drift import drift, spectra, total_drift
from .export.backbone import export_backbone
from .export.peft import export_peft
from .extract import extract_adapter
from .hub import push_to_hub, write_shared
from .matrices import weight_matrices
from .merge import merge_files
from .open import load_plain, open_checkpoint

__all__ = [
    'Checkpoint',
    'analyze_file',
    'average_files',
    'convert_dinov2_file',
    'drift',
    'export_backbone',
    'export_peft',
    'extract_adapter',
    'load_plain',
    'merge_files',
    'open_checkpoint',
    'push_to_hub',
    'spectra',
    'total_drift',
    'weight_matrices',
    'write_shared',
]
