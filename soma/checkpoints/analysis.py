"""The spectrum of a checkpoint file, and its drift from another."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
from torch import Tensor

from ..adapters.lending import parameter_name
from ..io.files import CheckpointError
from .checkpoint import Checkpoint
from .complete import with_known_base
from .drift import Drift, SpectrumSummary, drift, spectra
from .matrices import unmatched, weight_matrices
from .open import open_checkpoint


class Analysis(NamedTuple):
    """What :func:`analyze_file` found.

    Attributes:
        path: The file.
        against: The file of the base, if it was compared.
        rank: Number of components that count as minor.
        spectra: Of the file, by the name of the matrix.
        drift: From the base, by the name of the matrix; empty without one.
        left_out: Why other matrices were not compared, by their name.
    """

    path: str
    against: str | None
    rank: int
    spectra: dict[str, SpectrumSummary]
    drift: dict[str, Drift]
    left_out: dict[str, str]


def analyze_file(
    path: str | os.PathLike,
    against: str | os.PathLike | None = None,
    base: str | os.PathLike | None = None,
    layers: str | None = None,
    rank: int = 16,
    force: bool = False,
) -> Analysis:
    """Compute the spectrum of a checkpoint with its adapter folded in, and its drift from another.

    Args:
        path: Any checkpoint.
        against: Any checkpoint, mostly of the pretrained weights. None compares nothing.
        base: File of the pretrained weights where a checkpoint has none; ``against`` if None.
        layers: As for :func:`~soma.checkpoints.matrices.weight_matrices`.
        rank: Number of components that count as minor.
        force: Accept other pretrained weights than those that the adapter was trained on.

    Returns:
        What was found.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If a file cannot be used, lacks its base, the base is not its own, or
            ``base`` or ``force`` is of no use.
        ValueError: If no layer fits, none can be compared, or an argument is wrong.
    """
    checkpoint = open_checkpoint(path)
    if against is not None:
        checkpoint.check_folds('compared with its base')
    files = [checkpoint, *([] if against is None else [open_checkpoint(against)])]
    if (base or force) and not any(map(_lacks_base, files)):
        name = 'force' if base is None else 'base'
        raise CheckpointError(f'{path} holds its pretrained weights: leave {name} (--{name}) out')
    matrices = matrices_of(checkpoint, base or against, layers, force)
    summaries = spectra(matrices, rank)
    if against is None:
        return Analysis(os.fspath(path), None, rank, summaries, {}, {})
    before = matrices_of(files[1], base, layers, force)
    changes = drift(before, matrices, rank, nominal_ranks(checkpoint, layers))
    left_out = unmatched(before, matrices)
    return Analysis(os.fspath(path), os.fspath(against), rank, summaries, changes, left_out)


def matrices_of(
    checkpoint: Checkpoint,
    base: str | os.PathLike | None = None,
    layers: str | None = None,
    force: bool = False,
) -> dict[str, Tensor]:
    """The matrices of a checkpoint by name, its adapter folded in.

    Args:
        checkpoint: Any checkpoint.
        base: File of the pretrained weights; read only where the checkpoint has none.
        layers: As for :func:`~soma.checkpoints.matrices.weight_matrices`.
        force: Accept other pretrained weights than those that the adapter was trained on.

    Raises:
        FileNotFoundError: If the file of the base does not exist.
        CheckpointError: If it cannot be used, is missing, or is not the checkpoint's.
        ValueError: If no layer fits.
    """
    if _lacks_base(checkpoint) and base is None:
        checkpoint = with_known_base(checkpoint, force=force)
    elif _lacks_base(checkpoint):
        checkpoint = checkpoint.with_base(base, force)
    weights = checkpoint.plain()
    try:
        return weight_matrices(weights, layers, checkpoint.card.prefix)
    except ValueError as error:
        raise ValueError(f'{checkpoint.path}: {error}') from error


def nominal_ranks(checkpoint: Checkpoint, layers: str | None = None) -> dict[str, int]:
    """The ranks of a low-rank adapter by the name of the matrix; none of anything else.

    Args:
        checkpoint: Any checkpoint.
        layers: As for :func:`~soma.checkpoints.matrices.weight_matrices`.
    """
    card = checkpoint.card
    if card.method is None or not card.adapter.low_rank:
        return {}
    # Matrices of ranks in the place of weights, which get the names of these; others have a zero.
    names = checkpoint.tensors.keys() - checkpoint.adapter_names
    stand_ins = {name: torch.zeros(()).expand(checkpoint.tensors[name].shape) for name in names}
    for layer, tensors in checkpoint.layers.items():
        tensors = card.adapter.layers[0].joined(tensors)
        rank = torch.tensor(float(tensors['B'].shape[1]))
        name = parameter_name(layer, 'weight', names)
        stand_ins[name] = rank.expand(len(tensors['B']), tensors['A'].shape[1])
    try:
        matrices = weight_matrices(stand_ins, layers, card.prefix)
    except ValueError:  # none of them is analysed
        return {}
    return {name: int(matrix[0, 0]) for name, matrix in matrices.items() if matrix[0, 0]}


def _lacks_base(checkpoint: Checkpoint) -> bool:
    card = checkpoint.card
    if card.folds:
        return not checkpoint.has_weights
    # Every backbone for images has a kernel: without any, its frozen weights are elsewhere.
    backbone = (v for name, v in checkpoint.tensors.items() if name.startswith(card.prefix))
    return card.base is not None and not any(value.ndim == 4 for value in backbone)
