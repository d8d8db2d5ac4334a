"""Adapted layers whose weight another module reads, instead of calling the layer.

``nn.MultiheadAttention`` computes with ``self.out_proj.weight`` and never calls ``out_proj``; its
``in_proj_weight`` is in no layer at all. So do Swin of torchvision, and BEiT, EVA and Swin V2 of
timm with ``qkv``. While such a module runs, it finds the weights that the layers compute with in
the place of the pretrained ones.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Collection, Iterable, Iterator
from functools import cache, partial
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from .layer import AdapterLayer

# What may follow a weight that is looked at and not computed with.
_LOOKS = {'dtype', 'device', 'shape', 'size', 'data', 'requires_grad', 'is_cuda'}


class InProjection(nn.Linear):
    """Query, key and value of an ``nn.MultiheadAttention`` as a layer, which has its parameters."""

    groups = 3

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        rows, columns = attention.in_proj_weight.shape
        nn.Linear.__init__(self, columns, rows, device='meta')
        self.weight, self.bias = attention.in_proj_weight, attention.in_proj_bias


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of a model by name, and the input projections of attention as ``in_proj``."""
    layers = {}
    for name, module in model.named_modules():
        if name:
            layers[name] = module
        weight = getattr(module, 'in_proj_weight', None)
        if isinstance(module, nn.MultiheadAttention) and weight is not None:
            layers.setdefault(f'{name}.in_proj'.removeprefix('.'), InProjection(module))
    return layers


def parameter_name(layer: str, leaf: str, names: Collection[str]) -> str:
    """The name of a layer's weight or bias in a state dict, such as that of ``in_proj``."""
    name, joined = f'{layer}.{leaf}', f'{layer}_{leaf}'
    return joined if joined in names and name not in names else name


def connect(model: nn.Module, names: Iterable[str]) -> None:
    """Let the modules that read the weights of adapted layers find those of the adapter.

    Args:
        model: What the layers stand in.
        names: Of the layers.
    """
    lent: dict[str, list[str]] = {}
    for name in names:
        layer, (parent, _, leaf) = model.get_submodule(name), name.rpartition('.')
        if not isinstance(layer, AdapterLayer) or not leaf:
            continue
        attention = model.get_submodule(parent)
        weight = [leaf, 'weight']
        if _is_projection(attention, leaf):
            weight = ['in_proj_weight']
            attention.register_load_state_dict_pre_hook(_read_twice)
            layer.register_state_dict_post_hook(_write_once)
        if not layer.TENSORS:  # then its weight is the pretrained one
            continue
        path, reader = parent.split('.') if parent else [], None
        for depth in range(len(path) + 1):
            ancestor = '.'.join(path[:depth])
            if _reads(type(model.get_submodule(ancestor)), (*path[depth:], *weight)):
                reader = ancestor
                break
        if reader is not None:
            lent.setdefault(reader, []).append('.'.join([*path[depth:], leaf]))
    for reader, layers in lent.items():
        module = model.get_submodule(reader)
        module.register_forward_pre_hook(partial(_lend, tuple(layers)))
        module.register_forward_hook(partial(_take_back, tuple(layers)), always_call=True)


def disconnect(model: nn.Module) -> None:
    """Undo :func:`connect`, once the layers are plain."""
    for module in model.modules():
        if _is_projection(module, 'in_proj') and hasattr(module, 'in_proj'):
            plain = module.in_proj
            del module.in_proj
            module.in_proj_weight, module.in_proj_bias = plain.weight, plain.bias
        for hooks in (
            module._forward_pre_hooks,
            module._forward_hooks,
            module._load_state_dict_pre_hooks,
        ):
            for key, hook in list(hooks.items()):
                function = getattr(hook, 'func', getattr(hook, 'hook', hook))
                if function in (_lend, _take_back, _read_twice):
                    del hooks[key]
                    module._forward_hooks_always_called.pop(key, None)


def _is_projection(module: nn.Module, leaf: str) -> bool:
    return leaf == 'in_proj' and isinstance(module, nn.MultiheadAttention)


def _lend(names: tuple[str, ...], module: nn.Module, args: Any) -> None:
    """Put the weights that layers compute with into their place: a forward pre-hook.

    A shadow in ``__dict__`` leaves the parameter where it is. The layer is plain meanwhile, so that
    calling it does not adapt it twice.
    """
    for layer, attention in _layers(names, module):
        if attention is not None and layer.weight is not attention.in_proj_weight:
            # Moving a module from the meta device makes new parameters.
            layer.weight, layer.bias = attention.in_proj_weight, attention.in_proj_bias
        weight = layer.effective_weight().to(layer.weight.dtype)
        kind = nn.Linear if isinstance(layer, nn.Linear) else nn.Conv2d
        layer.__dict__.update(weight=weight, forward=MethodType(kind.forward, layer))
        if attention is not None:
            attention.__dict__['in_proj_weight'] = weight


def _take_back(names: tuple[str, ...], module: nn.Module, args: Any, output: Any) -> None:
    """Undo :func:`_lend`: a forward hook."""
    for layer, attention in _layers(names, module):
        for shadow in (layer, attention):
            for key in ('weight', 'forward', 'in_proj_weight'):
                if shadow is not None:
                    shadow.__dict__.pop(key, None)


def _layers(
    names: tuple[str, ...], module: nn.Module
) -> Iterator[tuple[AdapterLayer, nn.MultiheadAttention | None]]:
    """Yield the layers of a module, with the attention that has the weight of an ``in_proj``."""
    for name in names:
        parent, _, leaf = name.rpartition('.')
        attention = module.get_submodule(parent)
        yield module.get_submodule(name), attention if _is_projection(attention, leaf) else None


def _write_once(layer: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    """Leave parameters that the attention has out of a state dict."""
    for leaf in ('weight', 'bias'):
        state.pop(f'{prefix}{leaf}', None)


def _read_twice(module: nn.Module, state: dict[str, Tensor], prefix: str, *args: Any) -> None:
    """Let the layer find its parameters in a state dict that is loaded."""
    for leaf in ('weight', 'bias'):
        if (value := state.get(f'{prefix}in_proj_{leaf}')) is not None:
            state[f'{prefix}in_proj.{leaf}'] = value


def _reads(kind: type[nn.Module], path: tuple[str, ...]) -> bool:
    """Whether the code of a module's ``forward`` computes with ``self.<path>``."""
    loads, size = _loads(kind), len(path)
    return any(
        loads[i : i + size] == path and loads[i + size] not in _LOOKS
        for i in range(len(loads) - size)
    )


@cache
def _loads(kind: type[nn.Module]) -> tuple[str, ...]:
    """What ``forward`` loads, and the methods of the class that it names, in the order of code."""
    remaining, seen, loads = ['forward'], {'forward'}, []
    while remaining:
        method = inspect.unwrap(getattr(kind, remaining.pop()))
        code: CodeType | None = getattr(method, '__code__', None)
        if code is None:
            continue
        loads += [str(instruction.argval) for instruction in dis.get_instructions(code)]
        for name in {*code.co_names} - seen - {*vars(nn.Module)}:
            if isinstance(getattr(kind, name, None), FunctionType):
                seen.add(name)
                remaining.append(name)
    return (*loads, '')
