"""The page of a shared adapter: what it is, how well it does, how to use it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..adapters.card import BaseCard
from ..io.files import InputError
from ..io.hub import ADAPTER_FILE
from ..io.public import WEIGHTS
from ..io.reports import REPORT, find_report, read_report
from ..utils.config_text import parse_config
from ..utils.version import __version__
from .checkpoint import Checkpoint
from .licences import licence_data
from .model_use import public_name, use_of

_TASKS = {'IoU': ('image-segmentation', 'mean_iou'), 'AP': ('object-detection', 'map')}


@dataclass(frozen=True)
class Sharing:
    """What the file itself does not say.

    Attributes:
        repo: Name of the model on the hub, ``'user/name'``.
        licence: As for :func:`~.licences.licence_data`.
        report: Scores by domain, as :func:`read_scores` reads them; None without.
        trained_on: Names of the domains that it was trained on.
        base_model: Name of the pretrained model on the hub.
    """

    repo: str
    licence: str
    report: Mapping | None = None
    trained_on: Sequence[str] = ()
    base_model: str | None = None


def read_scores(path: str | os.PathLike) -> dict:
    """Read the ``domains_test.json`` of ``tools/test.py``, or of a work dir the newest one.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is none.
    """
    report = read_report(file := find_report(path))
    try:
        average = f'm{report["score"]}'
        scores = {name: domain[average] for name, domain in report['domains'].items()}
        scores['mean'] = report['mean'][average]
        report['mean_over'] = [*map(str, report['mean_over'])]
        if report['score'] in _TASKS and all(
            score is None or isinstance(score, int | float) for score in scores.values()
        ):
            return report
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise InputError(f'{file} is no {REPORT}')


def model_card(checkpoint: Checkpoint, sharing: Sharing, size: int) -> str:
    """Write the page.

    Args:
        checkpoint: The adapter file, its card fit for others (:func:`~.shared_card.shared_card`).
        sharing: What else there is to say.
        size: Of the file in bytes.

    Returns:
        Markdown, with the hub's metadata in YAML before it.

    Raises:
        InputError: If the licence is none.
    """
    from huggingface_hub import ModelCardData  # here, since it takes its time

    task = _task(checkpoint, sharing.report)
    name, base = sharing.repo.rpartition('/')[2], sharing.base_model
    data = ModelCardData(
        **licence_data(sharing.licence),
        library_name='soma',
        pipeline_tag=task,
        tags=[
            *('soma', 'domain-generalization', checkpoint.card.method.lower()),
            'semantic-segmentation' if task == 'image-segmentation' else task,
        ],
        base_model=base,
        base_model_relation=base and 'adapter',
        model_name=name,
        eval_results=_results(sharing.report) or None,
    )
    sections = [
        f'# {name}',
        _summary(checkpoint, sharing, size),
        _scores(sharing.report),
        use_of(checkpoint.card, sharing.repo),
        f'Made with soma {__version__}.',
    ]
    return f'---\n{data.to_yaml()}\n---\n\n' + '\n\n'.join(filter(None, sections)) + '\n'


def _task(checkpoint: Checkpoint, report: Mapping | None) -> str:
    """The hub's name of what the model does: of its report, or of the scope of its config."""
    if report is not None:
        return _TASKS[report['score']][0]
    config = parse_config(checkpoint.card.config or '', str(checkpoint.path))
    scope = config.get('default_scope')
    return 'object-detection' if scope == 'mmdet' else 'image-segmentation'


def _rows(report: Mapping | None) -> list[tuple[str, str, float]]:
    """Name, text and score of each domain that has one, and of their mean."""
    if report is None:
        return []
    average = f'm{report["score"]}'
    rows = [(name, name, domain[average]) for name, domain in report['domains'].items()]
    if len(rows) > 1:
        rows.append(('mean', f'mean of {", ".join(report["mean_over"])}', report['mean'][average]))
    return [row for row in rows if row[2] is not None]


def _results(report: Mapping | None) -> list:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=_TASKS[report['score']][0],
            dataset_type=name,
            dataset_name=text,
            dataset_split=_split(report),
            metric_type=_TASKS[report['score']][1],
            metric_name=f'm{report["score"]}',
            metric_value=round(score, 2),
        )
        for name, text, score in _rows(report)
    ]


def _scores(report: Mapping | None) -> str:
    if not (rows := _rows(report)):
        return '## Scores\n\nNone were given.'
    table = [f'| domain | m{report["score"]} (%) |', '| --- | ---: |']
    table += [f'| {_cell(text)} | {score:.2f} |' for _, text, score in rows]
    return '\n'.join(['## Scores', '', f'Of the {_split(report)} images.', '', *table])


def _split(report: Mapping) -> str:
    return str(report.get('split', 'test'))


def _summary(checkpoint: Checkpoint, sharing: Sharing, size: int) -> str:
    """What the adapter is, as a table."""
    card = checkpoint.card
    adapter = checkpoint.adapter_names | checkpoint.bias_names
    counts = {name: value.numel() for name, value in checkpoint.tensors.items()}
    ours = sum(count for name, count in counts.items() if name in adapter)
    settings = ', '.join(f'{name} {value}' for name, value in card.settings.items())
    classes, adapted = card.classes or (), 'layers' if card.folds else 'blocks'
    rows = {
        'method': f'{card.method} ({settings})' if settings else card.method,
        'adapted': f'{len(card.targets)} {adapted}, from block {card.start_block}',
        'parameters': f'{ours:,} of the adapter, {sum(counts.values()) - ours:,} of all else',
        'file': f'`{ADAPTER_FILE}`, {size / 1e6:.1f} MB',
        'trained on': ', '.join(sharing.trained_on),
        'iterations': f'{card.iteration:,}' if card.iteration else '',
        'classes': f'{len(classes)}: {", ".join(classes)}' if classes else '',
        'licence': f'{sharing.licence}; the pretrained weights have their own',
        **_base_rows(card.base, sharing.base_model),
    }
    lines = ['| | |', '| --- | --- |']
    return '\n'.join(
        lines + [f'| {name} | {_cell(value)} |' for name, value in rows.items() if value]
    )


def _base_rows(base: BaseCard | None, named: str | None) -> dict[str, str]:
    """Which pretrained weights it needs, and where they are."""
    if base is None:
        return {}
    places = [f'[{named}](https://huggingface.co/{named})'] if named else []
    if public := public_name(base):
        weights = WEIGHTS[public]
        places.append(f'[{weights.file}]({weights.url or weights.page})')
    rows = {'pretrained weights': ', or '.join(places) or base.file}
    if base.img_size:
        height, width = base.img_size
        rows['made for'] = f'{height} x {width} pixels in patches of {base.patch_size}'
    rows['their hash'] = f'`{base.hash}`' if base.hash else ''
    return rows


def _cell(text: str) -> str:
    return text.replace('|', '\\|').replace('\n', ' ')
