"""From a training checkpoint to a file that one shares."""

from __future__ import annotations

import os

from ..adapters import weights_card
from ..adapters.fold import DORA, SVF
from ..io.checkpoint_files import CheckpointError, write_checkpoint
from ..io.files import check_output
from ..utils.version import __version__
from .load import meta_of, open_checkpoint


def extract_adapter(
    final: str | os.PathLike,
    out: str | os.PathLike,
    part: str | None = None,
    alpha: float | None = None,
) -> dict:
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
    state, card = checkpoint.state, checkpoint.card
    layers = checkpoint.layers
    if not card.get('method'):
        raise CheckpointError(f'{final} holds no adapter: there is nothing to extract')
    about = {'prefix': checkpoint.prefix, **card.get('base', {})}
    kept = set(state)
    reins = f'{checkpoint.prefix}reins.'
    if layers:
        whole = f'{layers[0]}.weight' in state
    else:
        whole = any(n.startswith(checkpoint.prefix) and not n.startswith(reins) for n in state)
    if whole:
        own = [*DORA, *SVF, *(['bias'] if card['train_bias'] else [])]
        kept = {f'{layer}.{name}' for layer in layers for name in own} & state.keys()
        others = {name for name in state if not name.startswith(checkpoint.prefix)}
        kept |= others | {name for name in state if name.startswith(reins)}
        if 'names' in about:  # without buffers
            kept = set(state) - {checkpoint.prefix + name for name in about['names']}
        base = {n[len(checkpoint.prefix) :]: state[n] for n in state if n not in kept}
        about = {**weights_card(base), **about}
    card = {'soma_version': __version__, **card, 'base': about}
    tensors = {name: value for name, value in state.items() if name in kept}
    write_checkpoint({'state_dict': tensors, 'meta': meta_of(card)}, out)
    return card
