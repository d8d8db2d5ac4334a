"""The engine: runner, hooks, schedulers and optimizer groups, in mmengine's root registries."""

from .amp import BFloat16OptimWrapper
from .hooks import AdapterCheckpointHook, BlockFreezeHook, TrainableEMAHook, WeightDecayLoggerHook
from .loader import install_loader
from .optim import GroupedOptimWrapperConstructor
from .runner import SomaRunner
from .schedulers import CosineAnnealingWeightDecay

install_loader()

__all__ = [
    'AdapterCheckpointHook',
    'BFloat16OptimWrapper',
    'BlockFreezeHook',
    'CosineAnnealingWeightDecay',
    'GroupedOptimWrapperConstructor',
    'SomaRunner',
    'TrainableEMAHook',
    'WeightDecayLoggerHook',
]
