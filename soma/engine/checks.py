"""Find what is wrong with a config before hours of work, and name the key."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from numbers import Real
from types import FrameType, TracebackType

from mmengine.config import Config

from ..io.files import InputError

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
    ('optim_wrapper.clip_grad.max_norm', 0, False),
    ('param_scheduler*.begin', 0, True),
    ('param_scheduler*.end', 1, True),
    ('param_scheduler*.T_max', 1, True),
    ('param_scheduler*.eta_min', 0, False),
    ('param_scheduler*.power', 0, False),
    ('param_scheduler*.*factor', 0, False),
    ('param_scheduler*.gamma', 0, False),
    ('model.test_cfg.crop_size.*', 1, True),
    ('model.test_cfg.stride.*', 1, True),
    ('randomness.seed', 0, True),
    ('default_hooks.*.interval', -1, True),
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
    config = _plain(config)
    if not config.get('model'):
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
    variable, starter = _LAUNCHERS.get(config.get('launcher', 'none'), (None, None))
    if variable and variable not in os.environ:
        raise InputError(f'launcher {config["launcher"]} needs {starter}, which sets {variable}')


def _plain(config: Config | Mapping) -> Mapping:
    return config.to_dict() if isinstance(config, Config) else config


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
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        return False
    return value >= lowest and (not counts or value == int(value))


def schedule_remark(schedulers: Sequence[Mapping], max_iters: int) -> str | None:
    """What is odd about schedules, counted in iterations, that end at another one than training."""
    ends = [s['end'] for s in schedulers if not s.get('by_epoch', True) and 'end' in s]
    if not ends or max(ends) == max_iters:
        return None
    rest = 'the last values stay to the end' if max(ends) < max_iters else 'it stops on the way'
    return f'param_scheduler ends at iteration {max(ends)} and training at {max_iters}: {rest}'


@contextmanager
def naming_keys(config: Config | Mapping) -> Iterator[None]:
    """Name the key of a config that something could not be built from.

    An error of anything that mmengine's registries build counts as one of the config.

    Args:
        config: What it is built from.

    Raises:
        InputError: In the place of such an error.
    """
    try:
        yield
    except OSError:  # it names its file
        raise
    except Exception as error:
        place = _place(error.__traceback__, _plain(config))
        if place is None:
            raise
        reason = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        if unknown := re.match(r'(.+ is not in the .+ registry)\. ', reason):
            raise InputError(f'{place}: {unknown[1]}') from error
        kind = '' if reason and isinstance(error, ValueError) else f'{type(error).__name__}: '
        raise InputError(f'{place}: {kind}{" ".join(reason.split())}') from error


def _place(traceback: TracebackType | None, config: Mapping) -> str | None:
    """Dotted key of the innermost part of a config that was being built; None if none was."""
    place, built = '', False
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
        code = frame.f_code
        if not code.co_name.startswith('build') or not _is_of_mmengine(frame):
            continue
        built = True
        arguments = (frame.f_locals.get(n) for n in code.co_varnames[: code.co_argcount])
        part = next((value for value in arguments if isinstance(value, Mapping)), None)
        place = _find(config, part or {}, place) or place
    return (place or 'the config') if built else None


def _is_of_mmengine(frame: FrameType) -> bool:
    return frame.f_globals.get('__name__', '').startswith('mmengine.')


def _find(config: Mapping, part: Mapping, place: str) -> str | None:
    """Dotted key of what something was built from; the nearest below a place, if there is one."""
    parts = [*_parts(config)]
    parts.sort(key=lambda item: not f'{item[0]}.'.startswith(f'{place}.'))
    # Builders add to what they are given, and take from it.
    equal = [key for key, value in parts if value == part]
    return next(iter(equal + [k for k, v in parts if v.get('type') == part.get('type', v)]), None)


def _parts(node: object, key: str = '') -> Iterator[tuple[str, Mapping]]:
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    for name, value in items:
        place = f'{key}.{name}' if key else str(name)
        if isinstance(value, Mapping):
            yield place, value
        if isinstance(value, Mapping | list | tuple):
            yield from _parts(value, place)
