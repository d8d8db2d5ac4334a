"""Adapted layers whose weight another module reads, instead of calling the layer.

``nn.MultiheadAttention`` computes with ``self.out_proj.weight`` and never calls ``out_proj``; its
``in_proj_weight`` is in no layer at all. So do Swin of torchvision, and BEiT, EVA and Swin V2 of
timm with ``qkv``. Nobody can tell such code from the outside. So, while a module runs, whoever
reads the weight of an adapted layer in it gets the one that the layer computes with; the layer
itself, and who reads it at rest, gets the pretrained one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from torch import Tensor, nn

from .layer import RUNNING, AdapterLayer

# Of both hooks, in all modules: torch.compile looks at keys, and would compile each block anew.
# PyTorch's own are not negative.
_KEY = -1


class InProjection(nn.Linear):
    """Query, key and value of an ``nn.MultiheadAttention`` as a layer, which has its parameters."""

    groups = 3

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        rows, columns = attention.in_proj_weight.shape
        nn.Linear.__init__(self, columns, rows, device='meta')
        self.weight, self.bias = attention.in_proj_weight, attention.in_proj_bias


class AdaptedAttention(nn.MultiheadAttention):
    """An ``nn.MultiheadAttention`` with an adapted ``in_proj``."""

    def __getattr__(self, name: str) -> Any:
        """Find what PyTorch does; the projection's weight is that of the layer while it runs."""
        value = super().__getattr__(name)
        if name != 'in_proj_weight':
            return value
        layer = self.in_proj
        if layer._parameters['weight'] is not value:  # moving from the meta device makes new ones
            layer.weight, layer.bias = value, self.in_proj_bias
        return layer.weight


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of a model by name, and the input projections of attention as ``in_proj``."""
    layers = {}
    for name, module in model.named_modules():
        if name:
            layers[name] = module
        # One that only derives from it may compute something else.
        if type(module) is nn.MultiheadAttention and module.in_proj_weight is not None:
            layers[f'{name}.in_proj'.removeprefix('.')] = InProjection(module)
    return layers


def parameter_name(layer: str, leaf: str, names: Collection[str]) -> str:
    """The name of a layer's weight or bias in a state dict, such as that of ``in_proj``."""
    name, joined = f'{layer}.{leaf}', f'{layer}_{leaf}'
    return joined if joined in names and name not in names else name


def connect(model: nn.Module, names: Iterable[str]) -> None:
    """Let who reads the weights of adapted layers find those that the layers compute with.

    Args:
        model: What the layers stand in.
        names: Of the layers.
    """
    modules = {}
    for name in names:
        layer, (parent, _, leaf) = model.get_submodule(name), name.rpartition('.')
        if not isinstance(layer, AdapterLayer):
            continue
        attention = model.get_submodule(parent)
        if leaf == 'in_proj' and type(attention) is nn.MultiheadAttention:
            attention.__class__ = AdaptedAttention
            attention.register_load_state_dict_pre_hook(_read_twice)
            layer.register_state_dict_post_hook(_write_once)
        if not layer.TENSORS:  # then its weight is the pretrained one
            continue
        path = name.split('.')
        modules.update(
            (part, model.get_submodule(part))
            for part in ('.'.join(path[:depth]) for depth in range(len(path) + 1))
        )
    for module in modules.values():
        module._forward_pre_hooks[_KEY] = _begin
        module._forward_hooks[_KEY] = _end
        module._forward_hooks_always_called[_KEY] = True  # also after an error


def disconnect(model: nn.Module) -> None:
    """Undo :func:`connect`, once the layers are plain."""
    for module in model.modules():
        if isinstance(module, AdaptedAttention):
            plain = module.in_proj
            del module.in_proj
            module.__class__ = nn.MultiheadAttention
            module.in_proj_weight, module.in_proj_bias = plain.weight, plain.bias
        for hooks in (
            module._forward_pre_hooks,
            module._forward_hooks,
            module._load_state_dict_pre_hooks,
        ):
            for key, hook in list(hooks.items()):
                if getattr(hook, 'hook', hook) in (_begin, _end, _read_twice):
                    del hooks[key]
                    module._forward_hooks_always_called.pop(key, None)


def _begin(module: nn.Module, args: Any) -> None:
    """Note that a module runs: a forward pre-hook."""
    RUNNING.modules.append(module)


def _end(module: nn.Module, args: Any, output: Any) -> None:
    """Note that it is done, and what it has called too: a forward hook."""
    while module in RUNNING.modules and RUNNING.modules.pop() is not module:
        pass


def _write_once(layer: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    """Leave parameters that the attention has out of a state dict."""
    for leaf in ('weight', 'bias'):
        state.pop(f'{prefix}{leaf}', None)


def _read_twice(module: nn.Module, state: dict[str, Tensor], prefix: str, *args: Any) -> None:
    """Let the layer find its parameters in a state dict that is loaded."""
    for leaf in ('weight', 'bias'):
        if (value := state.get(f'{prefix}in_proj_{leaf}')) is not None:
            state[f'{prefix}in_proj.{leaf}'] = value
