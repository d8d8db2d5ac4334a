"""The state of a training that is resumed, made to fit a config that was changed meanwhile."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Sized
from typing import Any

from mmengine.optim import OptimWrapper, _ParamScheduler
from mmengine.runner import Runner

from ..io.files import InputError

_PROGRESS = {'last_step', '_global_step', '_last_value', 'verbose'}
# How an optimizer computes, which depends on the machine.
_KERNELS = {'params', 'fused', 'foreach', 'capturable', 'differentiable'}


def training_facts(runner: Runner) -> dict[str, int]:
    """What a run depends on beside its optimizer and schedules, by its key in the config."""
    loop, loader = runner.train_loop, runner.train_dataloader
    counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    facts = {
        'train_dataloader.batch_size': getattr(loader.batch_sampler, 'batch_size', None),
        'train_cfg.max_iters': loop.max_iters,
        'optim_wrapper.accumulative_counts': counts,
        'the number of processes': runner.world_size,
    }
    if isinstance(loader.dataset, Sized):
        facts['the number of training images'] = len(loader.dataset)
    return facts


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say which of some settings have changed, where both are known."""
    return [
        f'{key} was {before[key]!r} and is {value!r} now'
        for key, value in now.items()
        if key in before and before[key] != value
    ]


def fit_state(
    checkpoint: dict,
    optim_wrapper: OptimWrapper,
    schedulers: Sequence[_ParamScheduler],
    epoch_length: int,
) -> list[str]:
    """Give the saved state of optimizer and schedules the settings of the config.

    A schedule that was changed is gone through anew, from its first step to the present one, so
    that training goes on with the values that it would have if it had started so. What the
    optimizer has gathered stays.

    Args:
        checkpoint: With ``optimizer``, ``param_schedulers`` and ``meta``; changed in place, if
            something differs.
        optim_wrapper: As the config makes it, at its start.
        schedulers: As the config makes them, at their start.
        epoch_length: Iterations of an epoch.

    Returns:
        What differs.

    Raises:
        InputError: If the optimizer is of another kind or trains other parameters, or a schedule
            that was changed depends on the scores.
    """
    saved, new = checkpoint['optimizer'], optim_wrapper.state_dict()
    _check_parameters(saved, optim_wrapper)
    changes = []
    for index, group in enumerate(saved['param_groups']):
        before, now = _settings(group), _settings(new['param_groups'][index])
        changes += differences(before, now)
        if before.keys() - now.keys() and now.keys() - before.keys():
            raise InputError(
                'the optimizer is of another kind than that of the checkpoint '
                f'({sorted(before.keys() - now.keys())[0]} is not known to it): start anew from '
                'the checkpoint with load_from, or restore optim_wrapper'
            )
    saved_schedulers = checkpoint.get('param_schedulers', [])
    if len(saved_schedulers) != len(schedulers):
        changes.append(f'there were {len(saved_schedulers)} schedules and are {len(schedulers)}')
    for index, (state, scheduler) in enumerate(zip(saved_schedulers, schedulers, strict=False)):
        before, now = _schedule(state), _schedule(scheduler.state_dict())
        changes += [f'param_scheduler.{index}: {line}' for line in differences(before, now)]
    if changes:
        if any(hasattr(scheduler, 'monitor') for scheduler in schedulers):
            raise InputError(
                'a schedule that follows the scores cannot be changed on the way: restore '
                f'param_scheduler ({changes[0]})'
            )
        _go_through(schedulers, checkpoint['meta'], epoch_length)
        kept = {key: saved[key] for key in ('state', 'loss_scaler') if key in saved}
        checkpoint['optimizer'] = {**optim_wrapper.state_dict(), **kept}
        checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in schedulers]
    return list(dict.fromkeys(changes))


def _check_parameters(saved: Mapping, optim_wrapper: OptimWrapper) -> None:
    groups = optim_wrapper.optimizer.param_groups
    counts = [len(group['params']) for group in groups]
    saved_counts = [len(group['params']) for group in saved['param_groups']]
    fits = counts == saved_counts
    if fits:
        parameters = [p for group in groups for p in group['params']]
        numbers = [n for group in saved['param_groups'] for n in group['params']]
        for number, parameter in zip(numbers, parameters, strict=True):
            state = saved['state'].get(number, {}).values()
            shapes = {value.shape for value in state if getattr(value, 'ndim', 0)}
            fits = fits and shapes <= {parameter.shape}
    if not fits:
        raise InputError(
            f'the optimizer of the checkpoint works on {sum(saved_counts)} parameters in '
            f'{len(saved_counts)} groups, that of the config on {sum(counts)} in {len(counts)}, or '
            'they differ in shape: this is another fine-tuning; start it from the checkpoint with '
            'load_from, or restore the config'
        )


def _settings(group: Mapping) -> dict[str, Any]:
    """The settings of an optimizer's group, at the start of what is scheduled."""
    names = group.keys() - _KERNELS
    scheduled = {name for name in names if f'initial_{name}' in group}
    values = {name: group[name] for name in sorted(names - scheduled)}
    return {name.removeprefix('initial_'): value for name, value in values.items()}


def _schedule(state: Mapping) -> dict[str, Any]:
    # The base values are the optimizer's settings.
    return {n: v for n, v in state.items() if n not in _PROGRESS and n != 'base_values'}


def _go_through(schedulers: Sequence[_ParamScheduler], meta: Mapping, epoch_length: int) -> None:
    with warnings.catch_warnings():  # that the optimizer makes no steps
        warnings.simplefilter('ignore')
        for iteration in range(1, meta['iter'] + 1):
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
            if iteration % epoch_length == 0 and iteration // epoch_length <= meta['epoch']:
                for scheduler in schedulers:
                    if scheduler.by_epoch:
                        scheduler.step()
