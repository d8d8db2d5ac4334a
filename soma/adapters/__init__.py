"""Adapters for any ``nn.Module``, in pure PyTorch."""

from .base import ADAPTERS, Adapter, AdapterConfig, parse_adapter, register_adapter
from .card import BaseCard, Card, read_card
from .describe import adapter_card, base_card, check_adapter
from .files import load_adapter, save_adapter
from .from_data import start_from_data
from .inject import (
    adapter_factors,
    adapter_names,
    adapter_state,
    inject_adapter,
    merge_adapter,
    parameter_groups,
)
from .layer import AdaptedConvLayer, AdaptedLinearLayer, AdapterLayer
from .layer_config import LayerConfig
from .low_rank import LowRankConfig, LowRankConv2d, LowRankLayer, LowRankLinear
from .methods.bitfit import BitFitConfig
from .methods.corda import CorDAConfig, CorDAConv2d, CorDALinear
from .methods.dora import DoRAConfig, DoRAConv2d, DoRALinear
from .methods.lora import LoRAConfig, LoRAConv2d, LoRALinear
from .methods.lora_null import LoRANullConfig, LoRANullConv2d, LoRANullLinear
from .methods.mica import MiCAConfig, MiCAConv2d, MiCALinear
from .methods.milora import MiLoRAConfig
from .methods.olora import OLoRAConfig, OLoRAConv2d, OLoRALinear
from .methods.osf import OSFConfig, OSFConv2d, OSFLinear
from .methods.pissa import PiSSAConfig
from .methods.recyclelora import RecycleLoRAConfig, RecycleLoRAConv2d, RecycleLoRALinear
from .methods.rein import ReinConfig, attach_rein
from .methods.rein_tokens import Rein, StageReins
from .methods.soma import SoMAConfig, SoMAConv2d, SoMALayer, SoMALinear
from .methods.svf import SVFConfig, SVFConv2d, SVFLinear, decompose
from .pretrained import as_trained, base_hash, base_of, check_base, without_base
from .qr import PivotedQR, pivoted_qr
from .release import from_release
from .report import AdapterReport, adapter_report
from .split import split_layers, split_together
from .state import card_from_tensors, merge_state
from .svd import Components, Spectrum, decompose_matrix, low_rank_product, split_components

__all__ = [
    'ADAPTERS',
    'AdaptedConvLayer',
    'AdaptedLinearLayer',
    'Adapter',
    'AdapterConfig',
    'AdapterLayer',
    'AdapterReport',
    'BaseCard',
    'BitFitConfig',
    'Card',
    'Components',
    'CorDAConfig',
    'CorDAConv2d',
    'CorDALinear',
    'DoRAConfig',
    'DoRAConv2d',
    'DoRALinear',
    'LayerConfig',
    'LoRAConfig',
    'LoRAConv2d',
    'LoRALinear',
    'LoRANullConfig',
    'LoRANullConv2d',
    'LoRANullLinear',
    'LowRankConfig',
    'LowRankConv2d',
    'LowRankLayer',
    'LowRankLinear',
    'MiCAConfig',
    'MiCAConv2d',
    'MiCALinear',
    'MiLoRAConfig',
    'OLoRAConfig',
    'OLoRAConv2d',
    'OLoRALinear',
    'OSFConfig',
    'OSFConv2d',
    'OSFLinear',
    'PiSSAConfig',
    'PivotedQR',
    'RecycleLoRAConfig',
    'RecycleLoRAConv2d',
    'RecycleLoRALinear',
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
    'adapter_card',
    'adapter_factors',
    'adapter_names',
    'adapter_report',
    'adapter_state',
    'as_trained',
    'attach_rein',
    'base_card',
    'base_hash',
    'base_of',
    'card_from_tensors',
    'check_adapter',
    'check_base',
    'decompose',
    'decompose_matrix',
    'from_release',
    'inject_adapter',
    'load_adapter',
    'low_rank_product',
    'merge_adapter',
    'merge_state',
    'parameter_groups',
    'parse_adapter',
    'pivoted_qr',
    'read_card',
    'register_adapter',
    'save_adapter',
    'split_components',
    'split_layers',
    'split_together',
    'start_from_data',
    'without_base',
]
