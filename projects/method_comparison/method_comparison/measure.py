"""What is kept of a finished run."""

from __future__ import annotations

import json
import os
import statistics
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine.config import Config

from soma.checkpoints.analysis import matrices_of
from soma.checkpoints.drift import drift, total_drift
from soma.checkpoints.open import open_checkpoint
from soma.io.checkpoint_files import read_checkpoint, read_state_dict
from soma.models.build import build_model

_BACKBONE = 'backbone.'


def read_report(folder: Path) -> dict:
    """Read the newest report of a validation or test below a work dir.

    Raises:
        FileNotFoundError: If there is none.
    """
    files = sorted(folder.glob('*/domains_*.json'), key=os.path.getmtime)
    if not files:
        raise FileNotFoundError(f'no report of a test below {folder}')
    return json.loads(files[-1].read_text())


def scores_of(report: Mapping, sources: Sequence[str]) -> dict[str, float]:
    """Take the mIoU of each domain out of a report.

    Args:
        report: Of the metric.
        sources: The domains that were trained on. If the test has such a one, its mean leaves it
            out (``mean_over`` of the evaluator).

    Returns:
        mIoU in percent by unseen domain, with ``unseen`` for their mean, and ``source`` for the
        mean of the sources if they were tested.
    """
    scores = {name: domain['mIoU'] for name, domain in report['domains'].items()}
    seen = [scores.pop(name) for name in sources if name in scores]
    source = {'source': statistics.fmean(seen)} if seen else {}
    return {**source, 'unseen': report['mean']['mIoU'], **scores}


def trainable_parameters(config: Config) -> dict[str, int]:
    """Count the trainable parameters of a config, in the backbone and outside of it."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # mmseg warns at each loss
        model = build_model(config)
    trainable = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    backbone = sum(count for name, count in trainable.items() if name.startswith(_BACKBONE))
    return {'backbone': backbone, 'head': sum(trainable.values()) - backbone}


def shared_bytes(checkpoint: Path, pretrained: Path) -> dict[str, int]:
    """Count the bytes that one must share with those who have the pretrained weights.

    Args:
        checkpoint: A training checkpoint or an average; the pretrained weights may be in it.
        pretrained: The weights that it started from, by their names in the backbone.

    Returns:
        Bytes of the tensors that are not among the pretrained ones, or have other values there, in
        the ``backbone`` and outside of it (``head``).
    """
    state, base = read_state_dict(checkpoint), read_state_dict(pretrained)
    total = {'backbone': 0, 'head': 0}
    for name, value in state.items():
        known = base.get(name.removeprefix(_BACKBONE)) if name.startswith(_BACKBONE) else None
        if known is None or not torch.equal(known, value):
            part = 'backbone' if name.startswith(_BACKBONE) else 'head'
            total[part] += value.numel() * value.element_size()
    return total


def measure_drift(checkpoint: Path, pretrained: Path) -> dict[str, float]:
    """Measure how far the matrices of a backbone have moved, and along which components.

    Args:
        checkpoint: A training checkpoint or an average of some.
        pretrained: The weights that it started from.

    Returns:
        The relative ``change`` of all matrices as one vector, and the shares of its energy in the
        ``principal`` half of each matrix's singular components, in the ``minor`` half, ``between``
        the halves, and ``outside`` of all components of a matrix that is not square. And the mean
        ``effective_rank`` of the changes of the matrices, 0 if none has changed.
    """
    matrices = matrices_of(open_checkpoint(checkpoint), pretrained)
    total = total_drift(drift(matrices_of(open_checkpoint(pretrained)), matrices).values())
    effective_rank = total.learned.effective_rank if total.learned else 0.0
    return {'change': total.change, **total.shares._asdict(), 'effective_rank': effective_rank}


def training_seconds(checkpoint: Path) -> float:
    """Add up the seconds of the iterations that a training checkpoint has logged."""
    times = read_checkpoint(checkpoint)['message_hub']['log_scalars']['train/time']
    return sum(times['log_history'])
