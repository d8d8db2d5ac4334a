"""DINOv2 weights of any origin, resized to the patch and image size of a model."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ...io.checkpoint_files import read_state_dict

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


def read_pretrained(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read pretrained weights under the names of the public files, of timm or of transformers.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be used.
    """
    try:
        return read_state_dict(path)
    except FileNotFoundError as error:
        message = f'{error}: download or convert it first (checkpoints/README.md)'
        raise FileNotFoundError(message) from error


def convert_dinov2(
    state: Mapping[str, Tensor],
    img_size: tuple[int, int],
    patch_size: int,
    pos_embed_interp: str = 'exact',
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

    Returns:
        Weights under the public names, qkv fused. The position embedding has the shape
        ``(1, 1 + height / patch_size * width / patch_size, dim)``.

    Raises:
        ValueError: If the weights are not DINOv2's, the sizes do not divide, or
            ``pos_embed_interp`` is unknown.
    """
    height, width = img_size
    if patch_size < 1 or height % patch_size or width % patch_size or min(img_size) < 1:
        raise ValueError(f'{height} x {width} pixels do not divide into patches of {patch_size}')
    state = public_names(state)
    required = ('cls_token', 'pos_embed', 'patch_embed.proj.weight', 'blocks.0.attn.qkv.weight')
    if missing := [key for key in required if key not in state]:
        raise ValueError(
            f'these are no DINOv2 weights: {missing} missing, there are {sorted(state)[:5]} ...'
        )
    kernel = state['patch_embed.proj.weight']
    state['patch_embed.proj.weight'] = _resize(kernel, (patch_size, patch_size))
    grid = (height // patch_size, width // patch_size)
    state['pos_embed'] = resize_pos_embed(state['pos_embed'], grid, interp=pos_embed_interp)
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
        old_grid: The present ones; a square if None.
        interp: ``'exact'`` maps the old grid's borders to the new one's. ``'dinov2'`` is what
            DINOv2's own code does (``interpolate_offset=0.1``, arXiv 2304.07193): the scale is
            ``(new + 0.1) / old``, so that all samples lie a little nearer to the top left.

    Returns:
        Shape ``(1, 1 + grid[0] * grid[1], dim)``; the same tensor if the grid stays.

    Raises:
        ValueError: If ``old_grid`` is None and the grid is no square, or ``interp`` is unknown.
    """
    if interp not in POS_EMBED_INTERP:
        raise ValueError(f'pos_embed_interp must be one of {POS_EMBED_INTERP}, got {interp!r}')
    patches = pos_embed.shape[1] - 1
    if old_grid is None:
        # A file does not hold its grid. One of the new size fits as it is.
        side = round(patches**0.5)
        old_grid = grid if patches == grid[0] * grid[1] else (side, side)
    if old_grid[0] * old_grid[1] != patches:
        raise ValueError(
            f'the position embedding has {patches} patches, no square grid: convert the original '
            'file, not one that was converted to another size'
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
        parts = [renamed.pop(key.replace('query', part)) for part in ('query', 'key', 'value')]
        renamed[key.replace('query', 'qkv')] = torch.cat(parts)
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
