"""Hooks."""

from .adapter_checkpoint import AdapterCheckpointHook
from .block_freeze import BlockFreezeHook
from .trainable_ema import TrainableEMAHook
from .weight_decay_logger import WeightDecayLoggerHook

__all__ = ['AdapterCheckpointHook', 'BlockFreezeHook', 'TrainableEMAHook', 'WeightDecayLoggerHook']
