"""The engine: runner, hooks, schedulers and optimizer groups, in mmengine's root registries."""

from ..registration import register

register()

from .amp import BFloat16OptimWrapper
from .hooks import (
    AdapterCheckpointHook,
    BlockFreezeHook,
    CardHook,
    CheckHook,
    FiniteLossHook,
    MaskAnnealingHook,
    MissedValidationHook,
    SeedHook,
    ShardHook,
    StartFromDataHook,
    StopHook,
    TrainableEMAHook,
    WeightDecayLoggerHook,
)
from .optim import GroupedOptimWrapperConstructor
from .runner import SomaRunner
from .schedulers import CosineAnnealingWeightDecay, WarmupPolyLR
from .schemes import install_schemes

install_schemes()

__all__ = [
    'AdapterCheckpointHook',
    'BFloat16OptimWrapper',
    'BlockFreezeHook',
    'CardHook',
    'CheckHook',
    'CosineAnnealingWeightDecay',
    'FiniteLossHook',
    'GroupedOptimWrapperConstructor',
    'MaskAnnealingHook',
    'MissedValidationHook',
    'SeedHook',
    'ShardHook',
    'SomaRunner',
    'StartFromDataHook',
    'StopHook',
    'TrainableEMAHook',
    'WarmupPolyLR',
    'WeightDecayLoggerHook',
]
