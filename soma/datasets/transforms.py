"""Transforms, in mmengine's root registry."""

from __future__ import annotations

from importlib.util import find_spec

from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import PackSegInputs

from .domain_samples import check_label_map

_SEG_KEYS = PackSegInputs().meta_keys


@TRANSFORMS.register_module()
class PackDomainInputs(PackSegInputs):
    """Packs a sample as mmseg does, with its ``domain`` in the meta information.

    Args:
        meta_keys: What else of a sample becomes meta information, where it is there; mmseg's
            choice by default.
    """

    def __init__(self, meta_keys: tuple[str, ...] = _SEG_KEYS) -> None:
        super().__init__((*meta_keys, 'domain'))

    def transform(self, results: dict) -> dict:
        """Pack a sample.

        Raises:
            InputError: If its label map has channels, or another size than the image.
        """
        check_label_map(results)
        return super().transform(results)


if find_spec('mmdet') is not None:
    from mmdet.datasets.transforms import PackDetInputs

    _DET_KEYS = PackDetInputs().meta_keys

    @TRANSFORMS.register_module()
    class PackDomainDetInputs(PackDetInputs):
        """Packs a sample as mmdet does, with its ``domain`` in the meta information.

        So are the ``category_ids`` of a COCO file, by which predictions are written.

        Args:
            meta_keys: What else of a sample becomes meta information, where it is there; mmdet's
                choice by default.
        """

        def __init__(self, meta_keys: tuple[str, ...] = _DET_KEYS) -> None:
            super().__init__((*meta_keys, 'img_id', 'domain', 'category_ids'))
