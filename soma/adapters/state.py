"""Adapters as named tensors: pure functions on state dicts, without a model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from .fold import DORA, LOW_RANK, SVF, fold_weight
from .functional import weight_delta
from .report import block_index

# Resizing these to a model's patches and images rounds differently from machine to machine.
RESIZED = ('pos_embed', 'patch_embed.proj.weight')
_RELEASE = re.compile(r'^(?P<prefix>.*?\bbackbone\.)model\.')
_FACTOR = re.compile(r'\.lora_([AB])\.(?:default\.)?weight$')


def adapted_layers(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the layers whose adapter's tensors are in a state dict, sorted.

    Raises:
        ValueError: If a layer has some tensors of an adapter but not all.
    """
    # ``A``, ``B`` and ``S`` alone may be names of anything.
    layers = sorted(key.rpartition('.')[0] for key in state if key.endswith(('.A0', '.S0')))
    for name in layers:
        wanted = SVF if f'{name}.S0' in state else LOW_RANK
        missing = [tensor for tensor in wanted if f'{name}.{tensor}' not in state]
        if missing:
            raise ValueError(f'the adapter of {name} lacks {", ".join(missing)}')
    return layers


def adapter_tensors(state: Mapping[str, Tensor], layer: str) -> dict[str, Tensor]:
    """The tensors of a layer's adapter, by their name in the layer."""
    names = {name: f'{layer}.{name}' for name in (*DORA, *SVF)}
    return {name: state[key] for name, key in names.items() if key in state}


def adapter_delta(state: Mapping[str, Tensor], layer: str, scale: float) -> Tensor:
    """Compute the low-rank weight change of a layer, ``s (B A - B0 A0)``.

    Args:
        state: Holds the four tensors of the layer.
        layer: Its name.
        scale: ``s = alpha / rank``.

    Returns:
        Shape ``(out, in)``; a convolution's kernel is flattened.
    """
    A, B, A0, B0 = (state[f'{layer}.{name}'] for name in LOW_RANK)
    return weight_delta(A, B, A0, B0, scale, groups=len(A) // B.shape[1])


def merge_state(state: Mapping[str, Tensor], scale: float = 1.0) -> dict[str, Tensor]:
    """Fold the adapters in a state dict into the weights beside them.

    Args:
        state: Weights, biases and adapters by name.
        scale: ``s = alpha / rank`` of low-rank changes.

    Returns:
        What the plain model's state dict would be.

    Raises:
        ValueError: If the weight of an adapted layer is missing, has another shape, or other
            singular values than those that were decomposed.
    """
    adapters = {layer: adapter_tensors(state, layer) for layer in adapted_layers(state)}
    own = {f'{layer}.{name}' for layer, tensors in adapters.items() for name in tensors}
    plain = {key: value for key, value in state.items() if key not in own}
    for layer, tensors in adapters.items():
        weight = plain.get(f'{layer}.weight')
        if weight is None:
            raise ValueError(
                f'{layer} has an adapter but no weight: the pretrained weights are missing'
            )
        try:
            plain[f'{layer}.weight'] = fold_weight(weight, tensors, scale)
        except ValueError as error:
            raise ValueError(f'{layer}: {error}') from error
    return plain


def base_hash(base: Mapping[str, Tensor], exact: bool = False) -> str:
    """A hash of pretrained weights: of names, shapes and values.

    Args:
        base: The tensors that an adapter does not replace, by their name in the base.
        exact: Whether the values of position embedding and patch kernel count too. The same file
            resized on another machine differs in the last bits.

    Returns:
        SHA-256 in hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(base):
        tensor = base[name].detach()
        digest.update(f'{name} {list(tensor.shape)}\n'.encode())
        if exact or not _is_resized(name):
            data = tensor.float().cpu().contiguous().view(-1).view(torch.uint8)
            digest.update(data.numpy())
    return digest.hexdigest()


def base_samples(base: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Some values of what :func:`base_hash` leaves out, to be compared with a tolerance.

    Args:
        base: As for :func:`base_hash`.

    Returns:
        16 values of each such tensor, evenly spread, by its name.
    """
    return {
        name: tensor.detach().flatten()[:: max(tensor.numel() // 16, 1)][:16].double().tolist()
        for name, tensor in base.items()
        if _is_resized(name)
    }


def is_block_matrix(name: str, tensor: Tensor) -> bool:
    """Whether a tensor of a base is one that ``base_dtype`` rounds: the matrices of the blocks.

    Norms, biases and layer scales are small, and what is resized (:data:`RESIZED`) would not be
    rounded the same on each machine.
    """
    return tensor.ndim == 2 and name.endswith('.weight') and block_index(name) is not None


def as_trained(base: Mapping[str, Tensor], card: Mapping) -> dict[str, Tensor]:
    """Give pretrained weights the values that an adapter was trained on.

    Args:
        base: Tensors by their name in the base.
        card: The adapter's; its base may have been stored in bfloat16.

    Returns:
        Tensors by name, each in the precision that it had.
    """
    if card.get('base', {}).get('dtype') != 'bfloat16':
        return dict(base)
    return {
        name: value.bfloat16().to(value.dtype) if is_block_matrix(name, value) else value
        for name, value in base.items()
    }


def _is_resized(name: str) -> bool:
    return name.removeprefix('backbone.') in RESIZED


def from_release(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of SoMA's original release to the names of this package.

    There the backbone's names start with ``backbone.model.``, query, key and value are layers of
    their own, and the factors are ``lora_A.weight`` and ``lora_B.weight``. They mean
    ``W + s B A``, so that here ``A0 = B0 = 0``.

    Args:
        state: Tensors by name, of any origin.

    Returns:
        The same dict if nothing in it has the release's names; else a new one, without the mask
        token, which no segmentor uses.

    Raises:
        ValueError: If one of query, key and value, or of the two factors, is missing.
    """
    if not any(_RELEASE.match(key) and _FACTOR.search(key) for key in state):
        return dict(state)
    own, others = {}, {}
    for key, value in state.items():
        if not _RELEASE.match(key):
            others[key] = value
        elif not key.endswith('.mask_token'):
            key = _RELEASE.sub(r'\g<prefix>', key)
            own[_FACTOR.sub(r'.\1', key).replace('.base_layer.', '.')] = value
    for key in [key for key in own if '.attn.q.' in key]:
        parts = [key.replace('.attn.q.', f'.attn.{part}.') for part in 'qkv']
        if missing := [part for part in parts if part not in own]:
            raise ValueError(f'{key} is there, but not {", ".join(missing)}')
        own[key.replace('.attn.q.', '.attn.qkv.')] = torch.cat([own.pop(part) for part in parts])
    for key in [key for key in own if key.endswith('.A')]:
        layer = key.removesuffix('.A')
        if f'{layer}.B' not in own:
            raise ValueError(f'{layer} has a lora_A but no lora_B')
        for name in 'AB':
            own[f'{layer}.{name}0'] = torch.zeros_like(own[f'{layer}.{name}'])
    return {**own, **others}
