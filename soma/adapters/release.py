"""The names of the public releases."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_RELEASE = re.compile(r'^(?P<prefix>.*?\bbackbone\.)model\.')
_PART = re.compile(r'(?:^|\.)blocks\.\d+\.attn\.([qkv])\.')
_APART = re.compile(r'^(.*\.)?backbone\.blocks\.\d+\.attn\.k\.')
_FACTOR = re.compile(r'\.lora_([AB])\.(?:default\.)?weight$')


def from_release(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of SoMA's original release to the names of this package.

    There the backbone's names start with ``backbone.model.``, query, key and value are layers of
    their own, and the factors are ``lora_A.weight`` and ``lora_B.weight``. They mean
    ``W + s B A``, so that here ``A0 = B0 = 0``. Its frozen and fully fine-tuned models only have
    query, key and value apart.

    Args:
        state: Tensors by name, of any origin.

    Returns:
        The same dict if nothing in it has the release's names; else a new one, without the mask
        token, which no segmentor uses.

    Raises:
        ValueError: If one of query, key and value, or of the two factors, is missing, or query, key
            and value differ in shape.
    """
    if not any(_RELEASE.match(key) and _FACTOR.search(key) for key in state):
        if not any(map(_APART.match, state)):
            return dict(state)
        return {n: v for n, v in join_qkv(state).items() if not n.endswith('backbone.mask_token')}
    backbone, others = {}, {}
    for key, value in state.items():
        if not _RELEASE.match(key):
            others[key] = value
        elif not key.endswith('.mask_token'):
            key = _RELEASE.sub(r'\g<prefix>', key)
            backbone[_FACTOR.sub(r'.\1', key).replace('.base_layer.', '.')] = value
    backbone = join_qkv(backbone)
    for key in [key for key in backbone if key.endswith('.A')]:
        layer = key.removesuffix('.A')
        if f'{layer}.B' not in backbone:
            raise ValueError(f'{layer} has a lora_A but no lora_B')
        for name in 'AB':
            backbone[f'{layer}.{name}0'] = torch.zeros_like(backbone[f'{layer}.{name}'])
    return {**backbone, **others}


def join_qkv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join query, key and value of blocks, where they are layers of their own.

    Args:
        state: Tensors by name, such as ``blocks.0.attn.q.weight``.

    Returns:
        A new dict, with ``blocks.0.attn.qkv.weight`` for the three.

    Raises:
        ValueError: If one of the three is missing or of another shape.
    """
    joined: dict[str, Tensor] = {}
    for name, value in state.items():
        if not (match := _PART.search(name)):
            joined[name] = value
            continue
        start, end = name[: match.start(1)], name[match.end(1) :]
        parts = [f'{start}{part}{end}' for part in 'qkv']
        shapes = [state[part].shape if part in state else None for part in parts]
        if None in shapes or len({*shapes}) > 1:
            raise ValueError(f'of {", ".join(parts)} one is missing or of another shape')
        if name == parts[0]:
            joined[f'{start}qkv{end}'] = torch.cat([state[part] for part in parts])
    return joined
