"""The engine: runner, hooks, schedulers and optimizer groups, in mmengine's root registries."""

from .hooks import (
    AdapterCheckpointHook,
    BlockFreezeHook,
    TrainableEMAHook,
    WeightDecayLoggerHook,
)
from .loader import install_loader
from .optim import GroupedOptimWrapperConstructor
from .runner import SomaRunner
from .schedulers import CosineAnnealingWeightDecay

install_loader()

__all__ = [
    'AdapterCheckpointHook',
    'BlockFreezeHook',
    'CosineAnnealingWeightDecay',
    'GroupedOptimWrapperConstructor',
    'SomaRunner',
    'TrainableEMAHook',
    'WeightDecayLoggerHook',
]
