"""Hooks, and when each of them has its turn.

At each moment hooks are called by priority, those of one priority as they were registered.
``SomaRunner`` registers the first three before all others, after them ``ShardHook``,
``StartFromDataHook``, ``CardHook`` and ``MissedValidationHook``; ``tools/train.py`` the
``StopHook``; a config the rest.

========== ============================ =====================================================
priority   hook                         what depends on the order
========== ============================ =====================================================
HIGHEST    ``CheckHook``                nothing starts that would fail
HIGHEST    ``SeedHook``                 hooks that draw before a step draw from its seed
HIGHEST    ``FiniteLossHook``           all others get numbers, none sees a step gone wrong
VERY_HIGH  ``WeightDecayLoggerHook``    mmengine's ``LoggerHook`` (BELOW_NORMAL) reads it
VERY_HIGH  ``StartFromDataHook``        hooks that look at the adapter find its start
HIGH       ``ShardHook``                what reads whole weights is done, what keeps some follows
NORMAL     ``BlockFreezeHook``
NORMAL     ``MaskAnnealingHook``
NORMAL     ``TrainableEMAHook``         puts the average into a file before the base is left out
LOW        ``PruneHook``                ends a training whose last checkpoint is then written
VERY_LOW   ``AdapterCheckpointHook``    saves what the others made of a step
VERY_LOW   ``CompileBlocksHook``        compiles the layers that the others leave
LOWEST     ``CardHook``                 what the others put into a file becomes plain data
LOWEST     ``MissedValidationHook``     validates before training, when all others are ready
LOWEST     ``StopHook``                 stops when a checkpoint that was due is written
========== ============================ =====================================================
"""

from .adapter_checkpoint import AdapterCheckpointHook
from .block_freeze import BlockFreezeHook
from .check import CheckHook
from .checkpoint_card import CardHook
from .compile_blocks import CompileBlocksHook
from .finite_loss import FiniteLossHook
from .mask_annealing import MaskAnnealingHook
from .missed_validation import MissedValidationHook
from .prune import PruneHook
from .seed import SeedHook
from .shard import ShardHook
from .start_from_data import StartFromDataHook
from .stop import StopHook
from .trainable_ema import TrainableEMAHook
from .weight_decay_logger import WeightDecayLoggerHook

__all__ = [
    'AdapterCheckpointHook',
    'BlockFreezeHook',
    'CardHook',
    'CheckHook',
    'CompileBlocksHook',
    'FiniteLossHook',
    'MaskAnnealingHook',
    'MissedValidationHook',
    'PruneHook',
    'SeedHook',
    'ShardHook',
    'StartFromDataHook',
    'StopHook',
    'TrainableEMAHook',
    'WeightDecayLoggerHook',
]
