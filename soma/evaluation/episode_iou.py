"""mIoU of few-shot segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmengine.registry import METRICS
from rich.table import Table

from ..datasets.labels import IGNORE
from ..io.files import InputError, check_folder
from ..utils.tables import as_text, cell
from .domain_iou import to_numpy, write_classes
from .domain_metric import plain
from .scores import Scores, confusion_matrix, mean


@METRICS.register_module()
class EpisodeIoUMetric(BaseMetric):
    """mIoU and FB-IoU over episodes, in percent (arXiv 1909.13140, 2008.01449).

    The pixels of all episodes of a class are counted together. ``mIoU`` is the mean over the
    classes of the IoU of their foreground. ``FB-IoU`` is the mean of the IoU of foreground and
    background, over all episodes, whatever their class.

    Args:
        output_dir: Folder for the predictions, ``<episode>_<class>/<image>.png``; None writes none.
        prefix: As for mmengine's ``BaseMetric``.

    Attributes:
        sample_key: What a sample has to be counted by.
        needs: What gives samples their class, for messages.
        report: All scores of the last evaluation, as plain data, with those of each class.
    """

    sample_key = 'class_name'
    needs = 'EpisodeDataset'

    def __init__(self, output_dir: str | None = None, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.report: dict | None = None
        if self.output_dir is not None:
            check_folder(self.output_dir)

    def score_names(self, domains: Sequence[str]) -> list[str]:
        """Name the scores, whatever the domains of the episodes."""
        names = ('mIoU', 'FB-IoU')
        return [f'{self.prefix}/{name}' if self.prefix else name for name in names]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the queries of a batch of episodes.

        Raises:
            InputError: If a sample does not name its class.
        """
        for sample in data_samples:
            if self.sample_key not in sample:
                raise InputError(f'{sample.get("img_path")} is no query: use {self.needs}')
            prediction = to_numpy(sample['pred_sem_seg'])
            if self.output_dir is not None:
                name = Path(sample['img_path']).with_suffix('.png').name
                path = self.output_dir / sample['domain'] / name
                write_classes(prediction, self.dataset_meta['classes'], path)
            counts = confusion_matrix(prediction, to_numpy(sample['gt_sem_seg']), 2, IGNORE)
            self.results.append((sample['class_name'], counts))

    def compute_metrics(self, results: list[tuple[str, np.ndarray]]) -> dict[str, float]:
        """Compute the scores, log a table of those of each class.

        Args:
            results: Class and confusion matrix of each episode.

        Returns:
            ``mIoU`` and ``FB-IoU``.
        """
        names = self.dataset_meta['episode_classes']
        counts = {name: np.zeros((2, 2), np.int64) for name in names}
        episodes = dict.fromkeys(names, 0)
        for name, matrix in results:
            counts[name] += matrix
            episodes[name] += 1
        ious = {name: float(Scores.of(matrix).iou[1]) for name, matrix in counts.items()}
        scores = {'mIoU': mean(ious.values()), 'FB-IoU': Scores.of(sum(counts.values())).mIoU}
        table = Table('class')
        for title in ('episodes', 'IoU'):
            table.add_column(title, justify='right')
        for name, iou in ious.items():
            table.add_row(name, str(episodes[name]), cell(iou))
        table.add_section()
        for name, value in scores.items():
            table.add_row(name, str(len(results)), cell(value))
        print_log(f'IoU in percent\n{as_text(table)}', logger='current')
        split = {**scores, 'IoU': ious, 'images': len(results)}
        report = dict(score='IoU', domains={'episodes': split}, mean_over=['episodes'], mean=scores)
        self.report = plain(report)
        return {name: round(value, 2) for name, value in scores.items()}
