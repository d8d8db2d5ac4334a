"""The engine: runner, hooks, schedulers and optimizer groups, in mmengine's root registries."""

from .hooks import BlockFreezeHook, WeightDecayLoggerHook
from .optim import GroupedOptimWrapperConstructor
from .runner import SomaRunner
from .schedulers import CosineAnnealingWeightDecay

__all__ = [
    'BlockFreezeHook',
    'CosineAnnealingWeightDecay',
    'GroupedOptimWrapperConstructor',
    'SomaRunner',
    'WeightDecayLoggerHook',
]
