"""Networks of timm as backbones: made by name, without a copy of their weights to throw away."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_parameter_registration_hook

from ...adapters.base import is_count
from ...adapters.pretrained import is_block_matrix

# What a backbone has no use for; with '' a network keeps all tokens and no pooling of its own.
NO_HEAD = {'num_classes': 0, 'global_pool': ''}
# They would read files or fetch them; a card of any origin may name options.
_REFUSED = {
    'pretrained',
    'pretrained_cfg',
    'pretrained_cfg_overlay',
    'checkpoint_path',
    'cache_dir',
}
_DEEPEST = 1000
_ANY_SIZE = {'dynamic_img_size': True, 'strict_img_size': False}
# Where timm's networks keep what the maps do not depend on.
HEADS = ('norm', 'fc_norm', 'head', 'neck', 'attn_pool', 'blocks_token_only', 'cls_attn_blocks')


def create_network(
    model_name: str, options: Mapping | None = None, on_meta: bool = False
) -> nn.Module:
    """Make a network of timm without weights, head or pooling, for images of any size.

    Args:
        model_name: As for ``timm.create_model``, such as ``'vit_large_patch16_dinov3'``.
        options: Further options of ``timm.create_model``.
        on_meta: Leave its parameters on the meta device, without memory.

    Returns:
        The network.

    Raises:
        ValueError: If there is no such network, an option is wrong, or the network cannot return
            the maps of its blocks.
    """
    if not isinstance(model_name, str) or not timm.is_model(model_name):
        close = get_close_matches(str(model_name).partition('.')[0], timm.list_models(), 3)
        hint = f'is it one of {close}?' if close else 'timm.list_models() names them'
        raise ValueError(f'timm has no model {model_name!r}: {hint}')
    options = {**NO_HEAD, **(options or {})}
    if refused := sorted(options.keys() & _REFUSED):
        raise ValueError(f'{refused[0]} is no option here: weights come by init_cfg')
    if not is_count(depth := options.get('depth', 1)) or depth > _DEEPEST:
        raise ValueError(f'depth must be up to {_DEEPEST}, and whole, got {depth!r}')
    try:
        options = {**_any_size(model_name), **options}
        network = _create(model_name, options, on_meta)
    except Exception as error:  # wrong options can raise anything
        raise ValueError(f'{model_name} with {options}: {error!r}') from error
    if not hasattr(network, 'forward_intermediates'):
        raise ValueError(f'{model_name} has no forward_intermediates: it returns no maps')
    return network


def _create(model_name: str, options: Mapping, on_meta: bool) -> nn.Module:
    try:
        with parameters_on_meta(on_meta):
            return timm.create_model(model_name, **options)
    except RuntimeError:
        if not on_meta:
            raise
        return timm.create_model(model_name, **options)  # it computes with its parameters


@cache
def _any_size(model_name: str) -> Mapping:
    """The options of a network by which it takes images of any size."""
    known: set[str] = set()
    for kind in type(_create(model_name, {}, on_meta=True)).__mro__:
        options = inspect.signature(kind.__init__).parameters
        known |= options.keys()
        if all(option.kind != option.VAR_KEYWORD for option in options.values()):
            break  # it passes no more on to its parent
    return {name: value for name, value in _ANY_SIZE.items() if name in known}


@contextmanager
def parameters_on_meta(active: bool = True) -> Iterator[None]:
    """Let modules that are made in the body have their parameters on the meta device.

    Buffers are real: what a network computes for itself, such as rotary frequencies, is in no file.
    """
    if not active:
        yield
        return

    def to_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> object:
        if parameter is None or parameter.is_meta:
            return None
        return nn.Parameter(parameter.detach().to('meta'), parameter.requires_grad)

    hook = register_module_parameter_registration_hook(to_meta)
    try:
        yield
    finally:
        hook.remove()


def become(module: nn.Module, network: nn.Module, with_cp: bool = False) -> None:
    """Turn a module into a network that has the methods of the module's class first.

    So parameters keep the names that they have in the network, and all that timm's code does with
    it works.

    Args:
        module: An empty one, changed in place.
        network: What it becomes.
        with_cp: Whether it computes its blocks anew in the backward pass.

    Raises:
        ValueError: If it cannot do that.
    """
    if with_cp:
        try:
            network.set_grad_checkpointing()
        except AssertionError as error:
            name = type(network).__name__
            raise ValueError(f'{name} cannot recompute its blocks: leave with_cp out') from error
    module.__dict__ = network.__dict__
    module.__class__ = join(type(module).__name__, type(module), type(network))


@cache
def join(name: str, *kinds: type) -> type:
    """Make a class of several; its objects can be copied and pickled, though no module has it."""

    def reduce(module: nn.Module, _: int) -> tuple:
        return _empty, (name, *kinds), module.__dict__

    about = {'__module__': kinds[0].__module__, '__reduce_ex__': reduce, 'joined': kinds}
    return type(name, kinds, about)


def _empty(name: str, *kinds: type) -> nn.Module:
    kind = join(name, *kinds)
    return kind.__new__(kind)


def give_memory(model: nn.Module, dtype: torch.dtype) -> None:
    """Move what is on the meta device to real memory, of zeros; that of shared tensors once.

    Args:
        model: Changed in place.
        dtype: Of the frozen matrices of the blocks.
    """
    new: dict[int, Tensor] = {}
    for prefix, module in model.named_modules():
        for tensors in (module._parameters, module._buffers):
            for name, value in tensors.items():
                if value is None:
                    continue
                if id(value) not in new:
                    new[id(value)] = _with_memory(f'{prefix}.{name}', value, dtype)
                tensors[name] = new[id(value)]


def _with_memory(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    is_matrix = isinstance(value, nn.Parameter) and is_block_matrix(name, value)
    dtype = dtype if is_matrix and not value.requires_grad else value.dtype
    if not value.is_meta:
        value.data = value.data.to(dtype)
        return value
    memory = torch.zeros(value.shape, dtype=dtype)
    if isinstance(value, nn.Parameter):
        return nn.Parameter(memory, value.requires_grad)
    return memory


def freeze_statistics(model: nn.Module) -> None:
    """Put batch normalisation into eval mode, in which it computes with what it has."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def enlarge(image: Tensor, multiple: int) -> Tensor:
    """Enlarge an image ``(n, 3, H, W)`` to the next multiples in height and width.

    Padding it would shift the maps against it.
    """
    # not -(-side // multiple): integers of ONNX divide towards zero
    size = tuple(((side - 1) // multiple + 1) * multiple for side in image.shape[2:])
    if image.shape[2:] == size:
        return image
    return F.interpolate(image, size=size, mode='bilinear', align_corners=False)


def plain(options: Mapping) -> dict:
    """Options as plain data, classes and functions by their names."""
    kinds = str | int | float | list | tuple | None
    return {
        name: value if isinstance(value, kinds) else getattr(value, '__name__', '?')
        for name, value in options.items()
    }
