"""What the scores on corrupted images come to: numbers, tables and a chart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from ..utils.tables import cell, save_bars


class CorruptionPlan(NamedTuple):
    """What is to be tested.

    Attributes:
        corruptions: Their names.
        severities: Out of 1 to 5.
        reference: The report of another run, which mCE is relative to; none by default.
    """

    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    reference: Mapping | None = None

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """Each corruption at each severity."""
        return [(name, severity) for name in self.corruptions for severity in self.severities]


def pair_key(name: str, severity: int) -> str:
    """What the report calls a corruption at a severity."""
    return f'{name}_{severity}' if severity else name


def summarise(report: Mapping, plan: CorruptionPlan) -> dict[str, dict[str, float | None]]:
    """Compute what the scores of a report come to, in percent.

    ``mPC`` is the mean over corruptions of the mean over severities, ``rPC`` its share of the
    score on clean images (arXiv 1907.07484). ``mCE`` is the mean over corruptions of ``CE``, the
    sum over severities of what lacks to 100, relative to that of the reference (arXiv 1903.12261;
    of mIoU in 1908.05005).

    Args:
        report: With ``scores``.
        plan: What of them counts.

    Returns:
        ``clean``, ``mPC``, ``rPC`` and, with a reference, ``mCE``, by domain and of ``mean``.
    """
    summary = {}
    for domain, clean in report['scores']['clean'].items():
        clean, corrupted = np.array(clean, float), _matrix(report, plan, domain)
        values = {'clean': clean, 'mPC': corrupted.mean()}
        with np.errstate(invalid='ignore', divide='ignore'):
            values['rPC'] = 100 * values['mPC'] / clean
        if plan.reference:
            values['mCE'] = _errors(report, plan, domain).mean()
        summary[domain] = {
            key: round(float(value), 2) if np.isfinite(value) else None
            for key, value in values.items()
        }
    return summary


def _matrix(report: Mapping, plan: CorruptionPlan, domain: str) -> np.ndarray:
    """Scores of a domain (corruptions, severities); NaN where there are none."""
    values = [report['scores'][pair_key(*pair)][domain] for pair in plan.pairs]
    return np.array(values, float).reshape(len(plan.corruptions), len(plan.severities))


def _errors(report: Mapping, plan: CorruptionPlan, domain: str) -> np.ndarray:
    """CE of each corruption, in percent (corruptions,)."""
    sources = report, plan.reference
    errors, others = ((100 - _matrix(source, plan, domain)).sum(1) for source in sources)
    with np.errstate(invalid='ignore', divide='ignore'):
        return 100 * errors / others


def tables(report: Mapping, plan: CorruptionPlan) -> list[Table]:
    """Draw up a table of corruptions and severities for each domain, then one of the summary."""
    result, domains = [], _shown(report)
    for domain in domains:
        table = Table(title=f'{domain}: {report["score"]} (%)', title_justify='left')
        table.add_column('corruption')
        columns = [*(f'severity {severity}' for severity in plan.severities), 'mean']
        for name in columns + ['CE'] * bool(plan.reference):
            table.add_column(name, justify='right')
        matrix = _matrix(report, plan, domain)
        errors = [_errors(report, plan, domain)] if plan.reference else []
        rows = np.array([*matrix.T, matrix.mean(1), *errors]).T
        for name, row in zip((*plan.corruptions, 'mean'), (*rows, rows.mean(0)), strict=True):
            table.add_row(name, *map(cell, row), end_section=name == plan.corruptions[-1])
        result.append(table)
    table = Table('domain')
    for key in report['summary']['mean']:
        table.add_column(key, justify='right')
    for domain in domains:
        table.add_row(domain, *map(cell, np.array([*report['summary'][domain].values()], float)))
    return [*result, table]


def draw(path: Path, report: Mapping, plan: CorruptionPlan) -> None:
    """Draw the mean over domains of each corruption at each severity, and that of clean images."""
    matrix, summary = _matrix(report, plan, 'mean'), report['summary']['mean']
    series = {f'severity {s}': matrix[:, i] for i, s in enumerate(plan.severities)}
    values = ', '.join(f'{key} {cell(np.array(value, float))}' for key, value in summary.items())
    title = f'mean {report["score"]} of {", ".join(report["mean_over"])}\n{values}'
    unit = f'{report["score"]} (%)'
    line = None if summary['clean'] is None else ('clean', summary['clean'])
    save_bars(path, series, plan.corruptions, unit, title, line=line)


def _shown(report: Mapping) -> list[str]:
    """The domains, and their mean if there are several."""
    domains = [*report['scores']['clean']]
    return domains if len(domains) > 2 else domains[:1]
