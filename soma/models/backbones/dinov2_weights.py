"""DINOv2 weights of any origin, resized to the patch and image size of a model."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from math import isqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...adapters.base import is_count
from ...adapters.card import read_card
from ...io.checkpoint_files import card_of, read_checkpoint, state_dict_of

# transformers' names of the same weights, piece by piece.
_TRANSFORMERS = (
    (r'^(dinov2|dinov2_with_registers|backbone)\.', ''),
    (r'^embeddings\.position_embeddings$', 'pos_embed'),
    (r'^embeddings\.patch_embeddings\.projection\.', 'patch_embed.proj.'),
    (r'^embeddings\.(cls_token|mask_token|register_tokens)$', r'\1'),
    (r'^encoder\.layer\.', 'blocks.'),
    (r'\.attention\.attention\.(query|key|value)\.', r'.attn.\1.'),
    (r'\.attention\.output\.dense\.', '.attn.proj.'),
    (r'\.layer_scale(\d)\.lambda1$', r'.ls\1.gamma'),
    (r'\.mlp\.weights_in\.', '.mlp.w12.'),
    (r'\.mlp\.weights_out\.', '.mlp.w3.'),
    (r'^layernorm\.', 'norm.'),
)
POS_EMBED_INTERP = ('exact', 'dinov2')
# No kernel and no grid of positions is larger.
_LARGEST_PATCH, _MOST_PATCHES = 2**10, 2**18


class Pretrained(NamedTuple):
    """Pretrained weights of a file.

    Attributes:
        tensors: By the names of the public files, of timm or of transformers.
        grid: Height and width in patches of the position embedding, if the file says so.
    """

    tensors: dict[str, Tensor]
    grid: tuple[int, int] | None = None


def read_pretrained(path: str | os.PathLike) -> Pretrained:
    """Read pretrained weights of any origin.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be used.
    """
    try:
        content = read_checkpoint(path)
    except FileNotFoundError as error:
        message = f'{error}: download or convert it first (checkpoints/README.md)'
        raise FileNotFoundError(message) from error
    card = read_card(card_of(content), path)
    return Pretrained(state_dict_of(content, path), card.grid)


def patch_grid(img_size: int | Sequence[int], patch_size: int) -> tuple[int, int]:
    """Height and width of an image in patches.

    Args:
        img_size: Height and width in pixels, or one number for both.
        patch_size: Side of a patch in pixels.

    Raises:
        ValueError: If one is no whole number, the sizes do not divide, or there would be too many
            patches for any memory.
    """
    sides = [img_size] * 2 if isinstance(img_size, int) else img_size
    if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(map(is_count, sides)):
        raise ValueError(f'img_size must be height and width in pixels, got {img_size!r}')
    if not is_count(patch_size) or patch_size > _LARGEST_PATCH:
        raise ValueError(f'patch_size must be 1 to {_LARGEST_PATCH}, and whole, got {patch_size!r}')
    height, width = sides
    if height % patch_size or width % patch_size:
        raise ValueError(f'{height} x {width} pixels do not divide into patches of {patch_size}')
    grid = (height // patch_size, width // patch_size)
    if grid[0] * grid[1] > _MOST_PATCHES:
        raise ValueError(
            f'{height} x {width} pixels are {grid[0] * grid[1]} patches of {patch_size}, more than '
            f'{_MOST_PATCHES}'
        )
    return grid


def convert_dinov2(
    state: Mapping[str, Tensor],
    img_size: tuple[int, int],
    patch_size: int,
    pos_embed_interp: str = 'exact',
    grid: tuple[int, int] | None = None,
) -> dict[str, Tensor]:
    """Bring DINOv2 weights to the public names and to a patch and image size.

    The patch kernel and the position grid are resized bicubically, without antialiasing and with
    ``align_corners=False``; the class token's embedding is kept. Converting what fits already
    changes nothing.

    Args:
        state: Weights under the names of the public files, of timm or of transformers.
        img_size: Height and width of the image in pixels, multiples of ``patch_size``.
        patch_size: Side of a patch in pixels.
        pos_embed_interp: How the positions are resized, see :func:`resize_pos_embed`.
        grid: Height and width in patches that the positions have; None if nobody knows.

    Returns:
        Weights under the public names, qkv fused. The position embedding has the shape
        ``(1, 1 + height / patch_size * width / patch_size, dim)``.

    Raises:
        ValueError: If the weights are not DINOv2's, the sizes do not divide, ``grid`` is None and
            there is more than one that the positions may have, or ``pos_embed_interp`` is unknown.
    """
    new_grid = patch_grid(img_size, patch_size)
    state = public_names(state)
    required = ('cls_token', 'pos_embed', 'patch_embed.proj.weight', 'blocks.0.attn.qkv.weight')
    if missing := [key for key in required if key not in state]:
        raise ValueError(
            f'these are no DINOv2 weights: {missing} missing, there are {sorted(state)[:5]} ...'
        )
    kernel = state['patch_embed.proj.weight']
    state['patch_embed.proj.weight'] = _resize(kernel, (patch_size, patch_size))
    state['pos_embed'] = resize_pos_embed(state['pos_embed'], new_grid, grid, pos_embed_interp)
    return state


def resize_pos_embed(
    pos_embed: Tensor,
    grid: tuple[int, int],
    old_grid: tuple[int, int] | None = None,
    interp: str = 'exact',
) -> Tensor:
    """Resize a position embedding to another grid of patches (bicubic, no antialiasing).

    Args:
        pos_embed: Shape ``(1, 1 + h * w, dim)``, the class token's entry first.
        grid: The new height and width in patches.
        old_grid: The present ones. None if nobody knows: a square, as that of the public files, or
            the new one if there are as many patches and they make no square.
        interp: ``'exact'`` maps the old grid's borders to the new one's. ``'dinov2'`` is what
            DINOv2's own code does (``interpolate_offset=0.1``, arXiv 2304.07193): the scale is
            ``(new + 0.1) / old``, so that all samples lie a little nearer to the top left.

    Returns:
        Shape ``(1, 1 + grid[0] * grid[1], dim)``; the same tensor if the grid stays.

    Raises:
        ValueError: If ``old_grid`` is not that of the embedding, or is None and the embedding may
            be that of a square as well as that of the new grid, or of none; if ``interp`` is
            unknown.
    """
    if interp not in POS_EMBED_INTERP:
        raise ValueError(f'pos_embed_interp must be one of {POS_EMBED_INTERP}, got {interp!r}')
    patches = pos_embed.shape[1] - 1
    if old_grid is None:
        side, fits = isqrt(patches), patches == grid[0] * grid[1]
        is_square = side * side == patches
        if is_square and fits and tuple(grid) != (side, side):
            raise ValueError(
                f'the position embedding may be of {side} x {side} patches or of {grid[0]} x '
                f'{grid[1]}, which the file does not say: convert the original file (again) with '
                'tools/convert_models/convert_dinov2.py, which notes it'
            )
        if not is_square and not fits:
            raise ValueError(
                f'the position embedding has {patches} patches, no square grid: convert the '
                'original file, not one that was converted to another size'
            )
        old_grid = grid if fits else (side, side)
    if old_grid[0] * old_grid[1] != patches:
        raise ValueError(
            f'the position embedding has {patches} patches, not the {old_grid[0]} x {old_grid[1]} '
            'that its card says: convert the original file again'
        )
    if tuple(old_grid) == tuple(grid):
        return pos_embed
    token, patch = pos_embed[:, :1], pos_embed[:, 1:]
    patch = patch.reshape(1, *old_grid, -1).permute(0, 3, 1, 2)
    patch = _resize(patch, grid, 0.1 if interp == 'dinov2' else None)
    patch = patch.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.cat([token, patch], dim=1)


def public_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename DINOv2 weights of timm or transformers to the names of the public files.

    Args:
        state: Weights by name; public names stay as they are.

    Returns:
        A new dict. Split query, key and value are joined to ``attn.qkv``.

    Raises:
        ValueError: If one of query, key and value is missing or of another shape.
    """
    if any(key.endswith('position_embeddings') for key in state):
        return _from_transformers(state)
    state = dict(state)
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
    """Rename transformers' weights, and join query, key and value."""
    renamed = {}
    for key, value in state.items():
        for pattern, name in _TRANSFORMERS:
            key = re.sub(pattern, name, key)
        renamed[key] = value
    for key in [key for key in renamed if '.attn.query.' in key]:
        parts = [key.replace('query', part) for part in ('query', 'key', 'value')]
        if len({renamed[part].shape for part in parts if part in renamed}) > 1 or not (
            renamed.keys() >= {*parts}
        ):
            raise ValueError(f'of {", ".join(parts)} one is missing or of another shape')
        renamed[key.replace('query', 'qkv')] = torch.cat([renamed.pop(part) for part in parts])
    return renamed


def _resize(x: Tensor, size: tuple[int, int], offset: float | None = None) -> Tensor:
    """Resize ``(n, c, h, w)`` bicubically; the same tensor if the size stays.

    With ``offset``, the samples are ``old / (size + offset)`` apart instead of ``old / size``.
    """
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    target = {'size': size}
    if offset is not None:  # PyTorch rounds the size down to what it should be
        scales = [(new + offset) / old for new, old in zip(size, x.shape[-2:], strict=True)]
        target = {'scale_factor': scales}
    resized = F.interpolate(x.float(), **target, mode='bicubic', align_corners=False)
    return resized.to(x.dtype)
