"""DINOv2 as a backbone, on timm's vision transformer."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.registry import MODELS
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ...adapters.base import is_count
from ...io.files import CheckpointError
from .dinov2_weights import (
    POS_EMBED_INTERP,
    convert_dinov2,
    patch_grid,
    read_pretrained,
    resize_pos_embed,
)
from .timm_network import plain
from .vit import TimmVisionTransformer
from .vit_layers import SwiGLU, XFormersAttention
from .vit_options import ViTOptions, check_choice

ARCHS = {
    'small': dict(embed_dim=384, depth=12, num_heads=6),
    'base': dict(embed_dim=768, depth=12, num_heads=12),
    'large': dict(embed_dim=1024, depth=24, num_heads=16),
    'giant': dict(embed_dim=1536, depth=40, num_heads=24, mlp_layer=SwiGLU),
}
# In the public files, and of no use here: it stands for masked patches in pretraining.
UNUSED_KEYS = {'mask_token'}
_FIXED = {'self', 'img_size', 'patch_size', 'num_classes', 'dynamic_img_size', 'weight_init'}


class DINOv2Network(VisionTransformer):
    """timm's vision transformer with the registers, positions and names of DINOv2's own code.

    Args:
        registers: Number of register tokens.
        attn_impl: As for :class:`DINOv2`, like the next one.
        pos_embed_interp: As there.
        **options: As for timm's ``VisionTransformer``.
    """

    def __init__(
        self, registers: int, attn_impl: str, pos_embed_interp: str, **options: Any
    ) -> None:
        super().__init__(num_classes=0, dynamic_img_size=True, weight_init='skip', **options)
        VisionTransformer.init_weights(self)
        self.pos_embed_interp = pos_embed_interp
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, self.embed_dim))
            nn.init.normal_(self.register_tokens, std=1e-6)
            self.num_prefix_tokens += registers
        if attn_impl == 'xformers':
            for block in self.blocks:
                block.attn = XFormersAttention(
                    self.embed_dim, block.attn.num_heads, qkv_bias=block.attn.qkv.bias is not None
                )

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Map patches ``(n, h, w, dim)`` to tokens ``(n, 1 + registers + h * w, dim)``."""
        pos_embed = resize_pos_embed(
            self.pos_embed, tuple(x.shape[1:3]), self.patch_embed.grid_size, self.pos_embed_interp
        )
        token = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat([token, x.flatten(1, 2)], dim=1) + pos_embed
        if hasattr(self, 'register_tokens'):
            registers = self.register_tokens.expand(x.shape[0], -1, -1)
            x = torch.cat([x[:, :1], registers, x[:, 1:]], dim=1)
        return x


