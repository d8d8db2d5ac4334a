"""Street images of one domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.registry import DATASETS
from mmseg.datasets import CityscapesDataset
from PIL import Image, UnidentifiedImageError

from ..io.files import InputError
from .domain_samples import CHECK, DomainSamples, check_label_map
from .lists import read_names


@DATASETS.register_module()
class DomainDataset(DomainSamples, CityscapesDataset):
    """Images of a domain, with labels of the 19 Cityscapes classes or of others.

    With ``metainfo=dict(classes=...)`` of some Cityscapes classes, the labels of the others do not
    count. Names that are no Cityscapes classes are classes of the dataset's own, whose labels are
    their places in the list.

    Args:
        domain: Name of the domain, ``gta``, ``citys``, ``fog`` ...; each sample carries it as
            ``domain``.
        img_suffix: How image files end.
        seg_map_suffix: What label files have in the place of ``img_suffix``.
        **kwargs: As for mmseg's ``BaseSegDataset``. The lines of ``ann_file`` may have the suffix
            and the folder of the images, or not. Without ``seg_map_path`` in ``data_prefix``
            there are no labels.

    Raises:
        InputError: As for :class:`DomainSamples`, or if classes are left out, or label 0, by
            another ``ignore_index`` than 255.
    """

    PREFIXES: ClassVar[tuple[str, ...]] = ('img_path', 'seg_map_path')

    def __init__(
        self, domain: str, img_suffix: str, seg_map_suffix: str = '', **kwargs: Any
    ) -> None:
        prefixes = kwargs.get('data_prefix')
        self._folder = str(prefixes.get('img_path', '')) if isinstance(prefixes, Mapping) else ''
        super().__init__(
            domain=domain, img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs
        )
        if self.ignore_index != 255:
            if self.label_map or self.reduce_zero_label:
                raise InputError(
                    f'domain {domain}: mmseg gives labels that are left out the value 255, so that '
                    f'ignore_index must be 255, got {self.ignore_index}'
                )
            self._metainfo['ignore_index'] = self.ignore_index  # for metrics

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """As mmseg's; None for classes of the dataset's own.

        Raises:
            InputError: If only some of the names are in ``METAINFO``.
        """
        known = cls.METAINFO['classes']
        unknown = [name for name in new_classes or () if name not in known]
        if not unknown:
            return super().get_label_map(new_classes)
        if len(unknown) < len(new_classes):
            raise InputError(
                f'classes {", ".join(unknown)} are none of {", ".join(known)}: for classes of your '
                'own, docs/advanced_guides/add_dataset.md has a dataset of a few lines'
            )
        return None

    def load_data_list(self) -> list[dict]:
        """List the samples as mmseg makes them, with the ``domain``.

        Raises:
            FileNotFoundError: If there is no image, or no file that is to list them.
        """
        folder = self.data_prefix.get('img_path')
        if self.ann_file:
            samples = self._listed()
        else:
            try:
                samples = super().load_data_list()
            except FileNotFoundError:
                samples = []
        if not samples:
            raise FileNotFoundError(
                f'domain {self.domain}: no *{self.img_suffix} in {self.ann_file or folder}; '
                'docs/user_guides/datasets.md says what belongs there'
            )
        return [{**sample, 'domain': self.domain} for sample in samples]

    def _listed(self) -> list[dict]:
        images, labels = (self.data_prefix.get(key) for key in ('img_path', 'seg_map_path'))
        try:
            names = read_names(self.ann_file, self._folder, self.img_suffix)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'domain {self.domain}: no list {self.ann_file}; docs/user_guides/datasets.md '
                'says how to make one'
            ) from error
        samples = []
        for name in names:
            sample = {'img_path': str(Path(images, name + self.img_suffix))}
            if labels is not None:
                sample['seg_map_path'] = str(Path(labels, name + self.seg_map_suffix))
            sample |= {'label_map': self.label_map, 'reduce_zero_label': self.reduce_zero_label}
            samples.append({**sample, 'seg_fields': []})
        return samples

    def _check_labels(self, results: dict, by_packages: bool) -> None:
        file = results['seg_map_path']
        largest = _largest_label(Path(file)) if by_packages else 0
        if largest > 255:  # mmseg keeps the lower 8 bits: 300 would be 44
            raise InputError(
                f'{results["img_path"]} with labels {file}: the labels hold {largest}, which needs '
                f'more than 8 bits; write them with 8; {CHECK}'
            )
        check_label_map(results, len(self._metainfo['classes']), self.ignore_index)


def _largest_label(path: Path) -> int:
    """The largest value of a file of more than 8 bits; 0 of others, and of what is no image."""
    try:
        with Image.open(path) as labels:
            return int(np.max(labels)) if labels.mode.startswith('I') else 0
    except UnidentifiedImageError:
        return 0
