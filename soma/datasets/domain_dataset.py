"""Street pictures of one domain."""

from __future__ import annotations

from mmengine.registry import DATASETS
from mmseg.datasets import CityscapesDataset


@DATASETS.register_module()
class DomainDataset(CityscapesDataset):
    """Pictures with the 19 Cityscapes classes that say which domain they belong to.

    Args:
        domain: Name of the domain, ``gta``, ``citys``, ``fog`` ...; each sample carries it as
            ``domain``.
        img_suffix: How picture files end.
        seg_map_suffix: What label files have in the place of ``img_suffix``.
        **kwargs: As for mmseg's ``BaseSegDataset``.
    """

    def __init__(self, domain: str, img_suffix: str, seg_map_suffix: str, **kwargs) -> None:
        self.domain = domain
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the samples.

        Returns:
            One dict a picture, as mmseg makes them, with the ``domain``.

        Raises:
            FileNotFoundError: If there is no picture.
        """
        folder = self.data_prefix.get('img_path')
        try:
            samples = super().load_data_list()
        except FileNotFoundError:
            samples = []
        if not samples:
            raise FileNotFoundError(
                f'domain {self.domain}: no *{self.img_suffix} in {folder or self.ann_file}; '
                'data/README.md says what belongs there'
            )
        return [{**sample, 'domain': self.domain} for sample in samples]
