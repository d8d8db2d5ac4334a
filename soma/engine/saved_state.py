"""The state of a training that is resumed, made to fit a config that was changed meanwhile."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence, Sized
from typing import Any

from mmengine.optim import OptimWrapper, _ParamScheduler
from mmengine.runner import Runner

from ..io.files import InputError

_PROGRESS = {'last_step', '_global_step', '_last_value', 'verbose', 'base_values'}
_PROGRESS |= {'best', 'num_bad_epochs', 'cooldown_counter'}  # of one that follows the scores
_KIND = 'optim_wrapper.optimizer.type'
# How an optimizer computes, which depends on the machine.
_KERNELS = {'params', 'fused', 'foreach', 'capturable', 'differentiable'}


def training_facts(runner: Runner) -> dict[str, int | str | None]:
    """What a run depends on beside its optimizer and schedules, by its key in the config."""
    loop, loader = runner.train_loop, runner.train_dataloader
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)  # there may be several
    counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    facts = {
        _KIND: type(optimizer).__name__,
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
    checkpoint: dict, optim_wrapper: OptimWrapper, schedulers: Sequence[_ParamScheduler]
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

    Returns:
        What differs.

    Raises:
        InputError: If the optimizer is of another kind or trains other parameters, or a schedule
            that was changed depends on the scores.
    """
    saved, new = checkpoint['optimizer'], optim_wrapper.state_dict()
    kind = type(optim_wrapper.optimizer).__name__
    saved_kind = checkpoint['meta'].get('training', {}).get(_KIND, kind)
    if kind != saved_kind:
        raise InputError(
            f'{_KIND} was {saved_kind} and is {kind} now: start anew from the checkpoint with '
            'load_from, or restore it'
        )
    _check_parameters(saved, optim_wrapper)
    _fit_shapes(saved, optim_wrapper)
    changes = []
    for group, new_group in zip(saved['param_groups'], new['param_groups'], strict=True):
        changes += differences(_settings(group), _settings(new_group))
    saved_schedulers = checkpoint.get('param_schedulers', [])
    if len(saved_schedulers) != len(schedulers):
        changes.append(f'there were {len(saved_schedulers)} schedules and are {len(schedulers)}')
    for index, (state, scheduler) in enumerate(zip(saved_schedulers, schedulers, strict=False)):
        before, now = _schedule(state), _schedule(scheduler.state_dict())
        changes += [f'param_scheduler.{index}: {line}' for line in differences(before, now)]
        if before.keys() != now.keys():
            changes.append(f'param_scheduler.{index} was of another type')
    if changes:
        if any(hasattr(scheduler, 'monitor') for scheduler in schedulers):
            raise InputError(
                'a schedule that follows the scores cannot be changed on the way: restore '
                f'param_scheduler ({changes[0]})'
            )
        _go_through(schedulers, checkpoint['meta'])
        kept = {key: saved[key] for key in ('state', 'loss_scaler') if key in saved}
        checkpoint['optimizer'] = {**optim_wrapper.state_dict(), **kept}
        checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in schedulers]
    return list(dict.fromkeys(changes))


def _check_parameters(saved: Mapping, optim_wrapper: OptimWrapper) -> None:
    counts = [len(group['params']) for group in optim_wrapper.optimizer.param_groups]
    saved_counts = [len(group['params']) for group in saved['param_groups']]
    if counts != saved_counts:
        raise InputError(
            f'the optimizer of the checkpoint has groups of {saved_counts} parameters, that of the '
            f'config of {counts}: this is another fine-tuning; start it from the checkpoint with '
            'load_from, or restore the config'
        )


def _fit_shapes(saved: Mapping, optim_wrapper: OptimWrapper) -> None:
    """Make vectors of one element of numbers, as parameters of older versions were."""
    parameters = (p for group in optim_wrapper.optimizer.param_groups for p in group['params'])
    for index, parameter in enumerate(parameters):
        state = saved['state'].get(index, {}) if parameter.shape == (1,) else {}
        numbers = {n: v for n, v in state.items() if getattr(v, 'shape', 0) == () and n != 'step'}
        state.update({name: value.view(1) for name, value in numbers.items()})


def _settings(group: Mapping) -> dict[str, Any]:
    """The settings of an optimizer's group, at the start of what is scheduled."""
    names = group.keys() - _KERNELS
    if 'initial_momentum' in names:  # which the schedule puts into the betas
        names -= {'betas'}
    scheduled = {name for name in names if f'initial_{name}' in group}
    values = {name: group[name] for name in sorted(names - scheduled)}
    return {name.removeprefix('initial_'): value for name, value in values.items()}


def _schedule(state: Mapping) -> dict[str, Any]:
    return {n: v for n, v in state.items() if n not in _PROGRESS and not callable(v)}


def _go_through(schedulers: Sequence[_ParamScheduler], meta: Mapping) -> None:
    """Make the steps that a training up to an iteration, and an epoch, has made."""
    length = meta['iter'] // meta['epoch'] if meta['epoch'] else math.inf
    with warnings.catch_warnings():  # that the optimizer makes no steps
        warnings.simplefilter('ignore')
        for iteration in range(1, meta['iter'] + 1):
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
            if iteration % length == 0:
                for scheduler in schedulers:
                    if scheduler.by_epoch:
                        scheduler.step()
