"""From a training checkpoint to a file that one shares."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace

from ..adapters.card import Card
from ..io.files import CheckpointError, check_output
from ..utils.version import __version__
from .checkpoint import Checkpoint
from .open import open_checkpoint, write_with_card

logger = logging.getLogger(__name__)


def extract_adapter(
    final: str | os.PathLike,
    out: str | os.PathLike,
    part: str | None = None,
    alpha: float | None = None,
    targets: Sequence[str] | None = None,
) -> Card:
    """Write the adapter and the head of a checkpoint, with a card.

    Args:
        final: A training checkpoint, with or without its pretrained weights, of this package or of
            the original release.
        out: File to write, ``*.safetensors`` or ``*.pth``.
        part: ``'state_dict'`` or ``'ema_state_dict'``; whichever there is, in this order, if None.
        alpha: As for :func:`~soma.checkpoints.open_checkpoint`.
        targets: Last parts of the names of all adapted layers, such as ``'proj'``; ``q``, ``k`` and
            ``v`` stand for ``qkv``.

    Returns:
        The card.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be used, or holds no adapter, or one in other layers than
            ``targets``.
    """
    check_output(out, [final])
    extracted = adapter_of(final, part, alpha, targets)
    write_with_card(extracted.tensors, extracted.card, out)
    return extracted.card


def adapter_of(
    final: str | os.PathLike,
    part: str | None = None,
    alpha: float | None = None,
    targets: Sequence[str] | None = None,
) -> Checkpoint:
    """Take the adapter and the head of a checkpoint; as :func:`extract_adapter`, unwritten."""
    checkpoint = open_checkpoint(final, part, alpha)
    card, tensors = checkpoint.card, checkpoint.tensors
    if card.method is None:
        raise CheckpointError(f'{final} holds no adapter: there is nothing to extract')
    if targets is not None:
        _check_targets(card, targets, final)
    names = tensors.keys() - checkpoint.base_names
    checkpoint.check_values(names)
    version = card.soma_version or __version__
    if unknown := sorted(card.adapter.older.keys() - card.settings.keys()):
        version = None  # with one, the card would mean their defaults
        message = '%s does not tell %s, nor will the card: the config of the model has to'
        logger.warning(message, final, ', '.join(unknown))
    card = replace(card, soma_version=version, base=checkpoint.base)
    return replace(
        checkpoint, tensors={n: value for n, value in tensors.items() if n in names}, card=card
    )


def _check_targets(card: Card, targets: Sequence[str], path: str | os.PathLike) -> None:
    """Raise a ``CheckpointError`` if the layers of an adapter are not called so."""
    adapted, named = (
        {part for leaf in leaves for part in ('qkv' if leaf == 'qkv' else [leaf])}
        for leaves in ({name.rpartition('.')[2] for name in card.targets}, targets)
    )
    if adapted != named:
        raise CheckpointError(
            f'{path} has its adapter in {" ".join(sorted(adapted))}, not in '
            f'{" ".join(sorted(named))}: all of it is extracted, without targets (--target_modules)'
        )
