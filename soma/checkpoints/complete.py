"""A checkpoint with the pretrained weights that it lacks."""

from __future__ import annotations

import os
from pathlib import Path

from ..io.files import CheckpointError, InputError
from ..io.public import local_file
from ..models.backbones.dinov2_weights import PUBLISHED_PATCH
from ..models.build import build_backbone
from .checkpoint import Checkpoint


def complete(
    checkpoint: Checkpoint,
    base: str | os.PathLike | None,
    force: bool,
    config: str | os.PathLike | None = None,
) -> Checkpoint:
    """Add the pretrained weights if a file of them is given, or they are needed.

    Args:
        checkpoint: A checkpoint of any kind.
        base: As for :meth:`Checkpoint.with_base`; None for :func:`with_known_base`.
        force: As for :meth:`Checkpoint.with_base`.
        config: Config file of the model, for :meth:`Checkpoint.made_for`.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: As for these; if ``force`` or ``config`` is of no use; if the file is a
            published one, and nothing says the sizes to convert it to.
    """
    path, card = checkpoint.path, checkpoint.card
    if base is None:
        checkpoint.check_force(base, force)
        if config is not None:
            raise CheckpointError(f'{path}: config (--config) is of no use without base (--base)')
        return checkpoint if checkpoint.base_names else with_known_base(checkpoint)
    if config is not None:
        if card.base and card.base.tells_sizes:
            raise CheckpointError(f'{path} says its sizes: leave config (--config) out')
        model, left_out = build_backbone(config)
        checkpoint = checkpoint.made_for(model, left_out.prefix)
    completed = checkpoint.with_base(base, force)
    kernel = completed.tensors.get(f'{card.prefix}patch_embed.proj.weight')
    is_published = kernel is not None and kernel.shape[-1] == PUBLISHED_PATCH
    if is_published and not (checkpoint.card.base and checkpoint.card.base.tells_sizes):
        raise CheckpointError(
            f'{base} has patches of {PUBLISHED_PATCH} pixels, as published, and {path} '
            'does not say its sizes: name its config (--config), or convert the file first '
            '(tools/convert_models/convert_dinov2.py)'
        )
    return completed


def with_known_base(
    checkpoint: Checkpoint, default: str | os.PathLike | None = None, force: bool = False
) -> Checkpoint:
    """Add the pretrained weights that a config names, or those that the card tells.

    The file of the card is looked for where it was, beside the checkpoint, in the current folder
    and in ``checkpoints``. It counts if its hash is that of the card.

    Args:
        checkpoint: One that lacks them.
        default: The config's file; fetched if it is a public name, and no other file fits.
        force: Accept the config's, whatever they are.

    Raises:
        OSError: If the config's are missing or cannot be read, and no others fit.
        InputError: If they are others, or cannot be fetched, or nothing says which they are.
    """
    files = [] if default is None else [default]
    if not force:
        files = [*_files_of_card(checkpoint), *files]
        files = [*{os.path.realpath(local_file(file)): file for file in files}.values()]
        files.sort(key=lambda file: not os.path.isfile(local_file(file)))
    failures = {}
    for file in files:
        try:
            return checkpoint.with_base(file, force)
        except (InputError, OSError) as error:
            failures[file] = error
    if not failures:
        raise checkpoint.no_base()
    error = failures.get(default) or failures[files[0]]
    text = str(error)
    if str(checkpoint.path) not in text:
        file = checkpoint.card.base and checkpoint.card.base.file
        known = f' (in training {file})' if file else ''
        text = f'{checkpoint.path} needs pretrained weights{known}: {text}'
    if '--base' not in text:
        text += '; or name your file as base (--base)'
    raise type(error)(text) from error


def _files_of_card(checkpoint: Checkpoint) -> list[Path]:
    """The files that may be those of the base, by the name that the card tells."""
    base = checkpoint.card.base
    if base is None or base.hash is None or not (name := Path(base.file).name):
        return []
    folders = Path(base.file).parent, Path(checkpoint.path).parent, Path(), Path('checkpoints')
    return [*filter(os.path.isfile, (folder / name for folder in folders))]
