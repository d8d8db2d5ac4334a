"""The names of SegFormer's public files."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# Tells SegFormer's files, of the encoder or of a whole model, from all others.
_KEYS_AND_VALUES = re.compile(r'^(|.*\.)block\d\.\d+\.attn\.kv\.weight$')
# What PVT has beside the same names (arXiv 2102.12122).
_OF_PVT = re.compile(r'(pos_embed\d|cls_token)$')
# From the published names below ``patch_embed1.``, ``block1.`` and ``norm1.`` to mmseg's.
_NAMES = (
    (r'^patch_embed(\d)\.proj\.', r'layers.\1.0.projection.'),
    (r'^patch_embed(\d)\.norm\.', r'layers.\1.0.norm.'),
    (r'^norm(\d)\.', r'layers.\1.2.'),
    (r'^block(\d)\.', r'layers.\1.1.'),
    (r'\.attn\.proj\.', '.attn.attn.out_proj.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.'),
    (r'\.mlp\.dwconv\.dwconv\.', '.ffn.layers.1.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.4.'),
    (r'^layers\.(\d)', lambda stage: f'layers.{int(stage[1]) - 1}'),  # counted from 1 there
)


def from_segformer(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rename the tensors of SegFormer's public files, and ReVT's, to those of this package.

    Query is a linear layer there, and key and value another one; here the three are one. The linear
    layers of the MLP are 1 x 1 convolutions here. What no model uses is left out: the classifier of
    the ImageNet files, and ``conv_seg`` of the head, beside which is ``linear_pred``.

    Args:
        state: Tensors by name, of any origin.

    Returns:
        ``state`` itself if nothing in it has these names, or a PVT has; else a new dict.

    Raises:
        ValueError: If a query is missing, or does not fit its key and value.
    """
    matches = [match for name in state if (match := _KEYS_AND_VALUES.match(name))]
    if not matches:
        return state
    prefix, renamed = matches[0][1], {}
    if any(_OF_PVT.match(name.removeprefix(prefix)) for name in state):
        return state
    for name, value in state.items():
        head, _, parameter = name.rpartition('conv_seg.')
        if head and f'{head}linear_pred.{parameter}' in state:
            continue
        short = name.removeprefix(prefix)
        if not name.startswith(prefix) or re.match(r'(patch_embed|block|norm)\d\.', short) is None:
            if name not in (f'{prefix}head.weight', f'{prefix}head.bias'):
                renamed[name] = value
            continue
        if '.attn.q.' in short:
            continue  # with its key and value
        if '.attn.kv.' in short:
            short, value = _join(state, name, short)
        for pattern, replacement in _NAMES:
            short = re.sub(pattern, replacement, short)
        if value.ndim == 2 and re.search(r'\.ffn\.layers\.[04]\.weight$', short):
            value = value[:, :, None, None]
        renamed[prefix + short] = value
    return renamed


def _join(state: Mapping[str, Tensor], name: str, short: str) -> tuple[str, Tensor]:
    """Query, key and value in one tensor, and its name."""
    query = state.get(name.replace('.attn.kv.', '.attn.q.'))
    if query is None:
        raise ValueError(f'{name} is there, but not the query beside it')
    pair = state[name]
    if not query.ndim or pair.shape != (2 * len(query), *query.shape[1:]):
        raise ValueError(f'{name} is {list(pair.shape)}, but its query is {list(query.shape)}')
    return short.replace('.attn.kv.', '.attn.attn.in_proj_'), torch.cat([query, pair])
