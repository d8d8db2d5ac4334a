"""mAP of each domain."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.logging import print_log
from mmengine.registry import METRICS

from ..io.files import InputError
from .domain_metric import DomainMetric, SampleError
from .predictions import Boxes, write_boxes


class _Image(NamedTuple):
    """What is kept of an image.

    Attributes:
        index: Its place in the dataset, by which the processes' images are put in order.
        matches: Label, whether it is a true positive, whether a false one, and score of each
            detection ``(n, 4)``.
        counts: Number of boxes to find of each class.
        detections: The detections, where they are written.
    """

    index: int
    matches: np.ndarray | None
    counts: np.ndarray | None
    detections: Boxes | None


@METRICS.register_module()
class DomainVOCMetric(DomainMetric):
    """mAP of Pascal VOC per domain, and their mean, in percent.

    They are called ``<domain>_mAP`` and ``mean_mAP``, and are those of mmdet's ``VOCMetric`` on the
    domain: boxes are a pixel wider and higher than their corners say, ignored (difficult) boxes
    neither count nor harm, a class that a domain has no box of is left out of its mean, and the
    mAP of a domain without any box is 0.

    Detections are matched with boxes as they come, so that the processes share this work. Each
    keeps 16 bytes a detection, and 28 more where predictions are written.

    Args:
        iou_thr: Overlap from which a detection finds a box.
        eval_mode: ``'11points'`` (VOC 2007): precision at recalls of 0, 0.1 ... 1, averaged.
            ``'area'``: area under the curve.
        **kwargs: As for :class:`DomainMetric`: ``mean_over``, ``output_dir``, ``format_only``,
            ``prefix``. Predictions are ``<output_dir>/<domain>.json``, see :func:`write_boxes`.

    Raises:
        InputError: If ``iou_thr`` is not in (0, 1] or ``eval_mode`` is none of the two.
    """

    keys = ('mAP',)
    class_key = 'AP'
    needs = 'DomainVOCDataset or DomainCocoDataset, and PackDomainDetInputs'

    def __init__(self, iou_thr: float = 0.5, eval_mode: str = '11points', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.iou_thr = iou_thr
        self.eval_mode = eval_mode
        if not isinstance(iou_thr, int | float) or not 0 < iou_thr <= 1:
            raise InputError(f'iou_thr must be above 0 and at most 1, got {iou_thr!r}')
        if eval_mode not in ('11points', 'area'):
            raise InputError(f"eval_mode must be '11points' or 'area', got {eval_mode!r}")

    def _count(self, sample: dict) -> _Image:
        scores = sample['pred_instances']['scores'].float().cpu().numpy()
        labels, boxes = self._boxes(sample, 'pred_instances')
        boxes = np.hstack([boxes, scores[:, None]])
        detections = matches = counts = None
        if self.output_dir is not None:
            name, categories = Path(sample['img_path']).name, sample.get('category_ids')
            identity = Path(name).stem if categories is None else sample['img_id']
            self._claim(sample, f'{self.output_dir / sample["domain"]}.json as {identity}')
            detections = Boxes(name, labels, boxes, identity, categories)
        if not self.format_only:
            gt_labels, gt_boxes = self._boxes(sample, 'gt_instances')
            matches = self._match(sample, labels, boxes, gt_labels, gt_boxes)
            counts = np.bincount(gt_labels, minlength=len(self.dataset_meta['classes']))
        return _Image(self._seen * get_world_size() + get_rank(), matches, counts, detections)

    def _match(
        self,
        sample: dict,
        labels: np.ndarray,
        boxes: np.ndarray,
        gt_labels: np.ndarray,
        gt_boxes: np.ndarray,
    ) -> np.ndarray:
        # Here, since it takes its time and warns of packages that are not needed.
        from mmdet.evaluation.functional.mean_ap import tpfp_default

        ignored_labels, ignored_boxes = self._boxes(sample, 'ignored_instances')
        matches = np.empty((len(labels), 4), np.float32)
        matches[:, 0], matches[:, 3] = labels, boxes[:, 4]
        for label in np.unique(labels):
            chosen = labels == label
            true, false = tpfp_default(
                boxes[chosen],
                gt_boxes[gt_labels == label],
                ignored_boxes[ignored_labels == label],
                self.iou_thr,
                use_legacy_coordinate=True,
            )
            matches[chosen, 1], matches[chosen, 2] = true[0], false[0]
        return matches

    def _boxes(self, sample: dict, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Labels ``(n,)`` and boxes ``(n, 4)`` of a sample, as corners in pixels."""
        instances: Mapping = sample.get(key, {})
        if 'bboxes' not in instances:
            if key == 'ignored_instances':
                return np.empty(0, int), np.empty((0, 4), np.float32)
            raise SampleError(
                f'{sample.get("img_path")} has no boxes in {key}: the test pipeline needs '
                'LoadAnnotations(with_bbox=True), or the metric format_only'
            )
        labels = instances['labels'].cpu().numpy()
        names = self.dataset_meta['classes']
        if labels.size and not 0 <= labels.min() <= labels.max() < len(names):
            raise InputError(
                f'{key} of {sample.get("img_path")} hold classes {labels.min()} to '
                f'{labels.max()}, outside of the {len(names)} classes'
            )
        boxes = getattr(instances['bboxes'], 'tensor', instances['bboxes'])  # of mmdet's BaseBoxes
        return labels, boxes.float().cpu().numpy().reshape(-1, 4)

    def _keep(self, domain: str, counted: _Image) -> None:
        self._domains.setdefault(domain, []).append(counted)

    def compute_metrics(self, results: list[dict[str, list[_Image]]]) -> dict[str, float]:
        """Write the predictions, then compute the scores as the base class does."""
        if self.output_dir is not None and is_main_process():
            for name, images in _in_order(results).items():
                boxes = [image.detections for image in images]
                write_boxes(boxes, self.dataset_meta['classes'], self.output_dir / f'{name}.json')
        return super().compute_metrics(results)

    def _score(self, results: list[dict[str, list[_Image]]]) -> dict[str, dict]:
        return {name: self._score_of(name, part) for name, part in _in_order(results).items()}

    def _score_of(self, domain: str, images: list[_Image]) -> dict:
        """The entry of a domain in the report."""
        from mmdet.evaluation.functional import eval_map

        names = self.dataset_meta['classes']
        matches = np.concatenate([image.matches for image in images])
        counts = np.sum([image.counts for image in images], axis=0)
        # All is given as one image whose detections are matched already: more would make a pool
        # of processes.
        detections = [matches[matches[:, 0] == label, 1:] for label in range(len(names))]
        labels = np.repeat(np.arange(len(names)), counts)
        boxes = np.empty((len(labels), 4), np.float32)
        mean_ap, classes = eval_map(
            [detections],
            [dict(labels=labels, bboxes=boxes)],
            tpfp_fn=_matched,
            eval_mode=self.eval_mode,
            logger='silent',
        )
        if not counts.any():
            text = f'{domain} has no boxes to find: its mAP counts as 0'
            print_log(text, logger='current', level=logging.WARNING)
        recalls = [entry['recall'][-1] if entry['num_dets'] else 0 for entry in classes]
        return {
            'mAP': 100 * mean_ap,
            'images': len(images),
            'AP': _percent(names, [entry['ap'] for entry in classes], counts),
            'recall': _percent(names, recalls, counts),
            'boxes': dict(zip(names, counts.tolist(), strict=True)),
            'detections': {n: entry['num_dets'] for n, entry in zip(names, classes, strict=True)},
            'absent': [names[index] for index in np.flatnonzero(counts == 0)],
        }


def _matched(detections: np.ndarray, *_: object, **__: object) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives, each ``(1, n)``, of detections that are matched already."""
    return detections[None, :, 0], detections[None, :, 1]


def _in_order(results: list[dict[str, list[_Image]]]) -> dict[str, list[_Image]]:
    """All processes' images by domain, in the dataset's order, on which equal scores depend."""
    domains: dict[str, list[_Image]] = {}
    for part in results:
        for name, images in part.items():
            domains.setdefault(name, []).extend(images)
    return {n: sorted(images, key=lambda image: image.index) for n, images in domains.items()}


def _percent(names: Sequence[str], values: Sequence[float], counts: np.ndarray) -> dict[str, float]:
    """Scores by class; NaN for one that is not there."""
    return {
        name: 100 * float(value) if count else float('nan')
        for name, value, count in zip(names, values, counts, strict=True)
    }
