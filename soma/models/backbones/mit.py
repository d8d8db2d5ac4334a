"""SegFormer's encoder as it was published."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from mmengine.registry import MODELS
from mmseg.models.backbones.mit import EfficientMultiheadAttention, MixVisionTransformer, PatchEmbed
from torch import Tensor

from .mit_names import from_segformer


@MODELS.register_module()
class SegFormerMiT(MixVisionTransformer):
    """mmseg's ``MixVisionTransformer`` (arXiv 2105.15203) that computes as the published code.

    There the norms of the patches and of the shrunk keys and values have PyTorch's ``eps`` of
    1e-5, where mmseg has 1e-6 for all. ``init_cfg`` reads files of both, such as ``mit_b5.pth``.

    Args:
        *args: As for ``MixVisionTransformer``.
        **kwargs: As there.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for module in self.modules():
            shrinks = isinstance(module, EfficientMultiheadAttention) and module.sr_ratio > 1
            if shrinks or isinstance(module, PatchEmbed):
                module.norm.eps = 1e-5
        self._register_load_state_dict_pre_hook(_rename)


def _rename(state: MutableMapping[str, Tensor], prefix: str, *_: object) -> None:
    """Rename, in place, what a module at this prefix is about to load."""
    given = {name: state[name] for name in state if name.startswith(prefix)}
    renamed = from_segformer(given)
    if renamed is not given:
        for name in given:
            del state[name]
        state.update(renamed)
