"""From a training checkpoint to a file that one shares."""

from __future__ import annotations

import os
from dataclasses import replace

from ..adapters.card import Card
from ..io.files import CheckpointError, check_output
from ..utils.version import __version__
from .open import open_checkpoint, write_with_card


def extract_adapter(
    final: str | os.PathLike,
    out: str | os.PathLike,
    part: str | None = None,
    alpha: float | None = None,
) -> Card:
    """Write the adapter and the head of a checkpoint, with a card.

    Args:
        final: A training checkpoint, with or without its pretrained weights, of this package or of
            the original release.
        out: File to write, ``*.safetensors`` or ``*.pth``.
        part: ``'state_dict'`` or ``'ema_state_dict'``; whichever there is, in this order, if None.
        alpha: As for :func:`~soma.checkpoints.open_checkpoint`.

    Returns:
        The card.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be used, or holds no adapter.
    """
    check_output(out, [final])
    checkpoint = open_checkpoint(final, part, alpha)
    card, tensors = checkpoint.card, checkpoint.tensors
    if card.method is None:
        raise CheckpointError(f'{final} holds no adapter: there is nothing to extract')
    names = tensors.keys() - checkpoint.base_names
    checkpoint.check_values(names)
    card = replace(card, soma_version=card.soma_version or __version__, base=checkpoint.base)
    write_with_card({n: value for n, value in tensors.items() if n in names}, card, out)
    return card
