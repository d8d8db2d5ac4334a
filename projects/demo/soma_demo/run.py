"""Runs a demo: its steps, the table, the panels."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from soma.io.files import write_json
from soma.utils.config import REPOSITORY
from soma.utils.jobs import Job, Usage, run_jobs

from .demo import TEST, Demo
from .panel import write_panels


def run_demo(demo: Demo, work_dir: Path) -> dict[str, dict[str, float]]:
    """Run all steps, print the table after each test, draw.

    Into the work dir go ``summary.json``, ``panel.png`` and, of some, the small ``readme.png``.

    Args:
        demo: What to run.
        work_dir: Folder of logs, checkpoints and results.

    Returns:
        Score in percent by method and domain, and their mean.

    Raises:
        RuntimeError: If a step fails; the message names the step and its log.
    """
    start, work_dir = time.monotonic(), work_dir.resolve()  # scripts run in the repository
    summary = {}

    def finish(job: Job, usage: Usage) -> str | Table:
        if not job.name.startswith(TEST):
            return f'{usage.seconds:.0f} s'
        method = job.name.removeprefix(TEST)
        summary[method] = read_metrics(work_dir / method / 'test')
        return summary_table(summary, demo.title)

    durations = {kind: [seconds] for kind, seconds in demo.seconds.items()}
    # A training uses all cores: side by side they take longer.
    for jobs, workers in ((demo.preparation(work_dir), 2), (demo.training(work_dir), 1)):
        if failed := jobs and run_jobs(jobs, workers, finish, durations, cwd=REPOSITORY):
            name, reason = next(iter(failed.items()))
            raise RuntimeError(f'{name}: {reason}')
    write_json(summary, work_dir / 'summary.json')
    models = {m: (file, demo.checkpoint(work_dir, m)) for m, file in demo.configs.items()}
    write_panels(models, demo.panel, demo.readme, work_dir)
    minutes = (time.monotonic() - start) / 60
    Console().print(f'{minutes:.1f} minutes; {work_dir}/summary.json, {work_dir}/panel.png')
    return summary


def read_metrics(folder: Path) -> dict[str, float]:
    """Read the score by domain, and ``mean``, from the newest test in a work dir."""
    newest = max(folder.glob('*/domains_test.json'), key=os.path.getmtime)
    report = json.loads(newest.read_text())
    scores = {**report['domains'], 'mean': report['mean']}
    return {name: round(score[f'm{report["score"]}'], 2) for name, score in scores.items()}


def summary_table(summary: Mapping[str, Mapping[str, float]], title: str) -> Table:
    """Make a table: a row a method, a column a domain; the best of each column is bold."""
    domains = list(next(iter(summary.values())))
    table = Table(title=title)
    table.add_column('method')
    for domain in domains:
        table.add_column(domain, justify='right')
    best = {domain: max(row[domain] for row in summary.values()) for domain in domains}
    for method, row in summary.items():
        cells = [f'{row[d]:.2f}' if row[d] < best[d] else f'[bold]{row[d]:.2f}' for d in domains]
        table.add_row(method, *cells)
    return table
