"""Adapters for any ``nn.Module``, in pure PyTorch."""

from .config import (
    ADAPTERS,
    AdapterConfig,
    BitFitConfig,
    DoRAConfig,
    LayerConfig,
    LoRAConfig,
    MiCAConfig,
    MiLoRAConfig,
    PiSSAConfig,
    SoMAConfig,
    SVFConfig,
    parse_adapter,
)
from .inject import adapter_names, adapter_state, decompose, inject_adapter, merge_adapter
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
from .layer import Adapter, AdapterLayer
from .lora import DoRAConv2d, DoRALinear, LoRAConv2d, LoRALinear, MiCAConv2d, MiCALinear
from .rein import Rein, StageReins, attach_rein
from .rein_config import ReinConfig
from .report import AdapterReport, adapter_report
from .soma import SoMAConv2d, SoMALayer, SoMALinear
from .spectrum import Spectrum, decompose_matrix
from .split import split_layers, split_together
from .state import (
    adapted_layers,
    adapter_delta,
    adapter_tensors,
    as_trained,
    base_hash,
    from_release,
    is_block_matrix,
    merge_state,
)
from .svd import Components, low_rank_product, split_components
from .svf import SVFConv2d, SVFLinear

__all__ = [
    'ADAPTERS',
    'Adapter',
    'AdapterConfig',
    'AdapterLayer',
    'AdapterReport',
    'BitFitConfig',
    'Components',
    'DoRAConfig',
    'DoRAConv2d',
    'DoRALinear',
    'LayerConfig',
    'LoRAConfig',
    'LoRAConv2d',
    'LoRALinear',
    'MiCAConfig',
    'MiCAConv2d',
    'MiCALinear',
    'MiLoRAConfig',
    'PiSSAConfig',
    'Rein',
    'ReinConfig',
    'SVFConfig',
    'SVFConv2d',
    'SVFLinear',
    'SoMAConfig',
    'SoMAConv2d',
    'SoMALayer',
    'SoMALinear',
    'Spectrum',
    'StageReins',
    'adapted_layers',
    'adapter_card',
    'adapter_delta',
    'adapter_names',
    'adapter_report',
    'adapter_state',
    'adapter_tensors',
    'as_trained',
    'attach_rein',
    'base_card',
    'base_hash',
    'base_of',
    'check_adapter',
    'check_base',
    'decompose',
    'decompose_matrix',
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
