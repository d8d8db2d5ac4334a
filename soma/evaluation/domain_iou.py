"""mIoU of each domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import METRICS
from mmseg.datasets import CityscapesDataset
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..datasets.domain_samples import CHECK
from ..datasets.labels import IGNORE, TRAIN_TO_CITYSCAPES
from ..io.files import InputError, atomic_path
from .calibration import Calibration
from .details import ImageScore, Maps, SegmentationDetails
from .domain_metric import DomainMetric
from .scores import Scores, confusion_matrix

_CITYSCAPES = CityscapesDataset.METAINFO['classes']


@dataclass
class _Counted:
    """What was counted of an image or of a domain; the last two where details are kept."""

    counts: np.ndarray
    scores: list[ImageScore]
    confidences: np.ndarray | int = 0
    images: int = 1

    def add(self, other: _Counted) -> None:
        self.counts += other.counts
        self.scores += other.scores
        self.confidences = self.confidences + other.confidences
        self.images += other.images

    def details(self) -> SegmentationDetails:
        known = isinstance(self.confidences, np.ndarray)
        calibration = Calibration.of(self.confidences) if known else None
        return SegmentationDetails(self.counts, calibration, self.scores)


@METRICS.register_module()
class DomainIoUMetric(DomainMetric):
    """mIoU, aAcc and mAcc per domain, and their means, in percent.

    They are called ``<domain>_mIoU`` ... and ``mean_mIoU`` .... A class that a domain neither has
    nor is predicted in is left out of its mean. Each process keeps a confusion matrix a domain.

    Args:
        ignore_index: Label of pixels that do not count; the dataset's if None.
        **kwargs: As for :class:`DomainMetric`: ``mean_over``, ``output_dir``, ``format_only``,
            ``prefix``. Predictions are ``<output_dir>/<domain>/<image>.png``, of 8 bits, or of 16
            for more than 256 classes. Where the dataset's classes are the 19 of Cityscapes, in
            that order, they hold Cityscapes ids, which test servers want; else the place of each
            pixel's class in the dataset's classes, whose names are in the file.
    """

    keys = ('mIoU', 'aAcc', 'mAcc')
    class_key = 'IoU'
    needs = 'DomainDataset and PackDomainInputs'

    def __init__(self, ignore_index: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_index = ignore_index

    def _count(self, sample: dict) -> _Counted | None:
        prediction = to_numpy(sample['pred_sem_seg'])
        if self.output_dir is not None:
            name = Path(sample['img_path']).with_suffix('.png').name
            path = self.output_dir / sample['domain'] / name
            self._claim(sample, str(path))
            write_classes(prediction, (self.dataset_meta or {}).get('classes', _CITYSCAPES), path)
        if self.format_only:
            return None
        label, classes = to_numpy(sample['gt_sem_seg']), len(self.dataset_meta['classes'])
        ignore = self.ignore_index
        if ignore is None:
            ignore = self.dataset_meta.get('ignore_index', IGNORE)
        try:
            counts = confusion_matrix(prediction, label, classes, ignore)
        except InputError as error:
            raise InputError(f'{sample.get("img_path")}: {error}; {CHECK}') from error
        if self.recorder is None:
            return _Counted(counts, [])
        score = self.recorder.add_maps(sample, Maps.of(label, prediction, ignore), counts)
        return _Counted(counts, [score], self.recorder.confidences(sample, ignore))

    def _keep(self, domain: str, counted: _Counted) -> None:
        _add(self._domains, domain, counted)

    def _score(self, results: list[dict[str, _Counted]]) -> dict[str, dict]:
        names = self.dataset_meta['classes']
        domains: dict[str, _Counted] = {}
        for part in results:
            for name, domain in part.items():
                _add(domains, name, domain)
        self.details = {n: domain.details() for n, domain in domains.items() if domain.scores}
        known = {n: part.calibration for n, part in self.details.items() if part.calibration}
        scores = {name: Scores.of(domain.counts) for name, domain in domains.items()}
        return {
            name: {
                **{key: getattr(score, key) for key in self.keys},
                'images': domains[name].images,
                **({'ECE': known[name].ece} if name in known else {}),
                'IoU': dict(zip(names, score.iou, strict=True)),
                'Acc': dict(zip(names, score.acc, strict=True)),
                'absent': [names[index] for index in np.flatnonzero(np.isnan(score.acc))],
            }
            for name, score in scores.items()
        }


def _add(domains: dict[str, _Counted], name: str, counted: _Counted) -> None:
    if name in domains:
        domains[name].add(counted)
    else:
        domains[name] = counted


def write_classes(prediction: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Write the class of each pixel ``(h, w)``."""
    if prediction.max() >= len(classes):
        raise InputError(
            f'the model predicts class {prediction.max()}, the test data has {len(classes)} '
            'classes: test it on data of its own classes'
        )
    text = PngInfo()
    if tuple(classes) == _CITYSCAPES:
        image = TRAIN_TO_CITYSCAPES[prediction]
    else:
        image = prediction.astype(np.uint8 if len(classes) <= 256 else np.uint16)
        text.add_itxt('classes', ', '.join(classes))
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, pnginfo=text)


def to_numpy(data: Mapping) -> np.ndarray:
    """The class of each pixel ``(h, w)``, of a sample's ``pred_sem_seg`` or ``gt_sem_seg``."""
    return data['data'].squeeze(0).cpu().numpy()
