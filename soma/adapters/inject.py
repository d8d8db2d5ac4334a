"""Put adapters into any ``nn.Module``, and take them out again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from .config import AdapterConfig, SVFConfig, parse_adapter
from .layer import Adapter, AdapterLayer
from .report import AdapterReport, adapter_report


def inject_adapter(
    model: nn.Module, config: Mapping | AdapterConfig, split: bool = True
) -> AdapterReport:
    """Put adapters into a model, and freeze all the rest.

    Args:
        model: Any module; changed in place.
        config: ``dict(type='SoMA', rank=16, ...)``, or one of the dataclasses of
            :data:`~soma.adapters.ADAPTERS`, which say what options there are.
        split: Start the adapters from the weights now. False when pretrained weights are loaded
            later: a plain weight that is loaded into an adapted layer is split then.

    Returns:
        A report of what is adapted, frozen and trained; its ``str`` is a table.

    Raises:
        ValueError: If an option is wrong, a pattern or ``start_block`` matches no layer, a target
            cannot be adapted, or the model has adapters already. The model is unchanged then.
    """
    config = parse_adapter(config)
    if names := [name for name, m in model.named_modules() if isinstance(m, Adapter)]:
        raise ValueError(
            f'adapter: {type(model).__name__} has an adapter already, in {names[0]!r}: merge it '
            'first, or start from a plain model'
        )
    try:
        adapters = config.make(model, split)
    except ValueError as error:
        raise ValueError(f'adapter: {error}') from error
    model.requires_grad_(False)
    for name, module in adapters.items():
        _put(model, name, module)
        for own in adapter_names(module):
            module.get_parameter(own).requires_grad_(True)
    return adapter_report(model)


def merge_adapter(model: nn.Module) -> int:
    """Fold every adapted layer of a model into a plain one, in place.

    Args:
        model: Any module below which adapted layers may stand. A second call finds none and
            changes nothing.

    Returns:
        The number of layers that were merged.

    Raises:
        ValueError: If an adapter is no change of weights. The model is unchanged then.
    """
    adapters = {n: m for n, m in model.named_modules() if n and isinstance(m, Adapter)}
    for name, module in adapters.items():
        if not isinstance(module, AdapterLayer):
            raise ValueError(
                f'{name} ({module.method}) is no change of weights: it cannot be folded into them'
            )
    for name, layer in adapters.items():
        _put(model, name, layer.merge())
    return len(adapters)


def decompose(
    module: nn.Module,
    ratio: float = 1.0,
    targets: str | Sequence[str] = r'.+',
    exclude: str | Sequence[str] = (),
) -> nn.Module:
    r"""Decompose the linear layers and convolutions of a network, so that singular values train.

    This is SVF (arXiv 2206.06122) for any network::

        decompose(resnet, targets=r'layer[234]\..+')  # train the later stages only
        print(adapter_report(resnet))  # with the largest error of rebuilding a weight

    Args:
        module: A network, changed in place, or a single layer.
        ratio: Share of the singular values that train, the largest first; the rest of a weight
            stays as it is.
        targets: Regular expression, or several, that fully match a module's dotted name. What
            they match beside linear layers and convolutions is left alone.
        exclude: As ``targets``: which layers stay plain.

    Returns:
        The network, or the decomposed layer. It computes what it did; all but the singular values
        is frozen.

    Raises:
        ValueError: If no layer is left to decompose, or ``ratio`` is out of range.
    """
    config = SVFConfig(ratio=ratio, groups={})
    if (kind := config.layer_class(module)) is not None:
        if targets != r'.+' or exclude:
            raise ValueError('a single layer has no layers to choose by targets and exclude')
        layer = kind.from_plain(module, ratio)
        layer.split_()
        return layer
    patterns = [targets] if isinstance(targets, str) else targets
    layers = {name: m for name, m in module.named_modules() if config.layer_class(m)}
    found = [n for n in layers if any(re.fullmatch(pattern, n) for pattern in patterns)]
    if not found:
        known = f'{list(layers)[:5]} ...' if layers else 'there are none'
        raise ValueError(f'{targets!r} matches no linear layer or convolution: {known}')
    names = [re.escape(name) for name in found]
    inject_adapter(module, replace(config, targets=names, exclude=exclude))
    return module


def adapter_names(model: nn.Module) -> set[str]:
    """Names of the parameters that train with the adapters of a model."""
    return _names(model, lambda adapter: adapter.adapter_parameters())


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model's state dict that its adapters have added to it, by name."""
    own = _names(model, lambda adapter: adapter.TENSORS)
    return {name: value for name, value in model.state_dict().items() if name in own}


def _names(model: nn.Module, of: Callable[[Adapter], Iterable[str]]) -> set[str]:
    """Names in the model of what its adapters name."""
    return {
        f'{prefix}.{name}' if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, Adapter)
        for name in of(module)
    }


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module into the place of that name."""
    parent, _, leaf = name.rpartition('.')
    setattr(model.get_submodule(parent), leaf, module)
