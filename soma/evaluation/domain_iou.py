"""mIoU of each domain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmengine.registry import METRICS
from PIL import Image
from rich.console import Console
from rich.table import Table

from ..datasets.labels import TRAIN_TO_CITYSCAPES
from ..files import atomic_path


def confusion_matrix(
    prediction: np.ndarray, label: np.ndarray, classes: int, ignore_index: int = 255
) -> np.ndarray:
    """Count the pixels of each pair of label and prediction.

    Args:
        prediction: Class of each pixel, any shape.
        label: True class of each pixel, the same shape.
        classes: Number of classes.
        ignore_index: Label of pixels that do not count.

    Returns:
        Shape ``(classes, classes)``, int64; row: label, column: prediction.

    Raises:
        ValueError: If the shapes differ or a class is out of range.
    """
    if prediction.shape != label.shape:
        raise ValueError(f'prediction {prediction.shape} and label {label.shape} differ in shape')
    counted = label != ignore_index
    label, prediction = label[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, values in (('label', label), ('prediction', prediction)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(
                f'{name} holds {values.min()} to {values.max()}, outside of the {classes} classes'
            )
    pairs = np.bincount(label * classes + prediction, minlength=classes**2)
    return pairs.reshape(classes, classes)


@METRICS.register_module()
class DomainIoUMetric(BaseMetric):
    """mIoU per domain, and their mean: ``<domain>_mIoU`` and ``mean_mIoU``, in percent.

    The domain of a picture is what its dataset says (``domain`` in the meta information). A class
    that a domain neither has nor is predicted in is left out of its mean.

    Args:
        ignore_index: Label of pixels that do not count.
        output_dir: Folder for the predictions, ``<output_dir>/<domain>/<picture>.png`` with
            Cityscapes ids; None writes none.
        collect_device: As for mmengine's ``BaseMetric``.
        prefix: As for mmengine's ``BaseMetric``.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        output_dir: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index = ignore_index
        self.output_dir = None if output_dir is None else Path(output_dir)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count a batch.

        Args:
            data_batch: Not used.
            data_samples: Samples with ``pred_sem_seg``, ``gt_sem_seg`` and ``domain``.

        Raises:
            KeyError: If a sample does not name its domain.
        """
        classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            if 'domain' not in sample:
                raise KeyError(
                    f'{sample.get("img_path")} has no domain: use DomainDataset and name domain '
                    'in the meta_keys of PackSegInputs'
                )
            prediction, label = (
                sample[key]['data'].squeeze(0).cpu().numpy()
                for key in ('pred_sem_seg', 'gt_sem_seg')
            )
            counts = confusion_matrix(prediction, label, classes, self.ignore_index)
            self.results.append((sample['domain'], counts))
            if self.output_dir is not None:
                name = Path(sample['img_path']).with_suffix('.png').name
                with atomic_path(self.output_dir / sample['domain'] / name) as temporary:
                    Image.fromarray(TRAIN_TO_CITYSCAPES[prediction]).save(temporary)

    def compute_metrics(self, results: list[tuple[str, np.ndarray]]) -> dict[str, float]:
        """Compute the scores, log a table of the IoU of each class in each domain.

        Args:
            results: Domain and confusion matrix of each picture.

        Returns:
            ``<domain>_mIoU``, ``<domain>_aAcc``, ``<domain>_mAcc`` and ``mean_mIoU``, in percent.
        """
        domains: dict[str, np.ndarray] = {}
        for domain, counts in results:
            domains[domain] = domains.get(domain, 0) + counts
        metrics, ious = {}, {}
        for domain, counts in domains.items():
            hits, labels = counts.diagonal(), counts.sum(1)
            with np.errstate(invalid='ignore'):
                ious[domain] = 100 * hits / (labels + counts.sum(0) - hits)
                accuracy = 100 * hits / labels
            metrics[f'{domain}_mIoU'] = float(np.nanmean(ious[domain]))
            metrics[f'{domain}_aAcc'] = float(100 * hits.sum() / labels.sum())
            metrics[f'{domain}_mAcc'] = float(np.nanmean(accuracy))
        metrics['mean_mIoU'] = float(np.mean([metrics[f'{d}_mIoU'] for d in domains]))
        print_log('IoU in percent\n' + self._table(ious), logger='current')
        return {name: round(value, 2) for name, value in metrics.items()}

    def _table(self, ious: dict[str, np.ndarray]) -> str:
        """A row a class, a column a domain."""
        table = Table()
        table.add_column('class')
        for domain in ious:
            table.add_column(domain, justify='right')
        for index, name in enumerate(self.dataset_meta['classes']):
            values = [iou[index] for iou in ious.values()]
            table.add_row(name, *('-' if np.isnan(v) else f'{v:.2f}' for v in values))
        table.add_section()
        table.add_row('mIoU', *(f'{np.nanmean(iou):.2f}' for iou in ious.values()))
        console = Console(width=24 + 12 * len(ious), color_system=None)
        with console.capture() as capture:
            console.print(table)
        return capture.get().rstrip()
