"""Adapters for any ``nn.Module``, in pure PyTorch."""

from .inject import SoMAConfig, inject_adapter, merge_adapter, parse_adapter
from .io import (
    atomic_path,
    read_checkpoint,
    read_state_dict,
    state_dict_of,
    write_checkpoint,
)
from .report import AdapterReport, adapter_report
from .soma import SoMAConv2d, SoMALayer, SoMALinear
from .svd import Components, low_rank_product, split_components

__all__ = [
    'AdapterReport',
    'Components',
    'SoMAConfig',
    'SoMAConv2d',
    'SoMALayer',
    'SoMALinear',
    'adapter_report',
    'atomic_path',
    'inject_adapter',
    'low_rank_product',
    'merge_adapter',
    'parse_adapter',
    'read_checkpoint',
    'read_state_dict',
    'split_components',
    'state_dict_of',
    'write_checkpoint',
]
