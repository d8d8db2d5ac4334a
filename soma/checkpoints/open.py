"""The one door for checkpoints of any kind."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..adapters.base import ADAPTERS
from ..adapters.base import rename as rename_tensors
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
from ..io.hub import find_adapter
from ..models.backbones.mit_names import from_segformer
from ..models.build import LeftOut, plain_model
from ..utils.config import metainfo_of
from .checkpoint import Checkpoint
from .co_detr_names import from_co_detr_release
from .complete import with_known_base
from .eomt_names import from_eomt
from .heads import check_classes, has_other_heads

# From the names of public releases to those of this package; other names stay as they are.
RENAMINGS = (from_release, from_co_detr_release, from_segformer, from_eomt)


def open_checkpoint(
    path: str | os.PathLike, part: str | None = None, alpha: float | None = None
) -> Checkpoint:
    """Read a checkpoint of this package, of a public release or of mmengine.

    Its tensors are read from the disk only when they are used; the file must stay as it is.

    Args:
        path: The file, a folder with it or the name of a model on the Hugging Face Hub
            (:func:`~soma.io.hub.find_adapter`).
        part: ``'state_dict'`` or ``'ema_state_dict'``; whichever there is, in this order, if None.
        alpha: Scale times rank of an adapter whose file does not say; by default the rank, as in
            the release.

    Returns:
        Its tensors and its card.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be used, its card is wrong or tells of an adapter that it
            lacks, a value of the adapter is not finite, or ``alpha`` is given and is of no use.
        InputError: If it cannot be found or fetched.
    """
    path = find_adapter(path)
    content = read_checkpoint(path, mmap=True)
    card = read_card(card_of(content), path)
    if alpha is not None and card.method is not None:
        known = card.settings.get('alpha', f'none, that of {card.method}')
        raise CheckpointError(f'{path} says that its alpha is {known}: leave alpha (--alpha) out')
    tensors = state_dict_of(content, path, part)
    if part == 'ema_state_dict' and 'state_dict' in content:  # it lacks what is frozen
        tensors = {**state_dict_of(content, path, 'state_dict'), **tensors}
    tensors = _our_names(tensors, path, card)
    if card.method is None:
        try:
            card = card_from_tensors(tensors, alpha, card)
        except ValueError as error:
            raise CheckpointError(f'{path}: {error}') from error
    check_tensors(card, tensors, path)
    checkpoint = Checkpoint(tensors, _with_meta(card, content.get('meta')), path)
    checkpoint.check_values(checkpoint.adapter_names | checkpoint.bias_names)  # all use these
    return checkpoint


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
    if isinstance(average := content.get('ema_state_dict'), Mapping):
        content = {**content, 'ema_state_dict': rename_tensors(average, has_card=True)}
    return Checkpoint(_our_names(tensors, path, card), card, path, content)


def _our_names(
    tensors: Mapping[str, Tensor], path: str | os.PathLike, card: Card
) -> dict[str, Tensor]:
    try:
        for rename in RENAMINGS:
            tensors = rename(tensors)
    except ValueError as error:
        raise CheckpointError(f'{path}: {error}') from error
    return rename_tensors(tensors, card.method is not None)


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
    left_out: LeftOut | None = None,
) -> Card:
    """Load any checkpoint into a plain model, its adapter folded into the weights.

    The model's ``loaded_card`` tells of it later.

    Args:
        model: A model without adapters but those that cannot be folded, possibly wrapped for
            several processes or for test-time augmentation.
        path: As for :func:`open_checkpoint`.
        base: File of the pretrained weights; if ``path`` lacks them and this is None, that of
            ``left_out``, or that of the card (:func:`~.complete.with_known_base`).
        force: As for :meth:`Checkpoint.with_base`.
        left_out: What :func:`~soma.models.build.use_plain_model` has taken out of the config.

    Returns:
        The card.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If a file cannot be used, does not fit the model or is of another method
            or number of classes than the config's, or one of ``base`` and ``force`` is of no use.
    """
    model, left_out = plain_model(model), left_out or LeftOut()
    checkpoint = open_checkpoint(path)
    _check_method(checkpoint, left_out.method)
    if has_other_heads(model, checkpoint):
        check_classes(checkpoint, left_out.data and metainfo_of(left_out.data).get('classes'))
    lacks_base = _lacks_base(checkpoint, model)
    checkpoint = checkpoint.made_for(model, left_out.prefix)
    if base is not None:
        checkpoint = checkpoint.with_base(base, force)
    elif lacks_base:
        checkpoint = with_known_base(checkpoint, left_out.pretrained, force)
    else:
        checkpoint.check_force(base, force)
    load_strictly(model, checkpoint.plain(), checkpoint.path)
    model.loaded_card = checkpoint.card
    return checkpoint.card


def _check_method(checkpoint: Checkpoint, method: str | None) -> None:
    """Raise a ``CheckpointError`` if the adapter is of another method than that of a config."""
    card = checkpoint.card
    if method is None or card.method in (None, method, ADAPTERS[method].averages_to):
        return
    # Without a card, tensors told the method, and several have the same ones.
    if card.soma_version or card.adapter.layer_tensors() != ADAPTERS[method].layer_tensors():
        raise CheckpointError(
            f'{checkpoint.path} is of {card.method}, but the adapter of the config is {method}: '
            'take the config that it was trained with'
        )


def _lacks_base(checkpoint: Checkpoint, model: nn.Module) -> bool:
    """Whether weights are missing that a file of pretrained weights may supply."""
    if not checkpoint.has_weights:
        return True
    card = checkpoint.card
    missing = [name for name in model.state_dict() if name not in checkpoint.tensors]
    may_lack = (card.base is not None or card.method is not None) and not checkpoint.base_names
    return may_lack and any(name.startswith(card.prefix) for name in missing)


def _with_meta(card: Card, meta: object) -> Card:
    """Add what mmengine writes of a training, where the card does not say it."""
    meta = meta if isinstance(meta, Mapping) else {}
    dataset = meta.get('dataset_meta')
    older = {'classes': meta.get('CLASSES'), 'palette': meta.get('PALETTE')}  # before mmengine
    known = dict(dataset) if isinstance(dataset, Mapping) else older
    known |= {'config': meta.get('cfg'), 'iteration': meta.get('iter')}
    names = ('classes', 'palette', 'episode_classes', 'config', 'iteration')
    new = {name: known.get(name) for name in names if getattr(card, name) is None}
    return replace(card, **{name: value for name, value in new.items() if is_valid(name, value)})
