"""Keeps the scores of each domain in files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from mmengine.dist import master_only
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..io.files import write_json
from ..utils.tables import save_bars


@HOOKS.register_module()
class DomainReportHook(Hook):
    """Write the report of a metric by domain, as JSON and as a chart, beside the log.

    The files are ``domains_iter_<iteration>`` of a validation and ``domains_test`` of a test, with
    the metric's prefix at the end, if it has one.
    """

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Remove what a killed run has left half written; its validation comes again."""
        for file in Path(runner.work_dir).glob('*/.domains_iter_*'):
            if re.fullmatch(r'\.domains_iter_\d+(_\w+)?\.\d+\.(json|png)', file.name):
                file.unlink()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Write the report of a validation."""
        self._write(runner, runner.val_evaluator, f'domains_iter_{runner.iter}')

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Write the report of a test."""
        self._write(runner, runner.test_evaluator, 'domains_test')

    @master_only
    def _write(self, runner: Runner, evaluator: Evaluator, name: str) -> None:
        for metric in evaluator.metrics:
            report = getattr(metric, 'report', None)
            if report:
                path = Path(runner.log_dir, '_'.join(filter(None, (name, metric.prefix))))
                write_json(report, path.with_suffix('.json'))
                save_chart(path.with_suffix('.png'), report)


def save_chart(path: Path, report: dict) -> None:
    """Draw the score of each class, and their mean, in each domain.

    Args:
        path: The PNG file.
        report: As ``DomainIoUMetric`` and ``DomainVOCMetric`` make it: ``score`` names the score.
    """
    score, average = report['score'], f'm{report["score"]}'
    bars = {
        name: np.array([*domain[score].values(), domain[average]], float)
        for name, domain in report['domains'].items()
    }
    ticks = [*next(iter(report['domains'].values()))[score], average]
    value = np.array(report['mean'][average], float)  # NaN for None
    title = f'{path.stem}: {average} {value:.2f}, mean of {", ".join(report["mean_over"])}'
    save_bars(path, bars, ticks, f'{score} (%)', title)
