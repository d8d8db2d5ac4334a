"""Runs a study: what has no result yet, then the report."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from functools import partial

from ..io.files import atomic_path, write_json
from ..utils.config import REPOSITORY
from .jobs import Job, Usage, run_jobs
from .measure import measure_drift, read_scores, shared_bytes, trained_parameters, training_seconds
from .plan import ENVIRONMENT, Run, Study
from .report import write_report


def run_study(study: Study, jobs: int) -> dict[str, str]:
    """Make the data, run what has no result yet, write the report.

    Args:
        study: What to run.
        jobs: How many runs at a time; the scores do not depend on it.

    Returns:
        Why runs failed, by their names.

    Raises:
        FileNotFoundError: If a method has no config.
        ValueError: If ``jobs`` is less than 1.
    """
    if jobs < 1:
        raise ValueError(f'jobs must be at least 1, got {jobs}')
    results = {run: _prepare(study, run) for run in study.runs}
    todo = [run for run, result in results.items() if result is None]
    print(f'{len(results) - len(todo)} of {len(results)} runs are done already', flush=True)
    durations = defaultdict(list)
    for run, result in results.items():
        if result:
            durations[run.method].append(result['cost']['seconds'])
    preparation = study.preparation(jobs) if todo else []
    ready = [job.name for job in preparation]
    runs = [
        study.job(run, [*ready, *(str(part) for part in run.parts if part in todo)]) for run in todo
    ]
    failed = run_jobs(
        [*preparation, *runs],
        jobs,
        partial(_finish, study, {str(run): run for run in todo}),
        durations,
        cwd=REPOSITORY,
        env={**os.environ, **ENVIRONMENT},
    )
    write_report(study, read_results(study), study.work_dir)
    return failed


def read_results(study: Study) -> list[dict]:
    """Read the results that there are of the runs that are reported."""
    files = (study.result_file(run) for run in study.reported)
    return [json.loads(file.read_text()) for file in files if file.exists()]


def _prepare(study: Study, run: Run) -> dict | None:
    """Write a run's config; its result if there is one with these settings, else a clean folder."""
    folder, result = study.folder(run), study.result_file(run)
    with atomic_path(study.config_file(run)) as temporary:
        temporary.write_text(study.config_text(run))
    if result.exists():
        found = json.loads(result.read_text())
        if found['settings'] == study.settings(run):
            return found
        result.unlink()
    shutil.rmtree(folder / 'work', ignore_errors=True)
    return None


def _finish(study: Study, runs: dict[str, Run], job: Job, usage: Usage) -> str:
    """Measure a run and write its result, which says that it is done."""
    if job.name not in runs:
        return f'{usage.seconds:.0f} s'
    run = runs[job.name]
    checkpoint, pretrained = study.checkpoint(run), REPOSITORY / study.pretrained
    scores = read_scores(study.folder(run) / 'work', run.source)
    parts = [json.loads(study.result_file(part).read_text()) for part in run.parts]
    costs = [part['cost'] for part in parts]
    result = {
        'method': run.method,
        'source': run.source,
        'seed': run.seed,
        'settings': study.settings(run),
        'mIoU': scores,
        'trained': trained_parameters(study.config_file(run)),
        'shared_bytes': shared_bytes(checkpoint, pretrained),
        'drift': measure_drift(checkpoint, pretrained),
        'cost': {
            'seconds': usage.seconds,
            'train_seconds': sum(cost['train_seconds'] for cost in costs)
            if parts
            else training_seconds(checkpoint),
            'peak_mb': max([usage.peak_mb, *(cost['peak_mb'] for cost in costs)]),
        },
    }
    write_json(result, study.result_file(run))
    return f'{scores["unseen"]:.2f} on unseen domains, {usage.seconds:.0f} s'
