"""The base of metrics by domain."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from rich.table import Table
from torch import nn

from ..io.files import InputError, check_folder
from ..utils.tables import as_text, cell, table_of, unit_of
from .details import DetectionDetails, Recorder, SegmentationDetails
from .scores import mean


class SampleError(InputError, KeyError):
    """A sample that lacks what a metric needs."""


class DomainMetric(BaseMetric):
    """Scores of each domain, and their means, in percent.

    The domain of an image is ``domain`` in its meta information. A
    subclass counts an image, keeps that by domain, and computes the scores from all processes'.

    Each process keeps its newest image apart: samplers pad their shards at the end, so that the
    newest may be another's image over again. As for all of mmengine's metrics, processes must
    take images in turn (``DefaultSampler``).

    Args:
        mean_over: Domains whose scores are averaged; all if None.
        output_dir: Folder for the predictions; None writes none.
        format_only: Only write predictions, as of images without labels.
        prefix: As for mmengine's ``BaseMetric``.

    Attributes:
        keys: Names of a domain's scores, the mean over classes first.
        class_key: Name of the score of a class.
        sample_key: What a sample has to be counted by.
        needs: What gives samples their domain, for the message.
        report: All scores of the last evaluation, as plain data, with those of each class.
        recorder: What keeps single images, after :meth:`keep_details`.
        details: Of the last evaluation, by domain, what it kept.

    Raises:
        InputError: If ``mean_over`` is no list of different domains, ``format_only`` comes
            without ``output_dir``, or nothing can be written there.
    """

    keys: ClassVar[tuple[str, ...]]
    class_key: ClassVar[str]
    sample_key: ClassVar[str] = 'domain'
    needs: ClassVar[str]

    def __init__(
        self,
        mean_over: Sequence[str] | None = None,
        output_dir: str | None = None,
        format_only: bool = False,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        names = isinstance(mean_over, list | tuple) and set(map(str, mean_over))
        if mean_over is not None and (not names or len(names) < len(mean_over)):
            raise InputError(f'mean_over must be a list of different domains, got {mean_over!r}')
        self.mean_over = None if mean_over is None else list(mean_over)
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.format_only = format_only
        self.report: dict | None = None
        self.recorder: Recorder | None = None
        self.details: dict[str, SegmentationDetails | DetectionDetails] = {}
        self._reset()
        if format_only and output_dir is None:
            raise InputError('format_only needs output_dir (tools/test.py --out)')
        if self.output_dir is not None:  # by all processes: if one stopped, others would wait
            check_folder(self.output_dir)

    def _reset(self) -> None:
        self._domains: dict[str, Any] = {}
        self._newest: tuple[str, Any] | None = None
        self._seen = 0
        self._written: dict[str, str] = {}

    @abstractmethod
    def _count(self, sample: dict) -> Any:
        """What there is to keep of an image, or None."""

    @abstractmethod
    def _keep(self, domain: str, counted: Any) -> None:
        """Add it to ``self._domains[domain]``."""

    @abstractmethod
    def _score(self, results: list[dict[str, Any]]) -> dict[str, dict]:
        """Each domain's ``keys``, ``class_key`` by class, ``absent`` classes and more to report.

        ``results`` is the ``self._domains`` of each process. What cannot be scored is NaN.
        """

    def keep_details(self, model: nn.Module) -> None:
        """Keep, from now on, what a page of results shows beside the scores of this model."""
        self.recorder = Recorder(model)

    def _claim(self, sample: dict, place: str) -> None:
        """Make sure that no other image's prediction is written to a place."""
        if self._written.setdefault(place, sample['img_path']) != sample['img_path']:
            raise InputError(
                f'{self._written[place]} and {sample["img_path"]} would both be written to {place}'
            )

    def score_names(self, domains: Sequence[str]) -> list[str]:
        """Name the scores of data that has these domains, as :meth:`evaluate` will.

        Raises:
            InputError: If ``mean_over`` names another domain.
        """
        if missing := [name for name in self.mean_over or () if name not in domains]:
            raise InputError(f'mean_over names {missing}, the domains are {list(domains)}')
        names = [f'{name}_{key}' for name in (*domains, 'mean') for key in self.keys]
        return [f'{self.prefix}/{name}' if self.prefix else name for name in names]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count a batch of samples with predictions, labels and ``domain``.

        Raises:
            SampleError: If a sample does not name its domain.
            InputError: If a class is out of range, or two images of a domain have one name and
                predictions are written.
        """
        for sample in data_samples:
            if 'domain' not in sample:
                raise SampleError(f'{sample.get("img_path")} has no domain: use {self.needs}')
            self._keep_newest()
            counted = self._count(sample)
            if counted is not None:
                self._newest = sample['domain'], counted
            self._seen += 1

    def _keep_newest(self) -> None:
        if self._newest is not None:
            self._keep(*self._newest)
            self._newest = None

    def evaluate(self, size: int) -> dict[str, float]:
        """Compute the scores over all processes.

        Args:
            size: Number of images in the dataset.

        Returns:
            ``<domain>_<key>`` for each of ``keys`` and their means, ``mean_<key>``, in percent
            (``NLL`` in nats); the same in all processes.

        Raises:
            InputError: If ``mean_over`` names a domain that was not there.
        """
        if (self._seen - 1) * get_world_size() + get_rank() >= size:
            self._newest = None  # padding
            self._seen -= 1
        self._keep_newest()
        parts = all_gather_object((self._domains, self._seen))
        self._reset()
        seen = sum(count for _, count in parts)
        if seen != size:
            print_log(
                f'the scores are of {seen} images, and the dataset has {size}: an image was '
                'counted twice or left out',
                logger='current',
                level=logging.WARNING,
            )
        metrics = self.compute_metrics([part for part, _ in parts])
        return {f'{self.prefix}/{k}' if self.prefix else k: v for k, v in metrics.items()}

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Compute the scores, log a table of those of each class in each domain.

        Args:
            results: What each process has counted.

        Returns:
            As :meth:`evaluate`; nothing with ``format_only``.

        Raises:
            InputError: As :meth:`evaluate`.
        """
        if self.format_only:
            return {}
        domains = self._score(results)
        averaged = list(domains) if self.mean_over is None else self.mean_over
        chosen = [name for name in averaged if name in domains]
        means = {key: mean(domains[name][key] for name in chosen) for key in self.keys}
        metrics = {f'{name}_{key}': domains[name][key] for name in domains for key in self.keys}
        metrics |= {f'mean_{key}': value for key, value in means.items()}
        self.report = plain(
            dict(score=self.class_key, domains=domains, mean_over=chosen, mean=means)
        )
        lines = [
            f'{name} has no {", ".join(domain["absent"])}'
            for name, domain in domains.items()
            if domain['absent']
        ]
        table = as_text(_table(self.report))
        print_log('\n'.join([unit_of(self.report), table, *lines]), logger='current')
        self.score_names([*domains])  # refuses other domains, when the table is in the log
        return {k: round(v, 4 if k.endswith('_NLL') else 2) for k, v in metrics.items()}


def _table(report: Mapping) -> Table:
    columns, rows, totals = table_of(report)
    table = Table(columns[0])
    for name in columns[1:]:
        table.add_column(name, justify='right')
    for part in (rows, totals):
        for name, *values in part:
            table.add_row(name, *map(cell, values))
        table.add_section()
    return table


def plain(value: Any) -> Any:
    """Make a value fit for JSON, which knows no NaN and no numbers of NumPy."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, float):
        return None if np.isnan(value) else float(value)
    return value
