"""Runs what has no result yet of a comparison."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from functools import partial

from soma.io.checkpoint_files import pretrained_file
from soma.io.files import atomic_path, write_json
from soma.io.public import local_file
from soma.utils.config import REPOSITORY, load_config
from soma.utils.jobs import Job, Start, Usage, run_jobs, start_here

from .configs import domains
from .measure import (
    measure_drift,
    read_report,
    scores_of,
    shared_bytes,
    trainable_parameters,
    training_seconds,
)
from .plan import ENVIRONMENT, Comparison, Run


def run_comparison(comparison: Comparison, jobs: int, start: Start = start_here) -> dict[str, str]:
    """Run what has no result yet.

    Args:
        comparison: What to run.
        jobs: How many runs at a time; the scores do not depend on it.
        start: Starts one, on this machine or a cluster.

    Returns:
        Why runs failed, by their names.

    Raises:
        ValueError: If ``jobs`` is less than 1, or a config lacks what it is there for.
    """
    if jobs < 1:
        raise ValueError(f'jobs must be at least 1, got {jobs}')
    results = {run: _prepare(comparison, run) for run in comparison.runs}
    todo = [run for run, result in results.items() if result is None]
    print(f'{len(results) - len(todo)} of {len(results)} runs are done already', flush=True)
    durations = defaultdict(list)
    for run, result in results.items():
        if result:
            durations[run.method].append(result['cost']['seconds'])
    failed = run_jobs(
        [comparison.job(r, [str(p) for p in comparison.parts(r) if p in todo]) for r in todo],
        jobs,
        partial(_finish, comparison, {str(run): run for run in todo}),
        durations,
        start,
        cwd=REPOSITORY,
        env={**os.environ, **({} if comparison.gpu else ENVIRONMENT)},
    )
    return failed


def read_results(comparison: Comparison) -> list[dict]:
    """Read the results that there are of the runs that are reported."""
    files = (comparison.result_file(run) for run in comparison.reported)
    return [json.loads(file.read_text()) for file in files if file.exists()]


def _prepare(comparison: Comparison, run: Run) -> dict | None:
    """Write a run's config; its result if there is one with these settings."""
    result_file = comparison.result_file(run)
    with atomic_path(comparison.config_file(run)) as temporary:
        temporary.write_text(comparison.config_text(run))
    if result_file.exists():
        result = json.loads(result_file.read_text())
        if result['settings'] == comparison.hash_settings(run):
            return result
        result_file.unlink()
    return None


def _finish(comparison: Comparison, runs: dict[str, Run], job: Job, usage: Usage) -> str:
    """Measure a run and write its result, which says that it is done."""
    run = runs[job.name]
    config = load_config(comparison.config_file(run))
    checkpoint = comparison.checkpoint(run)
    pretrained = REPOSITORY / local_file(pretrained_file(config.model.backbone.init_cfg))
    report = read_report(comparison.folder(run) / 'work')
    scores = scores_of(report, domains(config, 'train'))
    part_files = [comparison.result_file(part) for part in comparison.parts(run)]
    costs = [json.loads(file.read_text())['cost'] for file in part_files]
    result = {
        'method': run.method,
        'source': run.setting,
        'seed': run.seed,
        'settings': comparison.hash_settings(run),
        'mIoU': scores,
        'report': report,
        'trained': trainable_parameters(config),
        'shared_bytes': shared_bytes(checkpoint, pretrained),
        'drift': measure_drift(checkpoint, pretrained),
        'cost': {
            'seconds': usage.seconds,
            'train_seconds': sum(cost['train_seconds'] for cost in costs)
            if costs
            else training_seconds(checkpoint),
            'peak_mb': max([usage.peak_mb, *(cost['peak_mb'] for cost in costs)]),
        },
    }
    write_json(result, comparison.result_file(run))
    return f'{scores["unseen"]:.2f} on unseen domains, {usage.seconds:.0f} s'
