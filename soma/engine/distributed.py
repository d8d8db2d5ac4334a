"""Several processes: their group, a model that they hold each, or share out (FSDP2)."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import all_gather_object
from mmengine.model import convert_sync_batchnorm
from torch import Tensor, nn
from torch.optim import Optimizer

from ..adapters.blocks import number_blocks
from ..adapters.sharded import gather, is_sharded, local, share_like
from ..models.build import base_prefix


def leave_group_at_exit() -> None:
    """Leave the other processes when Python ends."""
    atexit.register(_leave_group)


def _leave_group() -> None:
    """End gloo's threads; one that still drops a tensor when Python ends aborts the process."""
    failed = hasattr(sys, 'last_value')  # then the others may never answer
    if torch.distributed.is_initialized() and not failed:
        torch.distributed.destroy_process_group()
        gc.collect()  # the wrapped model holds the group too


def unwrapped(model: nn.Module, sync_bn: str | None) -> nn.Module:
    """A model on the device of its process, as mmengine has it before it is wrapped."""
    model = model.to(get_device())
    return model if sync_bn is None else convert_sync_batchnorm(model, sync_bn)


def without_device(wrapper: Mapping | None) -> dict:
    """The config of a model's wrapper for several processes, as processes on CPUs need it."""
    plain = {'type': 'MMDistributedDataParallel', 'broadcast_buffers': False}
    return {**plain, **(wrapper or {}), 'device_ids': None}


def shard(model: nn.Module, optimizers: Sequence[Optimizer] = ()) -> list[nn.Module]:
    """Share out parameters, in place, and the state of their optimizers; all processes have both.

    Each block of the backbone is gathered while it runs, the rest for a whole step. Buffers stay
    whole. State dicts become those of plain ones, whole in the main process: all processes must ask
    for them at the same time.

    Returns:
        What is gathered at a time: the blocks, and at the end the model.
    """
    from torch.distributed.fsdp import fully_shard  # takes long to import

    parameters = dict(model.named_parameters())
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    before = {parameter: parameter.shape for parameter in parameters.values()}
    for parameter in before:  # a number cannot be shared out, a vector of one element can
        parameter.data = parameter.data.contiguous().view(parameter.shape or 1)
    backbone = model.get_submodule(base_prefix(model).rstrip('.'))
    units = [*map(backbone.get_submodule, number_blocks(backbone)), model]
    for unit in units:
        fully_shard(unit)

    def give_whole(module: nn.Module, state: dict[str, Tensor], *args: Any) -> None:
        parts = {name: value for name, value in state.items() if is_sharded(value)}
        for name, value in gather(parts).items():
            state[name] = value.view(shapes[name]) if value.numel() else value

    model.register_state_dict_post_hook(give_whole)
    parts = {parameter: model.get_parameter(name) for name, parameter in parameters.items()}
    for optimizer in optimizers:
        _shard_optimizer(optimizer, parts, before)
    return units


def _shard_optimizer(optimizer: Optimizer, parts: Mapping, before: Mapping) -> None:
    """Let an optimizer work on the parts of its parameters, of which ``before`` has the shapes."""
    shapes = [before[p] for group in optimizer.param_groups for p in group['params']]
    for group in optimizer.param_groups:
        group['params'] = [parts[parameter] for parameter in group['params']]
    for parameter in [*optimizer.state]:
        state = optimizer.state.pop(parameter)
        for name, value in state.items():
            if getattr(value, 'shape', None) == before[parameter] and name != 'step':
                state[name] = share_like(value, parts[parameter])
        optimizer.state[parts[parameter]] = state

    def give_whole(optimizer: Optimizer, content: dict) -> dict:
        states = {}
        for index, state in content['state'].items():
            parts = gather({name: value for name, value in state.items() if is_sharded(value)})
            if shapes[index] == ():
                parts = {n: v.view(()) if v.numel() else v for n, v in parts.items()}
            states[index] = {**state, **parts}
        return {**content, 'state': states}

    optimizer.register_state_dict_post_hook(give_whole)


def held_mb(model: nn.Module) -> list[float]:
    """Megabytes of parameters and buffers that each process holds."""
    tensors = [*model.parameters(), *model.buffers()]
    return all_gather_object(sum(local(tensor).nbytes for tensor in tensors) / 2**20)
