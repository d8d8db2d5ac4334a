"""Put adapters into any ``nn.Module``, and take them out again."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import Tensor, nn

from .base import Adapter, AdapterConfig, parse_adapter
from .from_data import waiting_layers
from .layer import AdapterLayer
from .lending import connect, disconnect
from .report import AdapterReport, adapter_report
from .saved import find_saved, is_inside, save_whole, saved_modules
from .sharded import refuse_sharded

logger = logging.getLogger(__name__)


def inject_adapter(
    model: nn.Module, config: Mapping | AdapterConfig, split: bool = True
) -> AdapterReport:
    """Put adapters into a model, and freeze all the rest but its ``modules_to_save``.

    Args:
        model: Any module; changed in place.
        config: ``dict(type='SoMA', rank=16, ...)``, or one of the dataclasses of
            :data:`~soma.adapters.ADAPTERS`, which say what options there are.
        split: Start the adapters from the weights now; those that start from data wait for
            :func:`~soma.adapters.start_from_data`. False when pretrained weights are loaded later,
            as on the meta device: plain weights loaded into adapted layers are split then.

    Returns:
        A report of what is adapted, frozen and trained; its ``str`` is a table.

    Raises:
        ValueError: If an option is wrong, a pattern or ``start_block`` matches nothing, a target
            cannot be adapted, or the model, unchanged then, has adapters already or is sharded.
    """
    config = parse_adapter(config)
    refuse_sharded(model, 'inject the adapter before')
    if split and any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError('adapter: the weights are not there (meta): inject with split=False')
    if names := [name for name, m in model.named_modules() if isinstance(m, Adapter)]:
        raise ValueError(
            f'adapter: {type(model).__name__} has an adapter already, in {names[0]!r}: merge it '
            'first, or start from a plain model'
        )
    try:
        saved = find_saved(model, config.modules_to_save)
        adapters = config.make(model, split)
        if both := [name for name in adapters if is_inside(name, saved)]:
            raise ValueError(f'{both[0]!r} is both in the targets and in modules_to_save')
    except ValueError as error:
        raise ValueError(f'adapter: {error}') from error
    model.requires_grad_(False)
    for name, module in adapters.items():
        _put(model, name, module)
        for parameter in adapter_names(module):
            module.get_parameter(parameter).requires_grad_(True)
    connect(model, adapters)
    save_whole(model, saved)
    if split and waiting_layers(model):
        logger.warning(
            '%s starts from data: call soma.adapters.start_from_data(model, batches) before '
            'training',
            config.method,
        )
    return adapter_report(model)


def merge_adapter(model: nn.Module) -> int:
    """Fold every adapted layer of a model into a plain one, in place.

    Args:
        model: Any module below which adapted layers may stand. A second call finds none and
            changes nothing.

    Returns:
        The number of layers that were merged.

    Raises:
        ValueError: If an adapter is no change of weights, or the model, unchanged, is sharded.
    """
    refuse_sharded(model, 'save the adapter (save_adapter), and merge it into a whole model')
    adapters = {n: m for n, m in model.named_modules() if n and isinstance(m, Adapter)}
    for name, module in adapters.items():
        if not isinstance(module, AdapterLayer):
            raise ValueError(
                f'{name} ({module.method}) is no change of weights: it cannot be folded into them'
            )
    for name, layer in adapters.items():
        _put(model, name, layer.merge())
    disconnect(model)
    for module in saved_modules(model).values():
        del module.saved_with_adapter
    return len(adapters)


def adapter_names(model: nn.Module) -> set[str]:
    """Names of the parameters that train with the adapters of a model."""
    trained = {p for m in saved_modules(model).values() for p in m.parameters()}
    for module in model.modules():
        if isinstance(module, Adapter):
            trained.update(module.adapter_parameters().values())
    return {name for name, parameter in model.named_parameters() if parameter in trained}


def adapter_factors(model: nn.Module) -> dict[nn.Parameter, tuple[float, float]]:
    """What the adapters of a model multiply learning rate and weight decay with, by parameter."""
    return {
        parameter: (adapter.LR_MULT.get(name, 1.0), float(name not in adapter.NO_DECAY))
        for adapter in model.modules()
        if isinstance(adapter, Adapter)
        for name, parameter in adapter.adapter_parameters().items()
    }


def parameter_groups(model: nn.Module, lr: float, weight_decay: float = 0.0) -> list[dict]:
    """Group what trains in a model for an optimizer of PyTorch, as its adapters want it.

    Args:
        model: Any module.
        lr: Learning rate; some parameters of an adapter may have a share of it.
        weight_decay: Of all but what an adapter exempts.

    Returns:
        Groups with ``params``, ``lr`` and ``weight_decay``.
    """
    factors, groups = adapter_factors(model), {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault(factors.get(parameter, (1.0, 1.0)), []).append(parameter)
    return [
        {'params': members, 'lr': lr * rate, 'weight_decay': weight_decay * decay}
        for (rate, decay), members in groups.items()
    ]


def adapter_state(model: nn.Module, in_layers: bool = True) -> dict[str, Tensor]:
    """The tensors of a model's state dict that its adapters have added to it, by name.

    Args:
        model: Any module.
        in_layers: False leaves out those of adapted layers, which follow from plain weights.
    """
    names = {
        f'{prefix}.{name}' if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, Adapter) and (in_layers or not isinstance(module, AdapterLayer))
        for name in module.TENSORS
    }
    return {name: value for name, value in model.state_dict().items() if name in names}


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module into the place of that name."""
    parent, _, leaf = name.rpartition('.')
    setattr(model.get_submodule(parent), leaf, module)
