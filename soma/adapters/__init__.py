"""Adapters for any ``nn.Module``, in pure PyTorch."""

from .inject import SoMAConfig, adapter_names, inject_adapter, merge_adapter, parse_adapter
from .io import (
    adapter_card,
    base_card,
    base_of,
    check_adapter,
    check_base,
    layers_card,
    load_adapter,
    save_adapter,
    weights_card,
    without_base,
)
from .report import AdapterReport, adapter_report
from .soma import SoMAConv2d, SoMALayer, SoMALinear
from .split import split_layers, split_together
from .state import (
    adapted_layers,
    adapter_delta,
    as_trained,
    base_hash,
    from_release,
    is_block_matrix,
    merge_state,
)
from .svd import Components, low_rank_product, split_components

__all__ = [
    'AdapterReport',
    'Components',
    'SoMAConfig',
    'SoMAConv2d',
    'SoMALayer',
    'SoMALinear',
    'adapted_layers',
    'adapter_card',
    'adapter_delta',
    'adapter_names',
    'adapter_report',
    'as_trained',
    'base_card',
    'base_hash',
    'base_of',
    'check_adapter',
    'check_base',
    'from_release',
    'inject_adapter',
    'is_block_matrix',
    'layers_card',
    'load_adapter',
    'low_rank_product',
    'merge_adapter',
    'merge_state',
    'parse_adapter',
    'save_adapter',
    'split_components',
    'split_layers',
    'split_together',
    'weights_card',
    'without_base',
]
