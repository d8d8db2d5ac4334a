"""The one door for checkpoints of any kind."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..adapters.card import Card, check_tensors, is_valid, read_card
from ..adapters.release import from_release
from ..adapters.state import card_from_tensors
from ..io.checkpoint_files import (
    card_of,
    load_strictly,
    read_checkpoint,
    state_dict_of,
    write_checkpoint,
)
from ..io.files import CheckpointError
from ..models.build import plain_model
from .checkpoint import Checkpoint


def open_checkpoint(
    path: str | os.PathLike, part: str | None = None, alpha: float | None = None
) -> Checkpoint:
    """Read a checkpoint of this package, of a public release or of mmengine.

    Its tensors are read from the disk only when they are used; the file must stay as it is.

    Args:
        path: The file.
        part: ``'state_dict'`` or ``'ema_state_dict'``; whichever there is, in this order, if None.
        alpha: Scale times rank of an adapter whose file does not say; by default the rank, as in
            the release.

    Returns:
        Its tensors and its card.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be used, its card is wrong or tells of an adapter that it
            lacks, or ``alpha`` is given and its card has one.
    """
    content = read_checkpoint(path, mmap=True)
    card = read_card(card_of(content), path)
    if alpha is not None and 'alpha' in card.settings:
        raise CheckpointError(
            f'{path} says that its alpha is {card.settings["alpha"]}: leave --alpha out'
        )
    tensors = state_dict_of(content, path, part)
    if part == 'ema_state_dict' and 'state_dict' in content:  # it lacks what is frozen
        tensors = {**state_dict_of(content, path, 'state_dict'), **tensors}
    tensors = _our_names(tensors, path)
    if card.method is None:
        try:
            card = card_from_tensors(tensors, alpha, card)
        except ValueError as error:
            raise CheckpointError(f'{path}: {error}') from error
    check_tensors(card, tensors, path)
    return Checkpoint(tensors, _with_meta(card, content.get('meta')), path)


def open_for_training(
    path: str | os.PathLike,
    map_location: str | torch.device = 'cpu',
    revise_keys: Sequence[tuple[str, str]] = (),
) -> Checkpoint:
    """Read a checkpoint to go on from, whose names and shapes are the model's to check.

    Args:
        path: The file.
        map_location: Device of the tensors.
        revise_keys: Pairs of a regular expression and a replacement, applied to the names.

    Returns:
        With all that the file holds. An adapter is only told by a card, not by its tensors.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be used, or its card is wrong.
    """

    def rename(name: str) -> str:
        for pattern, replacement in revise_keys:
            name = re.sub(pattern, replacement, name)
        return name

    content = read_checkpoint(path, map_location)
    card = read_card(card_of(content), path)
    card = replace(card, targets=[*map(rename, card.targets)])
    tensors = {rename(name): value for name, value in state_dict_of(content, path).items()}
    content = content if 'state_dict' in content else {}
    return Checkpoint(_our_names(tensors, path), card, path, content)


def _our_names(tensors: Mapping[str, Tensor], path: str | os.PathLike) -> dict[str, Tensor]:
    try:
        return from_release(tensors)
    except ValueError as error:
        raise CheckpointError(f'{path}: {error}') from error


def write_with_card(tensors: Mapping[str, Tensor], card: Card, path: str | os.PathLike) -> None:
    """Write tensors and their card; the classes are also where OpenMMLab's tools look for them."""
    meta = {'soma': card.to_dict()}
    if card.classes is not None:
        meta['dataset_meta'] = {'classes': card.classes, 'palette': card.palette}
    write_checkpoint({'state_dict': tensors, 'meta': meta}, path)


def load_plain(
    model: nn.Module,
    path: str | os.PathLike,
    base: str | os.PathLike | None = None,
    force: bool = False,
) -> Card:
    """Load any checkpoint into a plain model, its adapter folded into the weights.

    Args:
        model: A model without adapters but those that cannot be folded, possibly wrapped for
            several processes or for test-time augmentation.
        path: The checkpoint.
        base: File of the pretrained weights; read only where ``path`` lacks them.
        force: As for :meth:`Checkpoint.with_base`.

    Returns:
        The card.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If a file cannot be used or does not fit the model.
    """
    model = plain_model(model)
    checkpoint = open_checkpoint(path)
    if _lacks_base(checkpoint, model):
        if base is None:
            raise checkpoint.no_base()
        checkpoint = checkpoint.with_base(base, force)
    load_strictly(model, checkpoint.plain(), path)
    return checkpoint.card


def _lacks_base(checkpoint: Checkpoint, model: nn.Module) -> bool:
    """Whether weights are missing that a file of pretrained weights may supply."""
    if not checkpoint.has_weights:
        return True
    card = checkpoint.card
    missing = [name for name in model.state_dict() if name not in checkpoint.tensors]
    may_lack = card.base is not None or card.method is not None
    return may_lack and any(name.startswith(card.prefix) for name in missing)


def _with_meta(card: Card, meta: object) -> Card:
    """Add what mmengine writes of a training, where the card does not say it."""
    meta = meta if isinstance(meta, Mapping) else {}
    dataset = meta.get('dataset_meta')
    known = dict(dataset) if isinstance(dataset, Mapping) else {}
    known |= {'config': meta.get('cfg'), 'iteration': meta.get('iter')}
    names = ('classes', 'palette', 'config', 'iteration')
    new = {name: known.get(name) for name in names if getattr(card, name) is None}
    return replace(card, **{name: value for name, value in new.items() if is_valid(name, value)})
