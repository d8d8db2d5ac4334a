"""The names of DINOv2 weights in files of any origin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...adapters.release import join_qkv

# transformers' names of the same weights, piece by piece.
_TRANSFORMERS = (
    (r'^(dinov2|dinov2_with_registers|backbone)\.', ''),
    (r'^embeddings\.position_embeddings$', 'pos_embed'),
    (r'^embeddings\.patch_embeddings\.projection\.', 'patch_embed.proj.'),
    (r'^embeddings\.(cls_token|mask_token|register_tokens)$', r'\1'),
    (r'^encoder\.layer\.', 'blocks.'),
    (r'\.attention\.attention\.([qkv])(uery|ey|alue)\.', r'.attn.\1.'),
    (r'\.attention\.output\.dense\.', '.attn.proj.'),
    (r'\.layer_scale(\d)\.lambda1$', r'.ls\1.gamma'),
    (r'\.mlp\.weights_in\.', '.mlp.w12.'),
    (r'\.mlp\.weights_out\.', '.mlp.w3.'),
    (r'^layernorm\.', 'norm.'),
)
# Where DINOv2's own training has the backbone to use: in all of its model, or below 'teacher'.
_TRAINED = ('teacher.backbone.', 'backbone.')
REQUIRED = ('cls_token', 'pos_embed')  # of any DINOv2
_CHUNKED = re.compile(r'^blocks\.\d+\.(?=\d+\.)')


def backbone_of(
    state: Mapping[str, Tensor],
    prefix: str = '',
    names: Sequence[str] | None = None,
    likely: str = '',
) -> dict[str, Tensor]:
    """Take the backbone out of the weights of a whole model.

    Args:
        state: Weights by name.
        prefix: What the names of the backbone start with. If empty, it is looked for: as in a
            training of DINOv2's own code (the teacher's), else in the file as such.
        names: What the backbone has, to look for it at any other place too.
        likely: The place to look at first.

    Returns:
        A new dict with the names below the prefix.

    Raises:
        ValueError: If no name starts with the prefix.
    """
    places = [likely.rstrip('.') + '.', *_TRAINED] if likely else [*_TRAINED]
    if names is not None:
        starts = {n.removesuffix(names[0]) for n in state if n.endswith(names[0])}
        places += sorted(starts, key=len)
    names = REQUIRED if names is None else names
    fitting = (place for place in places if all(place + name in state for name in names))
    prefix = prefix.rstrip('.') + '.' if prefix else next(fitting, '')
    backbone = {n[len(prefix) :]: value for n, value in state.items() if n.startswith(prefix)}
    if not backbone:
        raise ValueError(f'no name starts with {prefix!r}, there are {sorted(state)[:3]} ...')
    return backbone


def public_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename DINOv2 weights of other code to the names of the public files.

    Args:
        state: Weights by the names of timm, of transformers, of SoMA's release (query, key and
            value apart) or of DINOv2's training (blocks in chunks, ``blocks.0.3.`` for block 3);
            public names stay as they are.

    Returns:
        A new dict. Split query, key and value are joined to ``attn.qkv``.

    Raises:
        ValueError: If one of query, key and value is missing or of another shape, or two chunks
            have the same block.
    """
    if any(key.endswith('position_embeddings') for key in state):
        return join_qkv(_from_transformers(state))
    names = {key: _CHUNKED.sub('blocks.', key) if 'cls_token' in state else key for key in state}
    if len({*names.values()}) < len(state):
        raise ValueError('two chunks (blocks.<chunk>.<block>) have the same block')
    state = join_qkv({names[key]: value for key, value in state.items()})
    if {'reg_token', 'pos_embed'} <= state.keys():
        # timm has added the class token's position to the class token
        pos_embed = state['pos_embed']
        state['pos_embed'] = torch.cat([torch.zeros_like(pos_embed[:, :1]), pos_embed], dim=1)
        state['register_tokens'] = state.pop('reg_token')
    fc1, fc2 = (state.get(f'blocks.0.mlp.{name}.weight') for name in ('fc1', 'fc2'))
    if None not in (fc1, fc2) and len(fc1) == 2 * fc2.shape[1]:  # timm's name of a SwiGLU
        state = {_swiglu_name(key): value for key, value in state.items()}
    return state


def timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename DINOv2 weights from the names of the public files to timm's, in a new dict.

    The mask token is left out. With registers, the class token's position is added to the class
    token, as timm has it.
    """
    state = {_timm_swiglu_name(key): value for key, value in state.items() if key != 'mask_token'}
    if 'register_tokens' in state:
        state['reg_token'] = state.pop('register_tokens')
        state['cls_token'] = state['cls_token'] + state['pos_embed'][:, :1]
        state['pos_embed'] = state['pos_embed'][:, 1:]
    return state


def _timm_swiglu_name(key: str) -> str:
    return key.replace('.mlp.w12.', '.mlp.fc1.').replace('.mlp.w3.', '.mlp.fc2.')


def _swiglu_name(key: str) -> str:
    return key.replace('.mlp.fc1.', '.mlp.w12.').replace('.mlp.fc2.', '.mlp.w3.')


def _from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename transformers' weights."""
    renamed = {}
    for key, value in state.items():
        for pattern, name in _TRANSFORMERS:
            key = re.sub(pattern, name, key)
        renamed[key] = value
    return renamed
