"""Transforms, in mmengine's root registry."""

from __future__ import annotations

from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import PackSegInputs

_DEFAULT_KEYS = PackSegInputs().meta_keys


@TRANSFORMS.register_module()
class PackDomainInputs(PackSegInputs):
    """Packs a sample as mmseg does, with its ``domain`` in the meta information.

    Args:
        meta_keys: What else of a sample becomes meta information, where it is there; mmseg's
            choice by default.
    """

    def __init__(self, meta_keys: tuple[str, ...] = _DEFAULT_KEYS) -> None:
        super().__init__((*meta_keys, 'domain'))
