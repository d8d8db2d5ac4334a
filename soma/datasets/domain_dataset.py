"""Street images of one domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import CityscapesDataset

from .lists import read_names


@DATASETS.register_module()
class DomainDataset(CityscapesDataset):
    """Images of a domain, with labels of the 19 Cityscapes classes.

    Args:
        domain: Name of the domain, ``gta``, ``citys``, ``fog`` ...; each sample carries it as
            ``domain``.
        img_suffix: How image files end.
        seg_map_suffix: What label files have in the place of ``img_suffix``.
        **kwargs: As for mmseg's ``BaseSegDataset``. The lines of ``ann_file`` may have the suffix
            and the folder of the images, or not. Without ``seg_map_path`` in ``data_prefix``
            there are no labels.
    """

    def __init__(
        self, domain: str, img_suffix: str, seg_map_suffix: str = '', **kwargs: Any
    ) -> None:
        self.domain = domain
        self._folder = (kwargs.get('data_prefix') or {}).get('img_path') or ''
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

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
