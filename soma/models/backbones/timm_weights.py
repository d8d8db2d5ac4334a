"""Pretrained files of any network of timm: official ones too, with every key accounted for."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO

import timm
import torch
from torch import Tensor, nn

from ...adapters.card import read_card
from ...io.checkpoint_files import card_of, read_checkpoint, state_dict_of
from ...io.files import CheckpointError
from ...io.tensors import check_finite, some_of
from .timm_network import HEADS, create_network

# What official files have beside the backbone under its own prefix: heads, decoders and masks of
# pretraining, and what a network computes for itself.
_UNUSED = re.compile(
    rf'({"|".join(HEADS)}|head_dist|head_drop|pre_logits|proj|projectors|norms|ln_post|'
    r'decoder_\w+|lm_head|mask_token|logit_scale|logit_bias|local_cls_norm)(\..+)?'
    r'|(.+\.)?(rope\w*|periods|bias_mask|relative_position_index|attn_mask)(\..+)?'
)
# What is resized, reshaped or joined, so that its memory is new.
_REMADE = re.compile(
    r'(.+\.)?(\w*pos\w*|patch_embed\.proj|conv1|cls_token|class_embedding|dwconv|pwconv\d|grn)(\..+)?'
)
_BIAS = re.compile(r'(.+\.)?blocks\.\d+\.attn\.qkv\.bias')


def read_timm_file(
    path: str | os.PathLike, model_name: str, options: Mapping, prefix: str = ''
) -> dict[str, Tensor]:
    """Read pretrained weights for a network of timm, whatever code has written them.

    Official files are renamed and resized by timm's own filter of the network's family
    (``checkpoint_filter_fn``); tensors that need no change are not copied.

    Args:
        path: The file, or the name of public weights.
        model_name: As for ``timm.create_model``.
        options: Further options of it. They say what names and shapes are wanted.
        prefix: What the names start with in a larger file.

    Returns:
        Exactly the tensors of the network's state dict, by name.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be used, lacks some or has others than are known to be of no
            use; if there is no such network.
    """
    try:
        network = create_network(model_name, options, on_meta=True)
    except ValueError as error:
        raise CheckpointError(f'{path} cannot be read for a network of timm: {error}') from error
    try:
        content = read_checkpoint(path, mmap=True)
    except FileNotFoundError as error:
        message = f'{error}: download it first (docs/user_guides/weights.md)'
        raise FileNotFoundError(message) from error
    read_card(card_of(content), path)
    state = _below(state_dict_of(content, path), prefix, path)
    try:
        weights = convert_timm(state, network)
    except ValueError as error:
        raise CheckpointError(f'{path} does not fit {_name(network)}: {error}') from error
    check_finite(weights, path)
    return weights


def convert_timm(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Rename and resize official weights to those of a network of timm.

    Args:
        state: Tensors by the names of any code that timm's filter knows, or timm's own.
        network: Says what names and shapes are wanted; it may be on the meta device.

    Returns:
        Exactly the tensors of the network's state dict, by name.

    Raises:
        ValueError: If some are missing, of another shape, or left over.
    """
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    if all(name in state and state[name].shape == shape for name, shape in shapes.items()):
        weights = dict(state)  # as they are: another grid may have as many patches
    else:
        weights = _filter(state, network)
        first = 'patch_embed.proj.weight' if hasattr(network, 'patch_embed') else 'stem.0.weight'
        inside = [n for n in state if n.endswith(f'.{first}')]
        if not shapes.keys() & weights.keys() and len(inside) == 1:  # part of a larger model
            prefix = inside[0].removesuffix(first)
            part = {n[len(prefix) :]: v for n, v in state.items() if n.startswith(prefix)}
            return convert_timm(part, network)
    for name in shapes.keys() - weights.keys():  # pretraining without it has no norm at the end
        if re.fullmatch(r'(head\.)?(fc_)?norm\.(weight|bias)', name):
            weights[name] = torch.full(shapes[name], float(name.endswith('weight')))
    _check_shapes(shapes, weights)
    if missing := sorted(shapes.keys() - weights.keys()):
        more = sorted(state.keys() - shapes.keys()) or [*state]
        raise ValueError(
            f'missing: {some_of(missing)}{_twin(network, missing)}; there are {some_of(more)}'
        )
    weights = {name: weights[name] for name in shapes}
    _check_left_over(state, weights, network)
    return weights


