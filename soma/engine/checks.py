"""Find what is wrong with a config before hours of work, and name the key."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from numbers import Real

from mmengine.config import Config
from mmengine.optim import _ParamScheduler

from ..io.files import InputError
from ..utils.config_errors import plain_config

# Dotted keys, the lowest value, and whether it counts something.
_NUMBERS = (
    ('train_cfg.max_iters', 1, True),
    ('train_cfg.max_epochs', 1, True),
    ('train_cfg.val_interval', 1, True),
    ('train_cfg.val_begin', 0, True),
    ('*_dataloader.batch_size', 1, True),
    ('*_dataloader.num_workers', 0, True),
    ('optim_wrapper.accumulative_counts', 1, True),
    ('optim_wrapper.optimizer.lr', 0, False),
    ('optim_wrapper.optimizer.weight_decay', 0, False),
    ('optim_wrapper.clip_grad.*_norm', 0, False),
    ('optim_wrapper.clip_grad.norm_type', 0, False),
    ('param_scheduler*.begin', 0, True),
    ('param_scheduler*.end', 1, True),
    ('param_scheduler*.T_max', 1, True),
    ('param_scheduler*.eta_min', 0, False),
    ('param_scheduler*.power', 0, False),
    ('param_scheduler*.*factor', 0, False),
    ('param_scheduler*.gamma', 0, False),
    ('model.*.loss_weight', 0, False),
    ('model.test_cfg.crop_size.*', 1, True),
    ('model.test_cfg.stride.*', 1, True),
    ('randomness.seed', 0, True),
    ('*_hooks.*.interval', -1, True),
    ('default_hooks.checkpoint.max_keep_ckpts', -1, True),
)
# What mmengine reads from the environment that a launcher makes.
_LAUNCHERS = {
    'pytorch': ('RANK', 'torchrun or tools/dist_train.sh'),
    'slurm': ('SLURM_PROCID', 'srun'),
    'mpi': ('OMPI_COMM_WORLD_LOCAL_RANK', 'mpirun'),
}
_REQUIRED = {
    'train': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    'val': ('val_dataloader', 'val_cfg', 'val_evaluator'),
    'test': ('test_dataloader', 'test_cfg', 'test_evaluator'),
}


def check_config(config: Config | Mapping) -> None:
    """Check the keys and numbers of a config that can be checked before anything is built.

    Args:
        config: Of mmengine's runner.

    Raises:
        InputError: If a key is missing or a number is none, or out of range.
    """
    config = plain_config(config)
    if not config.get('model') or not isinstance(config['model'], Mapping):
        raise InputError('the config has no model: is it one of _base_, which others inherit?')
    for keys in _REQUIRED.values():
        given = [key for key in keys if config.get(key) is not None]
        if given and len(given) < len(keys):
            missing = ', '.join(key for key in keys if key not in given)
            raise InputError(f'the config has {given[0]}, but no {missing}')
    for key, value in _leaves(config):
        for pattern, lowest, counts in _NUMBERS:
            if not fnmatchcase(key, pattern) or value is None:  # None is another way to leave out
                continue
            if not _is_number(value, lowest, counts):
                kind = 'a whole number' if counts else 'a number'
                raise InputError(f'{key} must be {kind} of at least {lowest}, got {value!r}')
    test = config['model'].get('test_cfg') or {}
    if str(config['model'].get('type')).endswith('EncoderDecoder'):
        if (mode := test.get('mode', 'whole')) not in ('slide', 'whole'):
            raise InputError(f"model.test_cfg.mode must be 'slide' or 'whole', got {mode!r}")
        if mode == 'slide' and not {'crop_size', 'stride'} <= test.keys():
            raise InputError("model.test_cfg needs crop_size and stride for the mode 'slide'")
    if not isinstance(heads := config.get('load_heads', True), bool):
        raise InputError(f'load_heads must be True or False, got {heads!r}')
    if not heads and not config.get('load_from') and not config.get('resume'):
        raise InputError('load_heads=False is for load_from, which the config lacks')
    _check_strategy(config)
    launcher = config.get('launcher', 'none')
    if launcher not in ('none', *_LAUNCHERS):
        known = ', '.join(_LAUNCHERS)
        raise InputError(f'launcher must be one of none, {known}, got {launcher!r}')
    variable, starter = _LAUNCHERS.get(launcher, (None, None))
    if variable and variable not in os.environ:
        raise InputError(f'launcher {launcher} needs {starter}, which sets {variable}')


def _check_strategy(config: Mapping) -> None:
    strategy, wrapper = config.get('strategy'), config.get('model_wrapper_cfg') or {}
    use = "strategy=dict(type='FSDP2') shares out parameters"
    if strategy not in (None, {'type': 'FSDP2'}):
        raise InputError(f'strategy: {use}, got {strategy!r}')
    if wrapper.get('type') == 'MMFullyShardedDataParallel' or (strategy and wrapper):
        raise InputError(f'model_wrapper_cfg: leave it out; {use}')


def _leaves(node: object, key: str = '') -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _leaves(value, f'{key}.{name}' if key else str(name))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _leaves(value, f'{key}.{index}')
    else:
        yield key, node


def _is_number(value: object, lowest: float, counts: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        return False
    return value >= lowest and (not counts or (math.isfinite(value) and value == int(value)))


def schedule_remark(schedulers: Sequence[_ParamScheduler], max_iters: int) -> str | None:
    """What is odd about schedules that end, with a learning rate of 0 perhaps, before training."""
    ends = [math.inf if scheduler.by_epoch else scheduler.end for scheduler in schedulers]
    last = max(ends, default=math.inf)
    if last >= max_iters:
        return None
    return f'param_scheduler ends at iteration {last}: its last values stay until {max_iters}'
