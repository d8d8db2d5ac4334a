"""mIoU of each domain."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmengine.registry import METRICS
from PIL import Image
from rich.table import Table

from ..datasets.labels import TRAIN_TO_CITYSCAPES
from ..files import atomic_path
from ..reporting import as_text
from .scores import Scores, confusion_matrix, mean

KEYS = ('mIoU', 'aAcc', 'mAcc')


class _Domain:
    """What was counted of a domain: a confusion matrix and the number of pictures."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)
        self.pictures = 0

    def add(self, counts: np.ndarray, pictures: int = 1) -> None:
        self.counts += counts
        self.pictures += pictures


@METRICS.register_module()
class DomainIoUMetric(BaseMetric):
    """mIoU, aAcc and mAcc per domain, and their means, in percent.

    They are called ``<domain>_mIoU`` ... and ``mean_mIoU`` .... The domain of a picture is what its
    dataset says (``domain`` in the meta information). A class that a domain neither has nor is
    predicted in is left out of its mean.

    Each process keeps a confusion matrix a domain, and one more for its newest picture: samplers
    pad their shards at the end, so that the newest may be another's picture over again. As for all
    of mmengine's metrics, processes must take pictures in turn (``DefaultSampler``).

    Args:
        ignore_index: Label of pixels that do not count.
        mean_over: Domains whose scores are averaged; all if None.
        output_dir: Folder for the predictions, ``<output_dir>/<domain>/<picture>.png`` with
            Cityscapes ids; None writes none.
        format_only: Only write predictions, as of pictures without labels.
        prefix: As for mmengine's ``BaseMetric``.

    Attributes:
        report: All scores of the last evaluation, as plain data, with those of each class.

    Raises:
        ValueError: If ``mean_over`` is no list of different domains, or ``format_only`` comes
            without ``output_dir``.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        mean_over: Sequence[str] | None = None,
        output_dir: str | None = None,
        format_only: bool = False,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        self.ignore_index = ignore_index
        self.mean_over = None if mean_over is None else list(mean_over)
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.format_only = format_only
        self.report: dict | None = None
        self._reset()
        if isinstance(mean_over, str) or len(set(mean_over or ())) < len(mean_over or ()):
            raise ValueError(f'mean_over must be a list of different domains, got {mean_over!r}')
        if format_only and output_dir is None:
            raise ValueError('format_only needs output_dir (tools/test.py --out)')

    def _reset(self) -> None:
        self._domains: dict[str, _Domain] = {}
        self._newest: tuple[str, np.ndarray] | None = None
        self._seen = 0
        self._written: dict[Path, str] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count a batch.

        Args:
            data_batch: Not used.
            data_samples: Samples with ``pred_sem_seg``, ``gt_sem_seg`` and ``domain``.

        Raises:
            KeyError: If a sample does not name its domain.
            ValueError: If two pictures of a domain have one name and predictions are written.
        """
        for sample in data_samples:
            if 'domain' not in sample:
                raise KeyError(
                    f'{sample.get("img_path")} has no domain: use DomainDataset and '
                    'PackDomainInputs'
                )
            prediction = _numpy(sample['pred_sem_seg'])
            self._write(sample, prediction)
            if not self.format_only:
                self._count_newest()
                label, classes = _numpy(sample['gt_sem_seg']), len(self.dataset_meta['classes'])
                counts = confusion_matrix(prediction, label, classes, self.ignore_index)
                self._newest = sample['domain'], counts
            self._seen += 1

    def _write(self, sample: dict, prediction: np.ndarray) -> None:
        if self.output_dir is None:
            return
        name = Path(sample['img_path']).with_suffix('.png').name
        path = self.output_dir / sample['domain'] / name
        if self._written.setdefault(path, sample['img_path']) != sample['img_path']:
            raise ValueError(
                f'{self._written[path]} and {sample["img_path"]} would both be written to {path}'
            )
        with atomic_path(path) as temporary:
            Image.fromarray(TRAIN_TO_CITYSCAPES[prediction]).save(temporary)

    def _count_newest(self) -> None:
        if self._newest is not None:
            domain, counts = self._newest
            self._domains.setdefault(domain, _Domain(len(counts))).add(counts)
            self._newest = None

    def evaluate(self, size: int) -> dict[str, float]:
        """Compute the scores over all processes.

        Args:
            size: Number of pictures in the dataset.

        Returns:
            ``<domain>_mIoU``, ``<domain>_aAcc``, ``<domain>_mAcc`` and their means, ``mean_mIoU``
            ..., in percent; the same in all processes.

        Raises:
            ValueError: If ``mean_over`` names a domain that was not there.
        """
        if (self._seen - 1) * get_world_size() + get_rank() >= size:
            self._newest = None  # padding
            self._seen -= 1
        self._count_newest()
        parts = all_gather_object((self._domains, self._seen))
        self._reset()
        seen = sum(count for _, count in parts)
        if seen != size:
            print_log(
                f'the scores are of {seen} pictures, and the dataset has {size}: a picture was '
                'counted twice or left out',
                logger='current',
                level=logging.WARNING,
            )
        metrics = {} if self.format_only else self.compute_metrics([part for part, _ in parts])
        return {f'{self.prefix}/{k}' if self.prefix else k: v for k, v in metrics.items()}

    def compute_metrics(self, results: list[dict[str, _Domain]]) -> dict[str, float]:
        """Compute the scores, log a table of the IoU of each class in each domain.

        Args:
            results: What each process has counted.

        Returns:
            As :meth:`evaluate`.

        Raises:
            ValueError: As :meth:`evaluate`.
        """
        domains: dict[str, _Domain] = {}
        for part in results:
            for name, domain in part.items():
                total = domains.setdefault(name, _Domain(len(domain.counts)))
                total.add(domain.counts, domain.pictures)
        wanted = list(domains) if self.mean_over is None else self.mean_over
        chosen = [name for name in wanted if name in domains]
        scores = {name: Scores.of(domain.counts) for name, domain in domains.items()}
        metrics = {
            f'{name}_{key}': getattr(score, key) for name, score in scores.items() for key in KEYS
        }
        metrics |= {f'mean_{key}': _mean(scores, chosen, key) for key in KEYS}
        self.report = self._report(domains, scores, chosen)
        absent = {name: entry['absent'] for name, entry in self.report['domains'].items()}
        lines = [
            f'{name} has no {", ".join(classes)}' for name, classes in absent.items() if classes
        ]
        table = as_text(self._table(scores, metrics['mean_mIoU'], chosen))
        print_log('\n'.join(['IoU in percent', table, *lines]), logger='current')
        if missing := [name for name in wanted if name not in domains]:  # the table is in the log
            raise ValueError(f'mean_over names {missing}, the domains are {list(domains)}')
        return {name: round(value, 2) for name, value in metrics.items()}

    def _report(
        self, domains: Mapping[str, _Domain], scores: Mapping[str, Scores], chosen: list[str]
    ) -> dict:
        names = self.dataset_meta['classes']
        return {
            'domains': {
                name: {
                    **{key: _plain(getattr(score, key)) for key in KEYS},
                    'pictures': domains[name].pictures,
                    'IoU': dict(zip(names, map(_plain, score.iou), strict=True)),
                    'Acc': dict(zip(names, map(_plain, score.acc), strict=True)),
                    'absent': [names[index] for index in np.flatnonzero(np.isnan(score.acc))],
                }
                for name, score in scores.items()
            },
            'mean_over': chosen,
            'mean': {key: _plain(_mean(scores, chosen, key)) for key in KEYS},
        }

    def _table(self, scores: Mapping[str, Scores], mean_iou: float, chosen: list[str]) -> Table:
        """A row a class, a column a domain, and their mean."""
        table = Table()
        table.add_column('class')
        average = 'mean' if len(chosen) == len(scores) else f'mean of {len(chosen)}'
        for domain in (*scores, average):
            table.add_column(domain, justify='right')
        for index, name in enumerate(self.dataset_meta['classes']):
            values = [score.iou[index] for score in scores.values()]
            average = mean(scores[name].iou[index] for name in chosen)
            table.add_row(name, *map(_cell, (*values, average)))
        table.add_section()
        table.add_row('mIoU', *(_cell(score.mIoU) for score in scores.values()), _cell(mean_iou))
        return table


def _numpy(data: Mapping) -> np.ndarray:
    return data['data'].squeeze(0).cpu().numpy()


def _mean(scores: Mapping[str, Scores], domains: list[str], key: str) -> float:
    return mean(getattr(scores[name], key) for name in domains)


def _plain(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if np.isnan(value) else float(value)


def _cell(value: float) -> str:
    return '-' if np.isnan(value) else f'{value:.2f}'
