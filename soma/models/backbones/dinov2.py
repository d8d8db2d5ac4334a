"""DINOv2 as a backbone, on timm's vision transformer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.registry import MODELS
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...adapters.blocks import block_index
from ...adapters.inject import adapter_names, adapter_state, inject_adapter
from ...adapters.layer import AdapterLayer
from ...adapters.pretrained import is_block_matrix
from ...adapters.split import split_layers, split_together
from ...io.checkpoint_files import load_strictly
from ...io.files import CheckpointError
from ...io.public import find_weights
from ..pyramid import resize_map
from .dinov2_options import check_frozen, check_options
from .dinov2_weights import convert_dinov2, read_pretrained, resize_pos_embed
from .vit_layers import XFormersAttention

# In the public files, and of no use here: it stands for masked patches in pretraining.
UNUSED_KEYS = {'mask_token'}


@MODELS.register_module()
class DINOv2(VisionTransformer):
    """DINOv2 (arXiv 2304.07193) that returns a feature pyramid, plain or adapted.

    Parameters have the names of the public files. :meth:`init_weights` loads the pretrained
    weights, splits the adapted ones and freezes the rest.

    Args:
        arch: ``'small'``, ``'base'``, ``'large'``, ``'giant'``, or a dict with ``embed_dim``,
            ``depth``, ``num_heads`` and further options of timm's ``VisionTransformer``.
        img_size: Height and width (or one number for both) in pixels that the position embedding
            is made for. Images of another size get it resized.
        patch_size: Side of a patch in pixels.
        registers: Number of register tokens (arXiv 2309.16588), 4 in the ``_reg4_`` files.
        out_indices: Blocks whose outputs are returned; by default the ones after a third, half,
            two thirds and all of the depth.
        pyramid: Factor by which each returned map is resized.
        frozen_blocks: The number of first blocks that are frozen whole; with one or more, the
            embeddings are frozen too.
        adapter: Adapter config, ``dict(type='SoMA', rank=16, start_block=8)``. Then all but the
            adapter is frozen. ``start_block`` defaults to ``frozen_blocks``.
        with_cp: Recompute the blocks in the backward pass, to save memory.
        attn_impl: ``'sdpa'`` (PyTorch) or ``'xformers'``.
        base_dtype: ``'bfloat16'`` stores the frozen matrices of the blocks so, in half the memory,
            and computes in bfloat16, with or without mixed precision. Adapters are split from the
            weights as they are in the file, and train in float32; the maps are float32.
        pos_embed_interp: How the position embedding is resized, from the file to ``img_size`` and
            from there to the image: ``'exact'``, or ``'dinov2'`` as DINOv2's own code does
            (:func:`~.dinov2_weights.resize_pos_embed`). That code always starts from the file's
            37 x 37 patches: to do the same, let ``img_size`` be 37 patches.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE)``, optionally with the ``prefix`` of
            the backbone's keys. The file is a converted one or a public DINOv2 file, perhaps by
            its name, such as ``dinov2_vitl14``.
        split_cache: Keep the split in a file beside that of ``init_cfg``, such as
            ``<file>.split-r16-minor.safetensors``, so that only the first start computes it.
        frozen_parameters: Regular expression, or several, that fully match the names of further
            parameters to freeze, such as ``pos_embed``; without an adapter.

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
        choices = dict(attn_impl=attn_impl, base_dtype=base_dtype, with_cp=with_cp)
        choices |= dict(pos_embed_interp=pos_embed_interp, split_cache=split_cache)
        sizes, outputs = (img_size, patch_size, registers), (out_indices, pyramid, frozen_blocks)
        try:
            options, out_indices, adapter = check_options(
                arch, sizes, outputs, adapter, init_cfg, **choices
            )
        except ValueError as error:
            raise ValueError(f'DINOv2: {error}') from error
        super().__init__(
            img_size=img_size,
            patch_size=patch_size,
            num_classes=0,
            dynamic_img_size=True,
            weight_init='skip',
            **options,
        )
        VisionTransformer.init_weights(self)
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, self.embed_dim))
            nn.init.normal_(self.register_tokens, std=1e-6)
        if attn_impl == 'xformers':
            for block in self.blocks:
                block.attn = XFormersAttention(
                    self.embed_dim, block.attn.num_heads, qkv_bias=block.attn.qkv.bias is not None
                )

        self.arch = arch if isinstance(arch, str) else dict(arch)
        self.out_indices, self.pyramid = tuple(out_indices), tuple(pyramid)
        self.frozen_blocks, self.with_cp = frozen_blocks, with_cp
        names = [name for name, _ in self.named_parameters()]
        self.frozen_parameters = check_frozen(frozen_parameters, names, adapter)
        self.base_dtype, self.split_cache = base_dtype, split_cache
        self.pos_embed_interp = pos_embed_interp
        self.adapter = adapter
        if adapter is not None:
            inject_adapter(self, adapter, split=False)
        self.init_cfg = None if init_cfg is None else dict(init_cfg)
        self.is_init = False
        self._freeze()
        if base_dtype == 'bfloat16':
            for name, parameter in self.named_parameters():
                if not parameter.requires_grad and is_block_matrix(name, parameter):
                    parameter.data = parameter.data.bfloat16()

    def init_weights(self) -> None:
        """Load the pretrained weights, split the adapted ones, freeze the rest.

        Raises:
            FileNotFoundError: If the file of ``init_cfg`` does not exist.
            CheckpointError: If the file's keys or shapes are not the model's, or it may be of more
                than one size.
        """
        if self.is_init:
            return
        if self.init_cfg is not None:
            self._load_pretrained(**self.init_cfg)  # and split them, when all are there
        elif self.adapter is not None:
            print_log(
                'DINOv2 has an adapter but no init_cfg: it splits random weights. Unless '
                'load_from follows, give it init_cfg=dict(type="Pretrained", checkpoint=...)',
                logger='current',
                level=logging.WARNING,
            )
            split_layers({n: m for n, m in self.named_modules() if isinstance(m, AdapterLayer)})
        self._freeze()
        self.is_init = True

    def _load_pretrained(self, type: str, checkpoint: str, prefix: str = '') -> None:
        """Load a file, converted on the fly to this model's sizes."""
        checkpoint = find_weights(checkpoint)
        state, grid = read_pretrained(checkpoint, prefix)
        sizes = (self.patch_embed.img_size, self.patch_embed.patch_size[0])
        try:
            converted = convert_dinov2(state, *sizes, self.pos_embed_interp, grid)
        except ValueError as error:
            raise CheckpointError(f'{checkpoint}: {error}') from error
        if any(converted.get(key) is not value for key, value in state.items()):
            print_log(
                f'{checkpoint} converted on the fly to {sizes[0]} pixels in patches of {sizes[1]}',
                logger='current',
            )
        for key in UNUSED_KEYS & converted.keys():
            del converted[key]
        with split_together(self, checkpoint if self.split_cache else None):
            # What stands beside the layers (tokens) is in no file of pretrained weights.
            load_strictly(self, adapter_state(self, in_layers=False) | converted, checkpoint)

    def describe(self) -> dict:
        """What a file of pretrained weights must be made for, as plain data for its card."""
        arch = self.arch
        if not isinstance(arch, str):  # its options may be classes
            plain = str | int | float | list | tuple | None
            arch = {
                name: value if isinstance(value, plain) else getattr(value, '__name__', '?')
                for name, value in arch.items()
            }
        return {
            'arch': arch,
            'img_size': list(self.patch_embed.img_size),
            'patch_size': self.patch_embed.patch_size[0],
            'registers': self.register_tokens.shape[1] if hasattr(self, 'register_tokens') else 0,
            'dtype': self.base_dtype,
            'pos_embed_interp': self.pos_embed_interp,
        }

    def frozen_names(self) -> set[str]:
        """Names of the parameters that must stay frozen.

        These are the first blocks, those of ``frozen_parameters``, what the features do not depend
        on (the final norm and blocks after the last output), and with an adapter all that is not
        its own.
        """
        in_adapter = adapter_names(self)
        frozen = set(self.frozen_parameters)
        for name, _ in self.named_parameters():
            block = -1 if (index := block_index(name)) is None else index
            unused = block > self.out_indices[-1] or name.startswith('norm.')
            fixed = name not in in_adapter if self.adapter else block < self.frozen_blocks > 0
            if unused or fixed:
                frozen.add(name)
        return frozen

    def _freeze(self) -> None:
        frozen = self.frozen_names()
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in frozen)

    def _embed(self, image: Tensor) -> Tensor:
        """Map ``(n, 3, H, W)`` to tokens ``(n, 1 + registers + h * w, dim)``."""
        patches = self.patch_embed(image)  # (n, h, w, dim)
        grid = tuple(patches.shape[1:3])
        pos_embed = resize_pos_embed(
            self.pos_embed, grid, self.patch_embed.grid_size, self.pos_embed_interp
        )
        token = self.cls_token.expand(len(image), -1, -1)
        x = torch.cat([token, patches.flatten(1, 2)], dim=1) + pos_embed
        if hasattr(self, 'register_tokens'):
            registers = self.register_tokens.expand(len(image), -1, -1)
            x = torch.cat([x[:, :1], registers, x[:, 1:]], dim=1)
        return x

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps.

        Args:
            image: Shape ``(n, 3, H, W)``, normalised. If H or W is no multiple of the patch size,
                the image is enlarged to the next one.

        Returns:
            One map for each of ``out_indices``, of shape ``(n, dim, h * factor, w * factor)`` with
            ``h = ceil(H / patch_size)`` and the factor from ``pyramid``.
        """
        if self.base_dtype == 'float32':
            return self._maps(image)
        with torch.autocast(image.device.type, dtype=torch.bfloat16):
            return self._maps(image)

    def _maps(self, image: Tensor) -> tuple[Tensor, ...]:
        patch = self.patch_embed.patch_size[0]
        height, width = (-(-side // patch) for side in image.shape[2:])
        patches, size = height * width, (height * patch, width * patch)
        if image.shape[2:] != size:  # padding would shift the maps against the image
            image = F.interpolate(image, size=size, mode='bilinear', align_corners=False)
        x = self._embed(image)
        maps = []
        for index, block in enumerate(self.blocks[: self.out_indices[-1] + 1]):
            # Frozen blocks get no graph from autograd, so there is nothing to recompute in them.
            if self.with_cp and self.training and index >= self.frozen_blocks:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
            if index in self.out_indices:
                features = x[:, -patches:].transpose(1, 2).unflatten(2, (height, width))
                maps.append(features.contiguous())
        return tuple(
            resize_map(features, factor)
            for features, factor in zip(maps, self.pyramid, strict=True)
        )
