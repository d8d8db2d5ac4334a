"""Keeps the scores of each domain in files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from mmengine.dist import master_only
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..io.files import write_json
from ..models.build import plain_model
from ..utils.config import each_dataset
from ..utils.tables import save_bars, table_of
from .domain_metric import DomainMetric
from .results import Results, save_results, save_table


@HOOKS.register_module()
class DomainReportHook(Hook):
    """Write the report of a metric by domain, as JSON and as a chart, beside the log.

    The files are ``domains_iter_<iteration>`` of a validation and ``domains_test`` of a test, with
    the metric's prefix at the end, if it has one. A test also gets a table as CSV, plots, and
    ``report.html`` with all of it and with the worst images.

    Args:
        page: Whether a test gets plots and the page, for which a few kilobytes of each image are
            kept until its end.
    """

    def __init__(self, page: bool = True) -> None:
        self.page = page

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Remove what a killed run has left half written; its validation comes again."""
        for file in Path(runner.work_dir).glob('*/.domains_iter_*'):
            if re.fullmatch(r'\.domains_iter_\d+(_\w+)?\.\d+\.(json|png)', file.name):
                file.unlink()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Write the report of a validation."""
        self._write(runner, runner.val_evaluator, f'domains_iter_{runner.iter}')

    def before_test_epoch(self, runner: Runner) -> None:
        """Have the metrics keep what the page shows."""
        for metric in runner.test_evaluator.metrics if self.page else ():
            if isinstance(metric, DomainMetric):
                metric.keep_details(runner.model)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Write the report of a test, and the page."""
        self._write(runner, runner.test_evaluator, 'domains_test', _facts(runner))
        for metric in runner.test_evaluator.metrics:
            if getattr(metric, 'details', None):
                results = Results.of(metric)  # by all processes
                self._write_page(runner, results, metric.prefix)

    @master_only
    def _write(
        self, runner: Runner, evaluator: Evaluator, name: str, facts: dict[str, str] | None = None
    ) -> None:
        for metric in evaluator.metrics:
            if report := getattr(metric, 'report', None):
                path = _path(runner, name, metric.prefix)
                split = facts['split'] if facts else 'validation'
                tested = {'tested': facts} if facts else {}
                write_json({**report, 'split': split, **tested}, path.with_suffix('.json'))
                save_chart(path.with_suffix('.png'), report)
                if facts:
                    save_table(path.with_suffix('.csv'), report)

    @master_only
    def _write_page(self, runner: Runner, results: Results, prefix: str | None) -> None:
        page = _path(runner, 'report', prefix).with_suffix('.html')
        stem = _path(runner, 'domains_test', prefix)
        facts = {name: _without_folders(text) for name, text in _facts(runner).items()}
        save_results(stem, page, results, [*facts.items()])
        runner.logger.info(f'all results on a page: {page}')


def _path(runner: Runner, name: str, prefix: str | None) -> Path:
    return Path(runner.log_dir, '_'.join(filter(None, (name, prefix))))


def _without_folders(text: str) -> str:
    """A list as text in which whole paths, which may be private, are only names."""
    return ', '.join(Path(p).name if os.path.isabs(p) else p for p in text.split(', '))


def _facts(runner: Runner) -> dict[str, str]:
    """What a test was of, the config first."""
    model = plain_model(runner.model)
    parts = [model, *(getattr(model, name, None) for name in ('backbone', 'decode_head'))]
    names = [type(part).__name__ for part in parts if part is not None]
    return {
        'config': str(runner.cfg.filename or runner.experiment_name),
        **runner.message_hub.runtime_info.get('tested', {}),  # as the script has told
        'model': ', '.join(names),
        'split': _tested_split(runner.cfg),
        'date': f'{datetime.now():%Y-%m-%d %H:%M}',
    }


def _tested_split(config: Mapping) -> str:
    """``'validation'`` if a config tests on the images that it validates on, else ``'test'``."""
    splits = []
    for name in ('val_dataloader', 'test_dataloader'):
        parts = each_dataset((config.get(name) or {}).get('dataset'), '')
        splits.append([{k: v for k, v in part.items() if k != 'pipeline'} for _, part in parts])
    return 'validation' if splits[0] == splits[1] else 'test'


def save_chart(path: Path, report: dict) -> None:
    """Draw the score of each class, and their mean, in each domain.

    Args:
        path: The PNG file.
        report: As ``DomainIoUMetric`` and ``DomainVOCMetric`` make it: ``score`` names the score.
    """
    _, rows, (average, *_) = table_of(report)
    ticks, *values = zip(*rows, average, strict=True)
    bars = dict(zip(report['domains'], values, strict=False))  # without their mean
    title = f'{path.stem}: {average[0]} {average[-1]:.2f}, mean of {", ".join(report["mean_over"])}'
    save_bars(path, bars, ticks, f'{report["score"]} (%)', title)
