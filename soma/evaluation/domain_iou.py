"""mIoU of each domain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import METRICS
from PIL import Image

from ..datasets.labels import TRAIN_TO_CITYSCAPES
from ..io.files import atomic_path
from .domain_metric import DomainMetric
from .scores import Scores, confusion_matrix


class _Domain:
    """What was counted of a domain: a confusion matrix and the number of images."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)
        self.images = 0

    def add(self, counts: np.ndarray, images: int = 1) -> None:
        self.counts += counts
        self.images += images


@METRICS.register_module()
class DomainIoUMetric(DomainMetric):
    """mIoU, aAcc and mAcc per domain, and their means, in percent.

    They are called ``<domain>_mIoU`` ... and ``mean_mIoU`` .... A class that a domain neither has
    nor is predicted in is left out of its mean. Each process keeps a confusion matrix a domain.

    Args:
        ignore_index: Label of pixels that do not count.
        **kwargs: As for :class:`DomainMetric`: ``mean_over``, ``output_dir``, ``format_only``,
            ``prefix``. Predictions are ``<output_dir>/<domain>/<image>.png``, with Cityscapes ids.
    """

    keys = ('mIoU', 'aAcc', 'mAcc')
    class_key = 'IoU'
    needs = 'DomainDataset and PackDomainInputs'

    def __init__(self, ignore_index: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_index = ignore_index

    def _count(self, sample: dict) -> np.ndarray | None:
        prediction = _numpy(sample['pred_sem_seg'])
        if self.output_dir is not None:
            name = Path(sample['img_path']).with_suffix('.png').name
            path = self.output_dir / sample['domain'] / name
            self._claim(sample, str(path))
            with atomic_path(path) as temporary:
                Image.fromarray(TRAIN_TO_CITYSCAPES[prediction]).save(temporary)
        if self.format_only:
            return None
        label, classes = _numpy(sample['gt_sem_seg']), len(self.dataset_meta['classes'])
        return confusion_matrix(prediction, label, classes, self.ignore_index)

    def _keep(self, domain: str, counted: np.ndarray) -> None:
        self._domains.setdefault(domain, _Domain(len(counted))).add(counted)

    def _score(self, results: list[dict[str, _Domain]]) -> dict[str, dict]:
        names = self.dataset_meta['classes']
        domains: dict[str, _Domain] = {}
        for part in results:
            for name, domain in part.items():
                total = domains.setdefault(name, _Domain(len(names)))
                total.add(domain.counts, domain.images)
        scores = {name: Scores.of(domain.counts) for name, domain in domains.items()}
        return {
            name: {
                **{key: getattr(score, key) for key in self.keys},
                'images': domains[name].images,
                'IoU': dict(zip(names, score.iou, strict=True)),
                'Acc': dict(zip(names, score.acc, strict=True)),
                'absent': [names[index] for index in np.flatnonzero(np.isnan(score.acc))],
            }
            for name, score in scores.items()
        }


def _numpy(data: Mapping) -> np.ndarray:
    return data['data'].squeeze(0).cpu().numpy()