@MODELS.register_module()
class DINOv2(TimmVisionTransformer):
    """DINOv2 (arXiv 2304.07193) that returns a feature pyramid, plain or adapted.

    A :class:`~.vit.TimmVisionTransformer` whose parameters have the names of the public files and
    whose positions are resized as DINOv2's code does, or exactly. :meth:`init_weights` loads the
    pretrained weights, splits the adapted ones and freezes the rest.

    Args:
        arch: ``'small'``, ``'base'``, ``'large'``, ``'giant'``, or a dict with ``embed_dim``,
            ``depth``, ``num_heads`` and further options of timm's ``VisionTransformer``.
        img_size: Height and width (or one number for both) in pixels that the position embedding
            is made for. Images of another size get it resized.
        patch_size: Side of a patch in pixels.
        registers: Number of register tokens (arXiv 2309.16588), 4 in the ``_reg4_`` files.
        out_indices: As for :class:`~.vit.TimmVisionTransformer`, like all that is not told of here.
        attn_impl: ``'sdpa'`` (PyTorch) or ``'xformers'``.
        pos_embed_interp: How the position embedding is resized, from the file to ``img_size`` and
            from there to the image: ``'exact'``, or ``'dinov2'`` as DINOv2's own code does
            (:func:`~.dinov2_weights.resize_pos_embed`). That code always starts from the file's
            37 x 37 patches: to do the same, let ``img_size`` be 37 patches.
        init_cfg: As there; the file is a converted one or a public DINOv2 file, perhaps by its
            name, such as ``dinov2_vitl14``.

    Raises:
        ValueError: If an option is unknown or out of range.
    """

    def __init__(
        self,
        arch: str | Mapping = 'large',
        img_size: int | tuple[int, int] = 512,
        patch_size: int = 16,
        registers: int = 0,
        out_indices: Sequence[int] | None = None,
        pyramid: Sequence[float] = (4, 2, 1, 0.5),
        frozen_blocks: int = 0,
        adapter: Mapping | None = None,
        with_cp: bool = False,
        attn_impl: str = 'sdpa',
        base_dtype: str = 'float32',
        pos_embed_interp: str = 'exact',
        init_cfg: Mapping | None = None,
        split_cache: bool = True,
        frozen_parameters: str | Sequence[str] = (),
    ) -> None:
        nn.Module.__init__(self)
        options = (out_indices, pyramid, frozen_blocks, adapter, with_cp, base_dtype, init_cfg)
        options = ViTOptions(*options, split_cache, frozen_parameters)
        try:
            vit_options = _vit_options(arch)
            check_choice('attn_impl', attn_impl, ('sdpa', 'xformers'))
            check_choice('pos_embed_interp', pos_embed_interp, POS_EMBED_INTERP)
            patch_grid(img_size, patch_size)
            if not is_count(registers, 0):
                raise ValueError(f'registers must be at least 0, and whole, got {registers!r}')
            options.check(vit_options['depth'])
            sizes = {'img_size': img_size, 'patch_size': patch_size}
            # Its random weights are drawn always: what is made after it, from the same seed, stays.
            network = DINOv2Network(registers, attn_impl, pos_embed_interp, **sizes, **vit_options)
            self._adopt(network, options)
        except ValueError as error:
            raise ValueError(f'DINOv2: {error}') from error
        self.arch = arch if isinstance(arch, str) else dict(arch)

    def read_pretrained(self, path: str | os.PathLike, prefix: str = '') -> dict[str, Tensor]:
        """Read a public or converted file, converted on the fly to this model's sizes.

        As in the parent class.
        """
        state, grid = read_pretrained(path, prefix)
        sizes = (self.patch_embed.img_size, self.patch_embed.patch_size[0])
        try:
            converted = convert_dinov2(state, *sizes, self.pos_embed_interp, grid)
        except ValueError as error:
            raise CheckpointError(f'{path}: {error}') from error
        if any(converted.get(key) is not value for key, value in state.items()):
            print_log(
                f'{path} converted on the fly to {sizes[0]} pixels in patches of {sizes[1]}',
                logger='current',
            )
        return {name: value for name, value in converted.items() if name not in UNUSED_KEYS}

    def describe(self) -> dict:
        """What a file of pretrained weights must be made for, as plain data for its card."""
        return {
            'arch': self.arch if isinstance(self.arch, str) else plain(self.arch),
            'img_size': list(self.patch_embed.img_size),
            'patch_size': self.patch_embed.patch_size[0],
            'registers': self.register_tokens.shape[1] if hasattr(self, 'register_tokens') else 0,
            'dtype': self.base_dtype,
            'pos_embed_interp': self.pos_embed_interp,
        }


def _vit_options(arch: str | Mapping) -> dict:
    """Options of timm's vision transformer for a name in :data:`ARCHS`, or for options."""
    if not isinstance(arch, Mapping):
        if not isinstance(arch, str) or arch not in ARCHS:
            raise ValueError(f'unknown arch {arch!r}, choose one of {sorted(ARCHS)}, or a dict')
        arch = ARCHS[arch]
    known = inspect.signature(VisionTransformer.__init__).parameters.keys() - _FIXED
    if unknown := sorted(arch.keys() - known, key=str):
        raise ValueError(f'unknown options {unknown} of arch')
    options = {'init_values': 1e-5, **arch}
    for name in ('embed_dim', 'depth', 'num_heads'):
        if not is_count(options.get(name)):
            raise ValueError(f'arch: {name} must be at least 1, and whole, got {arch.get(name)!r}')
    if options['embed_dim'] % options['num_heads']:
        raise ValueError(
            f'arch: embed_dim {options["embed_dim"]} must be a multiple of num_heads '
            f'{options["num_heads"]}'
        )
    return options
