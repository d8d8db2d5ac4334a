"""From pretrained weights and an adapter file to one checkpoint."""

from __future__ import annotations

import os

from ..adapters import merge_state
from ..io.checkpoint_files import CheckpointError, write_checkpoint
from ..io.files import check_output
from .load import check_folds, join_base, meta_of, open_checkpoint


def merge_files(
    backbone: str | os.PathLike,
    adapter: str | os.PathLike,
    out: str | os.PathLike,
    keep_adapter: bool = False,
    force: bool = False,
    alpha: float | None = None,
) -> dict:
    """Put an adapter onto pretrained weights and write all of the model.

    Args:
        backbone: File of the pretrained weights.
        adapter: Adapter file or training checkpoint, of this package or of the original release.
        out: File to write, ``*.safetensors`` or ``*.pth``.
        keep_adapter: Leave the adapter beside the weights, to train on (``load_from``), instead of
            folding it in.
        force: Accept other pretrained weights than those that the adapter was trained on.
        alpha: As for :func:`~soma.checkpoints.open_checkpoint`.

    Returns:
        The card of what was written.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If a file cannot be used, or the base is not the adapter's.
    """
    check_output(out, [backbone, adapter])
    checkpoint = open_checkpoint(adapter, alpha=alpha)
    if not checkpoint.card.get('method'):
        raise CheckpointError(f'{adapter} holds no adapter to merge')
    if not keep_adapter:
        check_folds(
            checkpoint, 'merged (but --keep-adapter writes it beside the pretrained weights)'
        )
    state, card = join_base(checkpoint, backbone, force), checkpoint.card
    try:  # also with keep_adapter, to know that it fits
        merged = merge_state(state, checkpoint.scale)
    except ValueError as error:
        raise CheckpointError(f'{adapter} does not fit {backbone}: {error}') from error
    if not keep_adapter:
        state = merged
        # All weights are inside now; the adapter is history.
        card = {k: card[k] for k in ('classes', 'palette', 'config', 'iteration') if k in card}
        card['merged'] = {k: v for k, v in checkpoint.card.items() if k not in card}
    write_checkpoint({'state_dict': state, 'meta': meta_of(card)}, out)
    return card
