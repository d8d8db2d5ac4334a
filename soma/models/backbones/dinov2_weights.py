"""DINOv2 weights of any origin, resized to the patch and image size of a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import isqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...adapters.base import is_count
from ...adapters.card import read_card
from ...io.checkpoint_files import card_of, read_checkpoint, state_dict_of
from ...io.files import CheckpointError
from .dinov2_names import REQUIRED, backbone_of, public_names
from .mit_names import from_segformer

PUBLISHED_PATCH = 14  # pixels, in all public files of DINOv2
POS_EMBED_INTERP = ('exact', 'dinov2')
# No kernel and no grid of positions is larger.
_LARGEST_PATCH, _MOST_PATCHES = 2**10, 2**18


class Pretrained(NamedTuple):
    """Pretrained weights of a file.

    Attributes:
        tensors: By the names of this package, below those of a whole model.
        grid: Height and width in patches of the position embedding, if the file says so.
    """

    tensors: dict[str, Tensor]
    grid: tuple[int, int] | None = None


def read_pretrained(
    path: str | os.PathLike,
    prefix: str = '',
    names: Sequence[str] | None = None,
    likely: str = '',
) -> Pretrained:
    """Read pretrained weights of any origin.

    Args:
        path: The file.
        prefix: As for :func:`~.dinov2_names.backbone_of`, like those that follow. Parts of a model
            that the file has apart (``student``, ``teacher``) are named by it, too.
        names: As there.
        likely: As there.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be used, or no name in it starts with the prefix.
    """
    try:
        content = read_checkpoint(path)
    except FileNotFoundError as error:
        message = f'{error}: download or convert it first (docs/user_guides/weights.md)'
        raise FileNotFoundError(message) from error
    card = read_card(card_of(content), path)
    part = (prefix or likely).partition('.')[0]
    apart = content.get(part) if isinstance(content, Mapping) else None
    if isinstance(apart, Mapping) and part not in ('state_dict', 'model'):
        state = {f'{part}.{n}': v for n, v in state_dict_of(content, path, part).items()}
    else:
        state = state_dict_of(content, path)
    try:
        state = {n.replace('_fsdp_wrapped_module.', ''): value for n, value in state.items()}
        if not prefix and names not in (None, REQUIRED) and state.keys() >= {*names}:
            return Pretrained(state, card.grid)  # of another network, under the names asked for
        backbone = backbone_of(from_segformer(state), prefix, names, likely)
        return Pretrained(public_names(backbone), card.grid)
    except ValueError as error:
        raise CheckpointError(f'{path}: {error}') from error


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
        state: Weights under the names of any code that :func:`~.dinov2_names.public_names` knows.
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
        is_inside = any(name.endswith('.cls_token') for name in state)
        raise ValueError(
            f'these are no DINOv2 weights: {missing} missing, there are {sorted(state)[:5]} ...'
            + ('; name what those of the backbone start with (prefix)' if is_inside else '')
        )
    kernel = state['patch_embed.proj.weight']
    state['patch_embed.proj.weight'] = _resize(kernel, (patch_size, patch_size))
    state['pos_embed'] = resize_pos_embed(state['pos_embed'], new_grid, grid, pos_embed_interp)
    return state


def check_not_converted(
    state: Mapping[str, Tensor], img_size: tuple[int, int], patch_size: int
) -> None:
    """Refuse weights that were converted to another image size, which resizing does not undo.

    Those with published patches are taken for published.

    Args:
        state: Weights under the public names.
        img_size: Height and width of the image in pixels that they are wanted for.
        patch_size: Side of a patch in pixels.

    Raises:
        ValueError: If the patches have the size already, and there are more or fewer.
    """
    kernel, pos_embed = (state.get(name) for name in ('patch_embed.proj.weight', 'pos_embed'))
    if kernel is None or pos_embed is None or patch_size == PUBLISHED_PATCH:
        return
    if kernel.shape[-1] != patch_size:
        return
    height, width = patch_grid(img_size, patch_size)
    if pos_embed.shape[1] - 1 != height * width:
        raise ValueError(
            f'it is converted to another image size than {height * patch_size} x '
            f'{width * patch_size}: convert the original file'
        )


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
