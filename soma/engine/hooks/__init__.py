"""Hooks."""

from .block_freeze import BlockFreezeHook
from .weight_decay_logger import WeightDecayLoggerHook

__all__ = ['BlockFreezeHook', 'WeightDecayLoggerHook']
