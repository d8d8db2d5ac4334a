"""A test on corrupted images: each corruption at each severity, in each domain."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner

from ..adapters.pretrained import base_hash
from ..datasets.corrupt import CORRUPTIONS, GROUPS, Corrupt
from ..io.files import InputError, read_json, write_json
from ..models.build import plain_model
from ..utils.config import each_dataset
from ..utils.tables import as_text
from .corruption_report import CorruptionPlan, draw, pair_key, summarise, tables
from .domain_metric import DomainMetric
from .report_hook import DomainReportHook

REPORT = 'corruptions.json'
_CLEAN = ('clean', 0)
_WHAT = f'report of tools/test.py --corruptions ({REPORT})'
_KINDS = {'score': str, 'mean_over': list, 'scores': dict}


def make_plan(
    names: Sequence[str], severities: Sequence[int], reference: str | os.PathLike | None = None
) -> CorruptionPlan:
    """Check what a test on corrupted images is asked for, before the hours that it takes.

    Args:
        names: Corruptions, or groups of them such as ``all``.
        severities: Out of 1 to 5.
        reference: ``corruptions.json`` of the run that mCE is relative to.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If a name or severity is unknown, the package that corrupts is not installed,
            or the reference is of no use.
    """
    if unknown := [name for name in names if name not in (*GROUPS, *CORRUPTIONS)]:
        known = ', '.join((*GROUPS, *CORRUPTIONS))
        raise InputError(f'there is no corruption {unknown[0]!r}: choose from {known}')
    chosen = {part for name in names for part in GROUPS.get(name, (name,))}
    corruptions = tuple(name for name in CORRUPTIONS if name in chosen)
    plan = CorruptionPlan(corruptions, tuple(sorted(set(severities))))
    for pair in plan.pairs:
        Corrupt(*pair)
    if reference is None:
        return plan
    content = read_json(reference, _WHAT, _KINDS)
    keys = [pair_key(*pair) for pair in (_CLEAN, *plan.pairs)]
    if missing := [key for key in keys if key not in content['scores']]:
        raise InputError(
            f'{reference} lacks {", ".join(missing[:5])}: choose corruptions and severities that '
            'it has'
        )
    for key in keys:
        clean, values = (content['scores'][name] for name in ('clean', key))
        known = isinstance(values, dict) and values.keys() == clean.keys()
        if not known or not all(isinstance(v, int | float | None) for v in values.values()):
            raise InputError(f'{reference}: its {key} lacks the score of a domain of its clean')
    return plan._replace(reference=content)


def corrupt_data(dataloader: Mapping, name: str, severity: int) -> Mapping:
    """Make a data loader's config give corrupted images.

    Args:
        dataloader: The config.
        name: The corruption.
        severity: Its severity.

    Returns:
        A copy, with the corruption directly after the step that loads an image.

    Raises:
        InputError: If a dataset has no such step.
    """
    dataloader = copy.deepcopy(dataloader)
    for place, part in each_dataset(dataloader['dataset'], 'test_dataloader.dataset'):
        steps = list(part.get('pipeline', ()))
        kinds = [getattr(step['type'], '__name__', step['type']) for step in steps]
        loads = [index for index, kind in enumerate(kinds) if kind.startswith('LoadImage')]
        if not loads:
            raise InputError(f'{place}.pipeline has no step LoadImageFromFile to corrupt after')
        # The class, since some releases of mmdet have another Corrupt.
        steps.insert(loads[0] + 1, dict(type=Corrupt, name=name, severity=severity))
        part['pipeline'] = steps
    return dataloader


def run_corruptions(runner: Runner, plan: CorruptionPlan) -> dict:
    """Test a model on clean images, then on those of each corruption at each severity.

    Each is the ordinary test, on the same model. ``corruptions.json`` in the work dir is written
    after each; those that it holds are not run again.

    Args:
        runner: With the model's weights loaded.
        plan: What to test.

    Returns:
        The report, as in the file: ``score``, its name; ``mean_over``, the domains of means;
        ``scores`` in percent, by ``clean`` or ``<corruption>_<severity>`` and by domain;
        ``summary`` as of :func:`summarise`.

    Raises:
        InputError: If the file is of other weights or other data, nothing scores by domain, or
            the reference is of another score or of other domains.
    """
    path = Path(runner.work_dir, REPORT)
    report = {
        **_scores_to_come(runner, plan.reference),
        'weights': base_hash(plain_model(runner.model).state_dict(), exact=True),
        'data': _hash_of_data(runner.cfg),
        'scores': {},
    }
    if path.exists():
        before = read_json(path, _WHAT, _KINDS)
        for key, what in (('weights', 'weights'), ('data', 'test data or settings of the test')):
            if before.get(key) != report[key]:
                raise InputError(f'{path} is of other {what}: name another --work-dir or remove it')
        report = before
    for hook in runner.hooks:
        if isinstance(hook, DomainReportHook):
            hook.page = False  # whose images would be those of clean images
    tests = [pair for pair in (_CLEAN, *plan.pairs) if pair_key(*pair) not in report['scores']]
    start = time.monotonic()
    for index, pair in enumerate(tests):
        minutes = (time.monotonic() - start) / 60 / max(index, 1) * (len(tests) - index)
        left = f', about {minutes:.0f} min left' if index else ''
        runner.logger.info(f'test {index + 1} of {len(tests)}: {pair_key(*pair)}{left}')
        try:
            report['scores'][pair_key(*pair)] = _test(runner, *pair)
        except KeyboardInterrupt:
            runner.logger.warning(f'{path} has what is tested: the same command goes on')
            raise
        if is_main_process():
            write_json(report, path)
    report['summary'] = summarise(report, plan)
    runner.logger.info('\n'.join(map(as_text, tables(report, plan))))
    if is_main_process():
        write_json(report, path)
        draw(path.with_suffix('.png'), report, plan)
    return report


def _scores_to_come(runner: Runner, reference: Mapping | None) -> dict:
    """What each test will score, before the first: the name, and the domains of means.

    Raises:
        InputError: If nothing scores by domain, or a reference is of something else.
    """
    config = runner.cfg
    metric = _metric_by_domain(runner.build_evaluator(copy.deepcopy(config.test_evaluator)))
    dataset = runner.build_dataloader(copy.deepcopy(config.test_dataloader)).dataset
    samples = map(dataset.get_data_info, range(len(dataset)))
    domains = [*dict.fromkeys(sample['domain'] for sample in samples if 'domain' in sample)]
    result = {'score': metric.keys[0], 'mean_over': metric.mean_over or domains}
    if reference is None:
        return result
    for what, value, other in (
        ('score', result['score'], reference['score']),
        ('domains', sorted([*domains, 'mean']), sorted(reference['scores']['clean'])),
        ('mean_over', sorted(result['mean_over']), sorted(map(str, reference['mean_over']))),
    ):
        if value != other:
            raise InputError(f'--reference has {what} {other}, this test {value}')
    return result


def _metric_by_domain(evaluator: Evaluator) -> DomainMetric:
    for metric in evaluator.metrics:
        if isinstance(metric, DomainMetric):
            return metric
    raise InputError('--corruptions needs a metric by domain, such as DomainIoUMetric')


def _test(runner: Runner, name: str, severity: int) -> dict[str, float | None]:
    """One ordinary test: the score of each domain, and their mean."""
    config = runner.cfg
    evaluator = copy.deepcopy(config.test_evaluator)
    for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
        metric['prefix'] = '_'.join(filter(None, (metric.get('prefix'), pair_key(name, severity))))
    loader = config.test_dataloader
    runner._test_dataloader = loader if name == 'clean' else corrupt_data(loader, name, severity)
    runner._test_evaluator, runner._test_loop = evaluator, copy.deepcopy(config.test_cfg)
    for key in [key for key in runner.message_hub.log_scalars if key.startswith('test/')]:
        del runner.message_hub.log_scalars[key]  # else each log line repeats all tests before it
    runner.test()
    metric = _metric_by_domain(runner.test_evaluator)
    key, content = metric.keys[0], metric.report
    scores = {domain: values[key] for domain, values in content['domains'].items()}
    return {**scores, 'mean': content['mean'][key]}


def _hash_of_data(config: Config) -> str:
    """A hash of what the scores depend on beside the weights."""
    parts = [config.test_dataloader['dataset'], config.test_evaluator, _without_files(config.model)]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_files(node: Any) -> Any:
    """A model's config without the files of weights, which are elsewhere on another machine."""
    if isinstance(node, Mapping):
        names = [name for name in node if name not in ('init_cfg', 'pretrained', 'checkpoint')]
        return {name: _without_files(node[name]) for name in names}
    return [*map(_without_files, node)] if isinstance(node, list | tuple) else node
