"""EoMT: a vision transformer that is the segmentation model (arXiv 2503.19108)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

from ..backbones.vit import TimmVisionTransformer
from .window_encoder_decoder import WindowEncoderDecoder


@MODELS.register_module()
class EoMT(WindowEncoderDecoder):
    """Queries among the tokens of the last blocks, without pixel or transformer decoder.

    In training there are predictions before each of these blocks and after the last, and queries
    are masked as far as ``MaskAnnealingHook`` says. Testing is one pass through the transformer,
    without masks.

    Args:
        backbone: ``DINOv2`` or ``TimmVisionTransformer``, plain or adapted, without ``out_indices``
            and ``pyramid``: there are no maps.
        decode_head: An ``EoMTHead``, without ``in_channels`` and ``patch_size``, which are the
            backbone's.
        **kwargs: As in the parent class.

    Raises:
        ValueError: If a part is another one, or has an option that is of no use.
    """

    def __init__(self, backbone: Mapping, decode_head: Mapping, **kwargs: Any) -> None:
        _refuse('backbone', backbone, ('out_indices', 'pyramid'))
        _refuse('decode_head', decode_head, ('in_channels', 'patch_size'))
        _refuse('model', {k: v for k, v in kwargs.items() if v}, ('neck', 'auxiliary_head'))
        kind = decode_head.get('type')
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        if not hasattr(kind, 'attention_mask'):
            raise ValueError(f'EoMT needs an EoMTHead, got {decode_head.get("type")}')
        super().__init__(backbone, decode_head, **kwargs)

    def _init_decode_head(self, decode_head: Mapping) -> None:
        backbone = self.backbone
        if not isinstance(backbone, TimmVisionTransformer):
            raise ValueError(
                'EoMT needs a plain vision transformer, backbone=dict(type="DINOv2") or '
                f'"TimmVisionTransformer", got {type(backbone).__name__}'
            )
        sizes = {'in_channels': backbone.embed_dim, 'patch_size': backbone.stride}
        super()._init_decode_head({**decode_head, **sizes})
        backbone.take_queries(self.decode_head.num_blocks, self.decode_head.num_queries)

    def extract_feat(self, inputs: Tensor) -> tuple[list[Tensor], ...]:
        """Run backbone and queries.

        Args:
            inputs: Shape ``(n, 3, H, W)``, normalised.

        Returns:
            Class scores ``(n, queries, C + 1)``, mask embeddings ``(n, queries, c)`` and mask
            features ``(n, c, h, w)`` after the last block; in training, of each layer before it.
        """
        is_narrow = self.backbone.base_dtype != 'float32'
        autocast = torch.autocast(inputs.device.type, torch.bfloat16)
        with autocast if is_narrow else nullcontext():
            outputs = self._run(inputs)
        return tuple([x.float() if is_narrow else x for x in kind] for kind in outputs)

    def _run(self, inputs: Tensor) -> tuple:
        backbone, head = self.backbone, self.decode_head
        size = [(side - 1) // backbone.stride + 1 for side in inputs.shape[2:]]
        first = len(backbone.blocks) - head.num_blocks
        tokens, rope = backbone.embed(inputs)
        outputs = []
        for index in range(len(backbone.blocks)):
            mask = None
            if index == first:
                tokens = head.add_queries(tokens)
            if index >= first and self.training:
                outputs.append(head.read(backbone.norm(tokens), size))
                mask = head.attention_mask(*outputs[-1][1:], size, index - first, tokens.shape[1])
            tokens = backbone.run_block(index, tokens, rope, mask)
        outputs.append(head.read(backbone.norm(tokens), size))
        return zip(*outputs, strict=True)


def _refuse(part: str, options: Mapping, names: tuple[str, ...]) -> None:
    if wrong := [name for name in names if name in options]:
        raise ValueError(f'EoMT has no use for {wrong[0]} of {part}: leave it out')
