"""mIoU of each domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import METRICS
from mmseg.datasets import CityscapesDataset
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import nn

from ..datasets.domain_samples import CHECK
from ..datasets.labels import IGNORE, TRAIN_TO_CITYSCAPES
from ..io.files import InputError, atomic_path
from .calibration import KEYS, Calibration, Confidences, confidences_of
from .details import ImageScore, Maps, SegmentationDetails, is_augmented
from .domain_metric import DomainMetric
from .scores import Scores, confusion_matrix

_CITYSCAPES = CityscapesDataset.METAINFO['classes']


@dataclass
class _Counted:
    """What was counted of an image or of a domain."""

    counts: np.ndarray
    scores: list[ImageScore]
    confidences: Confidences | None = None
    by_image: list[tuple[str, np.ndarray]] = field(default_factory=list)
    images: int = 1

    def add(self, other: _Counted) -> None:
        self.counts += other.counts
        self.scores += other.scores
        self.by_image += other.by_image
        if self.confidences is not None:
            self.confidences += other.confidences
        self.images += other.images

    def calibration(self) -> Calibration | None:
        return None if self.confidences is None else Calibration.of(self.confidences)

    def per_image(self) -> dict[str, list]:
        paths, counts = zip(*sorted(self.by_image, key=itemgetter(0)), strict=True)
        hits, unions, labels = np.stack(counts, 2).tolist()
        return {'images': [*paths], 'intersection': hits, 'union': unions, 'label': labels}


@METRICS.register_module()
class DomainIoUMetric(DomainMetric):
    """mIoU, aAcc and mAcc per domain, and their means, in percent.

    They are called ``<domain>_mIoU`` ... and ``mean_mIoU`` .... A class that a domain neither has
    nor is predicted in is left out of its mean. Each process keeps a confusion matrix a domain.

    With ``calibration`` there are also, of all labelled pixels, ``ECE``, ``Brier``, ``AUROC``,
    ``AUPR`` and ``FPR95`` in percent and ``NLL`` in nats:
    :class:`~soma.evaluation.calibration.Calibration` says what they are. One that a domain has
    none of, such as AUROC without a wrong pixel, is NaN and left out of the mean.

    Args:
        ignore_index: Label of pixels that do not count; the dataset's if None.
        calibration: Whether to score confidence, which needs ``seg_logits`` in the samples; with
            ``output_dir`` it is written, too, as ``<image>_conf.png`` of 16 bits. What scores mean
            is known of the model in ``SomaRunner``; else they are taken for logits.
        per_image: Whether the report of each domain has ``per_image``, too: ``images``, sorted by
            path, and the pixels in ``intersection``, ``union`` and ``label`` of each class in each,
            ``(classes, images)``, for the mIoU of any choice of images.
        **kwargs: As for :class:`DomainMetric`: ``mean_over``, ``output_dir``, ``format_only``,
            ``prefix``. Predictions are ``<output_dir>/<domain>/<image>.png``, of 8 bits, or of 16
            for more than 256 classes. Where the dataset's classes are the 19 of Cityscapes, in
            that order, they hold Cityscapes ids, which test servers want; else the place of each
            pixel's class in the dataset's classes, whose names are in the file.
    """

    keys = ('mIoU', 'aAcc', 'mAcc')
    class_key = 'IoU'
    needs = 'DomainDataset and PackDomainInputs'

    def __init__(
        self,
        ignore_index: int | None = None,
        calibration: bool = False,
        per_image: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in dict(calibration=calibration, per_image=per_image).items():
            if not isinstance(value, bool):
                raise InputError(f'{name} must be True or False, got {value!r}')
        self.ignore_index = ignore_index
        self.calibration, self.per_image = calibration, per_image
        self.model: nn.Module = nn.Identity()
        if calibration:
            self.keys = (*self.keys, *KEYS)

    def use_model(self, model: nn.Module) -> None:
        """Take the model that is tested, which tells what its scores mean.

        Raises:
            InputError: If calibration is asked for, and its predictions have no scores.
        """
        self.model = model
        if self.calibration and is_augmented(model):
            raise InputError(
                'calibration=True needs the scores of the predictions, which test-time '
                'augmentation does not give: leave --tta or calibration out'
            )

    def _count(self, sample: dict) -> _Counted | None:
        prediction, confidence_path = to_numpy(sample['pred_sem_seg']), None
        if self.output_dir is not None:
            name = Path(sample['img_path']).with_suffix('.png').name
            path = self.output_dir / sample['domain'] / name
            self._claim(sample, str(path))
            write_classes(prediction, (self.dataset_meta or {}).get('classes', _CITYSCAPES), path)
            if self.calibration:
                confidence_path = path.with_name(f'{path.stem}_conf.png')
                self._claim(sample, str(confidence_path))
        ignore = self.ignore_index
        if ignore is None:
            ignore = (self.dataset_meta or {}).get('ignore_index', IGNORE)
        confidences = None
        if self.calibration:
            confidences = confidences_of(self.model, sample, ignore, path=confidence_path)
        if self.format_only:
            return None
        label, classes = to_numpy(sample['gt_sem_seg']), len(self.dataset_meta['classes'])
        try:
            counts = confusion_matrix(prediction, label, classes, ignore)
        except InputError as error:
            raise InputError(f'{sample.get("img_path")}: {error}; {CHECK}') from error
        counted = _Counted(counts, [], confidences)
        if self.per_image:
            hits, labels = counts.diagonal(), counts.sum(1)
            pixels = np.stack([hits, counts.sum(0) + labels - hits, labels])
            counted.by_image = [(sample['img_path'], pixels)]
        if self.recorder is None:
            return counted
        counted.scores = [
            self.recorder.add_maps(sample, Maps.of(label, prediction, ignore), counts)
        ]
        if not self.calibration:
            counted.confidences = self.recorder.confidences(sample, ignore)
        return counted

    def _keep(self, domain: str, counted: _Counted) -> None:
        _add(self._domains, domain, counted)

    def _score(self, results: list[dict[str, _Counted]]) -> dict[str, dict]:
        names = self.dataset_meta['classes']
        domains: dict[str, _Counted] = {}
        for part in results:
            for name, domain in part.items():
                _add(domains, name, domain)
        known = {name: domain.calibration() for name, domain in domains.items()}
        self.details = {
            name: SegmentationDetails(domain.counts, known[name], domain.scores)
            for name, domain in domains.items()
            if domain.scores
        }
        scores = {name: Scores.of(domain.counts) for name, domain in domains.items()}
        iou_keys = DomainIoUMetric.keys
        calibrated = KEYS if self.calibration else KEYS[:1]  # of all pixels, or for the page
        return {
            name: {
                **{key: getattr(score, key) for key in iou_keys},
                'images': domains[name].images,
                **{key: getattr(known[name], key) for key in calibrated if known[name]},
                'IoU': dict(zip(names, score.iou, strict=True)),
                'Acc': dict(zip(names, score.acc, strict=True)),
                'absent': [names[index] for index in np.flatnonzero(np.isnan(score.acc))],
                **({'per_image': domains[name].per_image()} if self.per_image else {}),
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
