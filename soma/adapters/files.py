"""Adapter files: what trained, with a card that says what it is and which base it belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from ..io.checkpoint_files import card_of, read_checkpoint, state_dict_of, write_checkpoint
from ..io.files import CheckpointError
from ..io.hub import find_adapter
from .base import Adapter, rename
from .card import check_tensors, read_card
from .describe import adapter_card, base_card, check_adapter
from .from_data import waiting_layers
from .inject import inject_adapter
from .lending import named_layers
from .pretrained import check_base, without_base
from .report import AdapterReport, adapter_report
from .sharded import gather, is_main, is_sharded, refuse_sharded
from .split import split_together


def save_adapter(
    model: nn.Module, path: str | os.PathLike, prefix: str = '', card: Mapping | None = None
) -> None:
    """Write all of a model but its base, with a card.

    Of a sharded model (``fully_shard``) the main process writes it; all must call this.

    Args:
        model: A model with adapters.
        path: File to write, ``*.safetensors`` or ``*.pth``.
        prefix: Where the base stands in the model, such as ``'backbone.'``; what is frozen outside
            of it is written too.
        card: Plain data to add to the card.

    Raises:
        ValueError: If the model has no adapter, or one that has no start yet.
    """
    model_card = adapter_card(model)
    if model_card.method is None:
        raise ValueError(f'{type(model).__name__} has no adapter to save')
    if waiting := waiting_layers(model):
        raise ValueError(
            f'{len(waiting)} layers, such as {next(iter(waiting))}, wait for a start from data: '
            'there is nothing to save (soma.adapters.start_from_data)'
        )
    model_card = replace(model_card, base=base_card(model, prefix))
    meta = {'soma': {**model_card.to_dict(), **(card or {})}}
    content = {'state_dict': gather(without_base(model, prefix)), 'meta': meta}
    # Asked of the parameters: the state dict may be gathered already.
    if is_main() or not any(map(is_sharded, model.parameters())):
        write_checkpoint(content, path)


def load_adapter(
    model: nn.Module, path: str | os.PathLike, part: str = '', force: bool = False
) -> AdapterReport:
    """Put an adapter file onto the pretrained weights in a model.

    Args:
        model: A plain model with the pretrained weights, or one with the same adapters; changed in
            place.
        path: A file of :func:`save_adapter` or of ``tools/extract_soma_weights.py``, or the name of
            a model on the Hugging Face Hub, ``'user/name'``.
        part: Name of the part of the file's model that ``model`` is, such as ``'backbone'``; the
            rest of the file is left out.
        force: Load even if these are not the weights that the adapter was trained on.

    Returns:
        A report of what is adapted; its ``str`` is a table.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file holds no adapter, does not fit the model, or was trained on
            other pretrained weights.
        InputError: If it cannot be fetched.
        ValueError: If the model is sharded.
    """
    refuse_sharded(model, 'load the adapter before')
    path = find_adapter(path)
    content = read_checkpoint(path)
    card, state = read_card(card_of(content), path), rename(state_dict_of(content, path), True)
    if card.method is None:
        raise CheckpointError(f'{path} has no card of an adapter')
    check_tensors(card, state, path)
    prefix = part and part.rstrip('.') + '.'
    state = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    targets = [n[len(prefix) :] for n in card.targets if n.startswith(prefix)]
    saved = [n[len(prefix) :] for n in card.modules_to_save if n.startswith(prefix)]
    if not targets or not {*targets, *saved} <= named_layers(model).keys():
        raise CheckpointError(
            f'{path} does not fit {type(model).__name__} with part={part!r}: its layers are '
            f'{card.targets[0]} ... ({len(card.targets)})'
        )

    check_adapter(model, card, path)
    base_prefix = card.prefix.removeprefix(prefix)
    base = {
        name[len(base_prefix) :]: parameter
        for name, parameter in model.named_parameters()
        if name.startswith(base_prefix) and name not in state
    }
    if base:  # else the file has its own
        check_base(card, base, type(model).__name__, path, force)
    if not any(isinstance(module, Adapter) for module in model.modules()):
        try:
            config = replace(card, modules_to_save=saved).adapter_config(map(re.escape, targets))
            inject_adapter(model, config, split=False)
        except ValueError as error:
            raise CheckpointError(f'{path} does not fit the model: {error}') from error
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    wrong = [name for name, value in state.items() if shapes.get(name) != value.shape]
    if wrong:
        raise CheckpointError(f'{path} does not fit the model: {wrong[:3]} ({len(wrong)})')
    with split_together(model):
        model.load_state_dict(state, strict=False)
    return adapter_report(model)