def _filter(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Let timm's code of the family rename and resize."""
    kind = next(k for k in type(network).__mro__ if k.__module__.startswith('timm.models.'))
    convert = getattr(sys.modules[kind.__module__], 'checkpoint_filter_fn', None)
    if convert is None:
        return dict(state)
    known, options = inspect.signature(convert).parameters, {}
    if 'adapt_layer_scale' in known:  # as timm does for DeiT III; others have no such names
        options['adapt_layer_scale'] = True
    if 'interpolation' in known and re.search('flexi|radio', _name(network)):  # as timm does
        options |= {'interpolation': 'bilinear', 'antialias': False}
    try:
        with redirect_stdout(StringIO()):  # it prints for each layer without a bias
            return convert(dict(state), network, **options)
    except (AttributeError, KeyError, IndexError, RuntimeError) as error:
        raise ValueError(
            f'is it of another model, such as with other tokens (reg4)? timm says {error!r}'
        ) from error


def _check_shapes(shapes: Mapping[str, torch.Size], weights: Mapping[str, Tensor]) -> None:
    """Raise a ``ValueError`` if a tensor has another shape than the network's."""
    both = [name for name in shapes if name in weights]
    if wrong := [name for name in both if weights[name].shape != shapes[name]]:
        name = wrong[0]
        sizes = f'{[*weights[name].shape]} there and {[*shapes[name]]} in the model'
        is_place = all('pos' in name or 'patch_embed' in name for name in wrong)
        hint = ': leave img_size and patch_size out, timm cannot resize it' if is_place else ''
        raise ValueError(f'{name} is {sizes} ({len(wrong)} such){hint}')


def _check_left_over(
    state: Mapping[str, Tensor], weights: Mapping[str, Tensor], network: nn.Module
) -> None:
    """Raise a ``ValueError`` if a tensor is not used, and nothing says that it need not be."""
    used = {_memory(value): value for value in weights.values()}
    left = {name for name, value in state.items() if _memory(value) not in used}
    parts = {name.partition('.')[0] for name in state.keys() - left}
    # With all of the backbone in one part, the others are other networks, such as that of the text.
    (part,) = parts if len(parts) == 1 else ('',)
    inside = [name.removeprefix(f'{part}.') for name in left if name.startswith(part)]
    known = (_UNUSED, _REMADE, _BIAS)
    over = [n for n in inside if not any(pattern.fullmatch(n) for pattern in known)]
    for name, bias in state.items():
        # Official files of DINOv3 have zeros for a bias that the network does without.
        if not _BIAS.fullmatch(name):
            continue
        if name in left:
            over += [name] if bias.any() else []
        elif used[_memory(bias)].shape != bias.shape and f'{name}_mask' not in state:
            over += [name] if bias.chunk(3)[1].any() else []  # q and v have biases, k has none
    if over:
        raise ValueError(f'of no known use: {some_of(sorted(over))}{_twin(network, over)}')


def _twin(network: nn.Module, names: Sequence[str]) -> str:
    """A hint at timm's model that differs in having these biases of q, k and v, or not."""
    name = _name(network)
    twin = name.removesuffix('_qkvb') if name.endswith('_qkvb') else f'{name}_qkvb'
    is_bias = all(re.fullmatch(r'(.+\.)?attn\.(q_|v_|qkv\.)bias', name) for name in names)
    return f' (they tell {name} from {twin}: take that)' if is_bias and timm.is_model(twin) else ''


def _memory(tensor: Tensor) -> int:
    """Where a tensor is, which views of it share."""
    return tensor.untyped_storage().data_ptr()


def _below(state: Mapping[str, Tensor], prefix: str, path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors below a prefix, by their names there; all without one."""
    prefix = prefix and prefix.rstrip('.') + '.'
    below = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    if not below:
        raise CheckpointError(f'{path}: no name starts with {prefix!r}: {some_of([*state])}')
    return below


def _name(network: nn.Module) -> str:
    return getattr(network, 'pretrained_cfg', {}).get('architecture') or type(network).__name__
