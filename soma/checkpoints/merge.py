"""From pretrained weights and an adapter file to one checkpoint."""

from __future__ import annotations

import os
from dataclasses import replace

from ..adapters.card import Card
from ..adapters.state import merge_state
from ..io.files import CheckpointError, check_output
from .complete import complete
from .open import open_checkpoint, write_with_card


def merge_files(
    base: str | os.PathLike | None,
    adapter: str | os.PathLike,
    out: str | os.PathLike,
    keep_adapter: bool = False,
    force: bool = False,
    alpha: float | None = None,
    config: str | os.PathLike | None = None,
) -> Card:
    """Put an adapter onto pretrained weights and write all of the model.

    Args:
        base: File of the pretrained weights; None if they are in ``adapter``.
        adapter: Adapter file or training checkpoint, of this package or of the original release.
        out: File to write, ``*.safetensors`` or ``*.pth``.
        keep_adapter: Leave the adapter beside the weights, to train on (``load_from``), instead of
            folding it in.
        force: Accept other pretrained weights than those that the adapter was trained on.
        alpha: As for :func:`~soma.checkpoints.open_checkpoint`.
        config: Config file of the model, which says the sizes that ``base`` is converted to where
            the adapter has no card.

    Returns:
        The card of what was written.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If a file cannot be used, the base is missing or not the adapter's, the
            config is not, or one of ``force``, ``alpha`` and ``config`` is of no use.
    """
    check_output(out, [base, adapter])
    checkpoint = open_checkpoint(adapter, alpha=alpha)
    if checkpoint.card.method is None:
        raise CheckpointError(f'{adapter} holds no adapter to merge')
    if not keep_adapter:
        checkpoint.check_folds(
            'merged (but keep_adapter, --keep-adapter, writes it beside the pretrained weights)'
        )
    checkpoint = complete(checkpoint, base, force, config)
    checkpoint.check_values()
    card, tensors = checkpoint.card, checkpoint.tensors
    try:  # also with keep_adapter, to know that it fits
        merged = merge_state(tensors, card)
    except ValueError as error:
        raise CheckpointError(f'{adapter} does not fit {base or "its weights"}: {error}') from error
    if not keep_adapter:
        tensors = merged
        card = merged_card(card)
    write_with_card(tensors, card, out)
    return card


def merged_card(card: Card) -> Card:
    """The card of weights that have all inside: the adapter is history, if it can be folded."""
    if not card.folds:
        return card
    training = ('classes', 'palette', 'episode_classes', 'config', 'iteration')
    history = replace(card, **dict.fromkeys(training))
    return Card(merged=history, **{name: getattr(card, name) for name in training})
