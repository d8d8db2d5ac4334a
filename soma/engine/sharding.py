"""A model and its optimizers, shared out among processes (FSDP2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_gather_object
from torch import Tensor, nn
from torch.optim import Optimizer

from ..adapters.blocks import number_blocks
from ..adapters.sharded import gather, is_sharded, local, share_like
from ..models.build import base_prefix


def shard(model: nn.Module, optimizers: Sequence[Optimizer] = ()) -> list[nn.Module]:
    """Share out the parameters of a model, in place, and the state of its optimizers.

    Each block of the backbone is gathered while it runs, the rest for a whole step. Buffers stay
    whole. State dicts are those of the plain model and of its optimizers, of whole tensors in the
    main process: all processes must ask for them at the same time.

    Args:
        model: With the same weights in all processes, each on its device.
        optimizers: Of its parameters, perhaps with a state to go on from.

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
    blocks = [backbone.get_submodule(name) for name in number_blocks(backbone)]
    units = [*blocks, model]
    for unit in units:
        fully_shard(unit)

    def give_whole(module: nn.Module, state: dict[str, Tensor], *args: Any) -> None:
        for name, value in gather(state).items():
            state[name] = value.view(shapes[name]) if value.numel() else value

    model.register_state_dict_post_hook(give_whole)
    parts = {parameter: model.get_parameter(name) for name, parameter in parameters.items()}
    for optimizer in optimizers:
        _shard_optimizer(optimizer, parts, before)
    return units


def _shard_optimizer(
    optimizer: Optimizer,
    parts: Mapping[nn.Parameter, nn.Parameter],
    before: Mapping[nn.Parameter, torch.Size],
) -> None:
    """Let an optimizer work on the parts of its parameters, whose shapes were others before."""
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
            whole = {n: v.view(shapes[index]) if v.numel() == 1 else v for n, v in parts.items()}
            states[index] = {**state, **whole}
        return {**content, 'state': states}

    optimizer.register_state_dict_post_hook(give_whole)


def held_mb(model: nn.Module) -> list[float]:
    """Megabytes of parameters and buffers that each process holds."""
    tensors = [*model.parameters(), *model.buffers()]
    return all_gather_object(sum(local(tensor).nbytes for tensor in tensors) / 2**20)
