"""Any vision transformer of timm as a backbone, plain or adapted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from mmengine.logging import print_log
from mmengine.registry import MODELS
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from ...adapters.blocks import block_index
from ...adapters.inject import adapter_names, adapter_state, inject_adapter
from ...adapters.layer import AdapterLayer
from ...adapters.split import split_layers, split_together
from ...io.checkpoint_files import load_strictly
from ...io.public import find_weights
from ..pyramid import resize_map
from .timm_maps import TimmMaps
from .timm_network import HEADS, become, create_network, enlarge, give_memory
from .vit_options import ViTOptions


@MODELS.register_module()
class TimmVisionTransformer(TimmMaps, nn.Module):
    """A vision transformer of timm that returns a feature pyramid, plain or adapted.

    DINOv2, DINOv3, EVA-02, CLIP, SigLIP 2, SAM, Perception Encoder, DeiT, MAE and the others of
    timm, with or without class token, registers, rotary positions, fused q, k and v, gated MLPs and
    windows. It computes with timm's ``forward_intermediates``, and parameters have timm's names.
    :meth:`init_weights` loads the pretrained weights, splits the adapted ones and freezes the rest.

    Args:
        model_name: As for ``timm.create_model``, such as ``'vit_large_patch16_dinov3'``.
        img_size: Height and width (or one number for both) in pixels that the position embedding
            is made for; that of the pretrained weights by default. Images of another size get it
            resized.
        patch_size: Side of a patch in pixels; that of the pretrained weights by default. To another
            one, kernel and positions of the file are resized, by timm.
        out_indices: Blocks whose outputs are returned; by default the ones after a third, half,
            two thirds and all of the depth.
        pyramid: Factor by which each returned map is resized.
        frozen_blocks: The number of first blocks that are frozen whole; with one or more, the
            embeddings are frozen too.
        adapter: Adapter config, ``dict(type='SoMA', rank=16, start_block=8)``. Then all but the
            adapter is frozen. ``start_block`` defaults to ``frozen_blocks``.
        with_cp: Recompute the blocks in the backward pass, to save memory.
        base_dtype: ``'bfloat16'`` stores the frozen matrices of the blocks so, in half the memory,
            and computes in bfloat16, with or without mixed precision. Adapters are split from the
            weights as they are in the file (those that start from data, from the rounded ones), and
            train in float32; the maps are float32.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE)``, optionally with the ``prefix`` of
            the backbone's keys. The file is timm's or an official one of the family, perhaps by
            its name, such as ``timm/vit_large_patch16_siglip_512.v2_webli``. The network is made
            without weights then, and filled from the file.
        split_cache: Keep the split in a file beside that of ``init_cfg``, such as
            ``<file>.split-r16-minor.safetensors``, so that only the first start computes it.
        frozen_parameters: Regular expression, or several, that fully match the names of further
            parameters to freeze, such as ``pos_embed``; without an adapter.
        model_args: Further options of ``timm.create_model``, such as ``depth``.

    Raises:
        ValueError: If an option is unknown or out of range, or the network has no blocks of one
            resolution.
    """

    def __init__(
        self,
        model_name: str,
        img_size: int | Sequence[int] | None = None,
        patch_size: int | None = None,
        out_indices: Sequence[int] | None = None,
        pyramid: Sequence[float] = (4, 2, 1, 0.5),
        frozen_blocks: int = 0,
        adapter: Mapping | None = None,
        with_cp: bool = False,
        base_dtype: str = 'float32',
        init_cfg: Mapping | None = None,
        split_cache: bool = True,
        frozen_parameters: str | Sequence[str] = (),
        model_args: Mapping | None = None,
    ) -> None:
        super().__init__()
        options = (out_indices, pyramid, frozen_blocks, adapter, with_cp, base_dtype, init_cfg)
        options = ViTOptions(*options, split_cache, frozen_parameters)
        sizes = {'img_size': img_size, 'patch_size': patch_size}
        sizes = {name: value for name, value in sizes.items() if value is not None}
        timm_options = {**(model_args or {}), **sizes}
        try:
            network = create_network(model_name, timm_options, on_meta=init_cfg is not None)
            if len({info['reduction'] for info in network.feature_info}) != 1:
                raise ValueError(
                    f'{model_name} has stages of several resolutions: put it into '
                    "backbone=dict(type='AdaptedBackbone', backbone=dict(type='TimmPyramid', ...))"
                )
            if not hasattr(network, 'blocks'):
                raise ValueError(f'{model_name} has no list of blocks, as vision transformers have')
            self._adopt(network, options)
        except ValueError as error:
            raise ValueError(f'TimmVisionTransformer: {error}') from error
        self.arch, self.timm_options = model_name, timm_options

    def _adopt(self, network: nn.Module, options: ViTOptions) -> None:
        """Become a network, with the adapter in it.

        Raises:
            ValueError: If an option does not fit it.
        """
        options.check(len(network.blocks))
        frozen_parameters = options.match_frozen([name for name, _ in network.named_parameters()])
        become(self, network, options.with_cp)
        self.stride = self.feature_info[0]['reduction']
        self.out_indices, self.pyramid = tuple(options.out_indices), tuple(options.pyramid)
        self.frozen_blocks, self.with_cp = options.frozen_blocks, options.with_cp
        self.frozen_parameters, self.base_dtype = frozen_parameters, options.base_dtype
        self.split_cache, self.adapter = options.split_cache, options.adapter
        self.init_cfg = None if options.init_cfg is None else dict(options.init_cfg)
        self.is_init = False
        if self.adapter is not None:
            inject_adapter(self, self.adapter, split=False)
        self._freeze()
        give_memory(self, getattr(torch, self.base_dtype))

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
                f'{type(self).__name__} has an adapter but no init_cfg: it splits random weights. '
                'Unless load_from follows, give it '
                'init_cfg=dict(type="Pretrained", checkpoint=...)',
                logger='current',
                level=logging.WARNING,
            )
            split_layers({n: m for n, m in self.named_modules() if isinstance(m, AdapterLayer)})
        self._freeze()
        self.is_init = True

    def _load_pretrained(self, type: str, checkpoint: str, prefix: str = '') -> None:
        checkpoint = find_weights(checkpoint)
        state = self.read_pretrained(checkpoint, prefix)
        with split_together(self, checkpoint if self.split_cache else None):
            # What stands beside the layers (tokens) is in no file of pretrained weights.
            load_strictly(self, adapter_state(self, in_layers=False) | state, checkpoint)

    def describe(self) -> dict:
        """What a file of pretrained weights must be made for, as plain data for its card."""
        about = super().describe()
        if isinstance(getattr(self, 'pos_embed', None), Tensor):  # positions are of a grid
            about['img_size'] = list(self.patch_embed.img_size)
            about['patch_size'] = self.stride
        return {**about, 'dtype': self.base_dtype}

    def frozen_names(self) -> set[str]:
        """Names of the parameters that must stay frozen.

        These are the first blocks, those of ``frozen_parameters``, what the features do not depend
        on (norm and neck at the end and blocks after the last output), and with an adapter all
        that is not its own.
        """
        in_adapter = adapter_names(self)
        frozen = set(self.frozen_parameters)
        last = self.out_indices[-1] if self.out_indices else len(self.blocks) - 1
        for name, _ in self.named_parameters():
            block = -1 if (index := block_index(name)) is None else index
            part = name.partition('.')[0]
            unused = part in HEADS or block > last
            if part == 'norm' and not self.out_indices:  # behind the last block, and read
                block, unused = last, False
            fixed = name not in in_adapter if self.adapter else block < self.frozen_blocks > 0
            if unused or fixed:
                frozen.add(name)
        return frozen

    def _freeze(self) -> None:
        frozen = self.frozen_names()
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in frozen)

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
            return tuple(features.float() for features in self._maps(image))

    def take_queries(self, num_blocks: int, num_queries: int) -> None:
        """Prepare for queries before the tokens of the last blocks; there are no maps then.

        Neither positions nor what refines patches (an adapter) touches them.

        Args:
            num_blocks: Number of blocks that have them.
            num_queries: Their number.

        Raises:
            ValueError: If there are not as many blocks, or they cannot have a mask.
        """
        if not isinstance(self, VisionTransformer | Eva):
            raise ValueError(f'{self.arch} cannot have queries among its tokens: take a plain ViT')
        if not 0 < num_blocks < len(self.blocks):
            raise ValueError(
                f'num_blocks must be 1 to {len(self.blocks) - 1}, fewer than {self.arch} has, '
                f'got {num_blocks!r}'
            )
        for block in self.blocks[-num_blocks:]:
            block.num_queries = num_queries
            for module in block.modules():
                if hasattr(module, 'num_prefix_tokens'):  # tokens without rotary positions
                    module.num_prefix_tokens = self.num_prefix_tokens + num_queries
        self.out_indices = self.pyramid = ()
        self._freeze()

    def embed(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute the tokens before the first block.

        Args:
            image: As for :meth:`forward`.

        Returns:
            Tokens ``(n, prefix + h * w, dim)``, and rotary positions of the patches or None.
        """
        tokens = self._pos_embed(self.patch_embed(enlarge(image, self.stride)))
        tokens, rope = tokens if isinstance(tokens, tuple) else (tokens, None)
        return self.norm_pre(tokens), rope

    def run_block(
        self, index: int, tokens: Tensor, rope: Tensor | None, mask: Tensor | None = None
    ) -> Tensor:
        """Compute a block.

        Args:
            index: Its number.
            tokens: Shape ``(n, t, dim)``; in the last blocks, queries before those of the image.
            rope: As :meth:`embed` returns it.
            mask: True where a token sees another, shape ``(n, 1, t, t)``.

        Returns:
            The tokens after it, ``(n, t, dim)``.
        """
        options = {} if mask is None else {'attn_mask': mask}
        if rope is not None:
            options['rope'] = rope[index] if getattr(self, 'rope_mixed', False) else rope
        block = self.blocks[index]
        if self.grad_checkpointing:
            return recompute(block, tokens, use_reentrant=False, **options)
        return block(tokens, **options)

    def _maps(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(resize_map, self.compute_maps(image), self.pyramid))
