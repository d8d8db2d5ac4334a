"""The names of the public releases."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_RELEASE = re.compile(r'^(?P<prefix>.*?\bbackbone\.)model\.')
_FACTOR = re.compile(r'\.lora_([AB])\.(?:default\.)?weight$')


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
        ValueError: If one of query, key and value, or of the two factors, is missing, or query, key
            and value differ in shape.
    """
    if not any(_RELEASE.match(key) and _FACTOR.search(key) for key in state):
        return dict(state)
    backbone, others = {}, {}
    for key, value in state.items():
        if not _RELEASE.match(key):
            others[key] = value
        elif not key.endswith('.mask_token'):
            key = _RELEASE.sub(r'\g<prefix>', key)
            backbone[_FACTOR.sub(r'.\1', key).replace('.base_layer.', '.')] = value
    for key in [key for key in backbone if '.attn.q.' in key]:
        parts = [key.replace('.attn.q.', f'.attn.{part}.') for part in 'qkv']
        if missing := [part for part in parts if part not in backbone]:
            raise ValueError(f'{key} is there, but not {", ".join(missing)}')
        if len({backbone[part].shape for part in parts}) > 1:
            raise ValueError(f'{", ".join(parts)} differ in shape')
        backbone[key.replace('.attn.q.', '.attn.qkv.')] = torch.cat(
            [backbone.pop(part) for part in parts]
        )
    for key in [key for key in backbone if key.endswith('.A')]:
        layer = key.removesuffix('.A')
        if f'{layer}.B' not in backbone:
            raise ValueError(f'{layer} has a lora_A but no lora_B')
        for name in 'AB':
            backbone[f'{layer}.{name}0'] = torch.zeros_like(backbone[f'{layer}.{name}'])
    return {**backbone, **others}
