"""The average of several trained models in weight space."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..adapters.base import ADAPTERS, option_names, parse_adapter
from ..adapters.card import Card
from ..adapters.low_rank import low_rank_delta
from ..adapters.svd import low_rank_product, split_components
from ..io.files import CheckpointError, check_output
from ..utils.progress import track
from .checkpoint import Checkpoint
from .combine import check_average, combiner
from .open import open_checkpoint, write_with_card


class Average(NamedTuple):
    """What :func:`average_files` did.

    Attributes:
        averaged: Number of tensors averaged, those of adapters not counted.
        kept: Number of tensors taken from the first file.
        layers: Number of adapted layers averaged.
        rank: Rank of the averaged adapter, None without one.
        errors: By layer, what of the averaged weight change its factors lack: the norm of the
            difference over the norm of the change.
    """

    averaged: int
    kept: int
    layers: int
    rank: int | None
    errors: Mapping[str, float]


def average_files(
    files: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    weights_filter: str = '',
    operation: str = 'mean',
    factors: Sequence[float] | None = None,
    rank: int | None = None,
    cpu_only: bool = False,
    force: bool = False,
    ignore_extra: bool = False,
) -> Average:
    """Average checkpoints of one architecture (ReVT, arXiv 2308.13331).

    Floating tensors whose name the filter finds are averaged in float64, whatever their dtype, and
    stored in the first file's. Adapters are averaged as weight changes and split into factors
    anew; their ranks may differ. If the filter finds some layers, the others keep the first file's
    change and get the new rank. All else comes from the first file. Only a part of each file is in
    memory at a time, so that many files need no more than a few.

    Args:
        files: Two checkpoints or more, of any kind.
        out: File to write, ``*.pth`` or ``*.safetensors``.
        weights_filter: Regular expression that names must begin with, as in ReVT's script; ''
            finds all. An adapted layer is found by its weight or by any tensor of its adapter.
        operation: ``'mean'``, ``'min'`` of each entry, ``'trimmed'`` (the mean without the
            smallest and the largest of each entry) or ``'trimean'`` (Tukey's, of the quartiles).
        factors: Weight of each file in the mean, of any sum; equal if None.
        rank: Of the averaged adapter; twice the largest one of the files if None.
        cpu_only: Do not compute on a GPU.
        force: Average adapters of different pretrained weights.
        ignore_extra: Leave out what only later files have, of what is to be averaged.

    Returns:
        What was averaged.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If a file cannot be used, or names, shapes or pretrained weights differ.
        ValueError: If an argument makes no sense.
    """
    pattern = check_average(len(files), weights_filter, operation, factors, rank)
    check_output(out, files)
    device = 'cuda' if torch.cuda.is_available() and not cpu_only else 'cpu'
    first = open_checkpoint(files[0])
    layers = _low_rank_layers(first)
    tensors = _floating(first, pattern)
    averaged = {layer for layer in layers if _finds(pattern, layer, first)}
    if not tensors and not averaged:
        raise ValueError(f'{weights_filter!r} finds no floating tensor in {files[0]}')
    options = (pattern, force, ignore_extra)
    ranks = [_check_same(first, open_checkpoint(file), *options) for file in files]
    if not averaged:  # adapters stay as they are
        layers = {}
        if rank is not None:
            raise ValueError(f'no adapter is averaged that could have a rank of {rank}')
    elif rank is None:
        rank = min(2 * max(ranks), _largest_rank(first))

    combine = combiner(operation, factors, len(files))
    state = dict.fromkeys(first.tensors)  # in this order
    errors = {}
    jobs = [*tensors, *layers]
    for name, values in track(
        _gather(files, jobs, layers.keys() - averaged), len(jobs), 'averaging'
    ):
        value = combine([value.to(device) for value in values])
        if name in tensors:
            state[name] = value.to(first.tensors[name])
        else:
            split, errors[name] = _split(value, layers[name], rank, first.card)
            for key in set(first.card.adapter.layer_tensors()) - split.keys():
                del state[f'{name}.{key}']
            state.update({f'{name}.{key}': factor for key, factor in split.items()})
    first.check_values(rest := [name for name, value in state.items() if value is None])
    state.update({name: first.tensors[name].clone() for name in rest})
    about = {'files': [str(file) for file in files], 'weights_filter': weights_filter}
    about |= {'operation': operation, 'factors': list(factors) if factors else None}
    write_with_card(state, _average_card(first.card, about, rank), out)
    return Average(len(tensors), len(rest), len(averaged), rank, errors)


def _average_card(card: Card, about: Mapping, rank: int | None) -> Card:
    """The card of an average, from the first file's; of that rank if adapters were averaged."""
    card = replace(card, average=about)
    if rank is None:
        return card
    method = card.adapter.averages_to or card.method
    ranks = parse_adapter(card.adapter_config(['.+'])).card_options()
    names = option_names(ADAPTERS[method]) - ranks.keys()
    settings = {name: value for name, value in card.settings.items() if name in names}
    settings |= {'rank': rank, 'alpha': float(rank)}
    return replace(card, method=method, settings=settings)


def _split(
    change: Tensor, layer: Mapping[str, Tensor], rank: int, card: Card
) -> tuple[dict[str, Tensor], float]:
    """Split a weight change into factors for a layer; how much they lack, relative to its norm."""
    groups = _groups(layer)
    A, B = split_components(change, rank, 'principal', groups)
    norm = torch.linalg.norm(change).clamp_min(torch.finfo(change.dtype).tiny)
    error = float(torch.linalg.norm(change - low_rank_product(A, B, groups)) / norm)
    start = rank if len(layer['A0']) and card.adapter.averages_to is None else 0
    split = {'A': A, 'B': B, 'A0': 0 * A[: groups * start], 'B0': 0 * B[:, :start]}
    return {key: factor.to(layer[key]) for key, factor in split.items()}, error


def _check_same(
    first: Checkpoint, other: Checkpoint, pattern: re.Pattern, force: bool, ignore_extra: bool
) -> int:
    """Compare what is to be averaged; the rank of the other's adapter, 0 without one."""
    first_shapes, other_shapes = _shapes(first, pattern), _shapes(other, pattern)
    if ignore_extra:
        other_shapes = {name: v for name, v in other_shapes.items() if name in first_shapes}
    if names := sorted(first_shapes.keys() ^ other_shapes.keys()):
        raise CheckpointError(f'{first.path} and {other.path} differ in: {", ".join(names[:5])}')
    wrong = [
        f'{name} ({list(shape)}, {list(other_shapes[name])})'
        for name, shape in first_shapes.items()
        if shape != other_shapes[name]
    ]
    if wrong:
        raise CheckpointError(
            f'{first.path} and {other.path} differ in shape: {", ".join(wrong[:5])}'
        )
    cards = (first.card, other.card)
    grids = {card.grid for card in cards} - {None}
    if len(grids) > 1 and any(name.endswith('pos_embed') for name in first_shapes):
        raise CheckpointError(
            f'{first.path} and {other.path} have positions of different grids of patches'
        )
    hashes = {card.base.hash for card in cards if card.base is not None} - {None}
    if len(hashes) > 1 and not force:
        raise CheckpointError(
            f'{first.path} and {other.path} were trained on different pretrained weights: their '
            'changes do not add up; average them all the same with force=True (--force)'
        )
    settings = [card.settings for card in cards]
    if settings[0] != settings[1] and not _low_rank_layers(first):
        raise CheckpointError(
            f'{first.path} and {other.path} differ in the options of their adapters: '
            f'{settings[0]}, {settings[1]}'
        )
    return max((t['B'].shape[1] for t in _low_rank_layers(other).values()), default=0)


def _low_rank_layers(checkpoint: Checkpoint) -> dict[str, dict[str, Tensor]]:
    """The layers whose adapter is averaged as a weight change, with its tensors by name."""
    checkpoint.check_folds('averaged')
    card = checkpoint.card
    if card.method is not None and not card.adapter.adds_up:
        raise CheckpointError(
            f'{checkpoint.path} is of {card.method}, whose changes do not add up: average merged '
            'files (tools/merge_soma_weights.py)'
        )
    # What is no low-rank change, such as singular values, is averaged as it is.
    if card.method is None or not card.adapter.low_rank:
        return {}
    joined = card.adapter.layers[0].joined
    return {layer: joined(tensors) for layer, tensors in checkpoint.layers.items()}


def _floating(checkpoint: Checkpoint, pattern: re.Pattern) -> dict[str, Tensor]:
    """The floating tensors that the filter finds, those of low-rank adapters left out."""
    factors = checkpoint.adapter_names if _low_rank_layers(checkpoint) else set()
    return {
        name: value
        for name, value in checkpoint.tensors.items()
        if name not in factors and value.is_floating_point() and pattern.match(name)
    }


def _finds(pattern: re.Pattern, layer: str, checkpoint: Checkpoint) -> bool:
    """Whether the filter finds an adapted layer, by its weight or one of the adapter's tensors."""
    names = ('weight', *checkpoint.card.adapter.layer_tensors())
    return any(pattern.match(f'{layer}.{name}') for name in names)


def _groups(tensors: Mapping[str, Tensor]) -> int:
    """Number of matrices of a layer."""
    return len(tensors['A']) // tensors['B'].shape[1]


def _shapes(checkpoint: Checkpoint, pattern: re.Pattern) -> dict[str, tuple[int, ...]]:
    """Shapes of what is to be averaged: tensors, and weight changes in place of their factors."""
    shapes = {name: tuple(value.shape) for name, value in _floating(checkpoint, pattern).items()}
    for layer, tensors in _low_rank_layers(checkpoint).items():
        if _finds(pattern, layer, checkpoint):
            size = (_groups(tensors), len(tensors['B']), tensors['A'].shape[1])
            shapes[f'{layer} (groups, out, in)'] = size
    return shapes


def _largest_rank(checkpoint: Checkpoint) -> int:
    """The rank that the smallest adapted matrix has."""
    layers = _low_rank_layers(checkpoint).values()
    return min(min(len(t['B']) // _groups(t), t['A'].shape[1]) for t in layers)


def _gather(
    files: Sequence[str | os.PathLike], jobs: Sequence[str], only_first: set[str]
) -> Iterator[tuple[str, list[Tensor]]]:
    """Read the values of tensors and layers in all files.

    In each pass as many as make up one file are read from all of them.

    Yields:
        Name of a tensor or layer, and its value or weight change in each file; of the layers in
        ``only_first`` the first file's in the place of all.
    """
    for chunk in _chunks(open_checkpoint(files[0]), jobs, len(files)):
        values = {name: [] for name in chunk}
        for file in files:
            checkpoint = open_checkpoint(file)  # what an earlier pass has read leaves the memory
            layers = _low_rank_layers(checkpoint)
            for name, read in values.items():
                if name in only_first and read:
                    read.append(read[0])
                elif name in checkpoint.tensors:
                    checkpoint.check_values([name])
                    read.append(checkpoint.tensors[name].clone())
                else:
                    read.append(low_rank_delta(layers[name], checkpoint.card.settings))
        yield from values.items()


def _chunks(checkpoint: Checkpoint, jobs: Sequence[str], count: int) -> list[list[str]]:
    """Divide the jobs into chunks of about equal size, one more than ``count`` at most."""
    tensors, layers = checkpoint.tensors, _low_rank_layers(checkpoint)
    sizes = [
        tensors[name].nbytes
        if name in tensors
        else 4 * len(layers[name]['B']) * layers[name]['A'].shape[1]
        for name in jobs
    ]
    chunks, filled = [[]], 0
    for name, size in zip(jobs, sizes, strict=True):
        if filled > sum(sizes) / count:
            chunks.append([])
            filled = 0
        chunks[-1].append(name)
        filled += size
    return chunks
