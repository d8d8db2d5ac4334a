"""The cards of models: their adapters and their pretrained weights."""

from __future__ import annotations

import os
from dataclasses import replace

from torch import nn

from ..io.files import CheckpointError
from ..utils.version import __version__
from .base import Adapter, Recognised
from .blocks import block_name, number_blocks
from .card import BaseCard, Card, read_card
from .pretrained import base_of, fingerprint
from .saved import saved_modules


def adapter_card(model: nn.Module) -> Card:
    """Describe the adapters of a model, so that ``inject_adapter`` can make them again.

    Args:
        model: Any module.

    Returns:
        Method, settings, targets, start block, groups and modules that train whole; without
        adapters, no method.

    Raises:
        ValueError: If the adapters differ in method or options.
    """
    card = Card(soma_version=__version__)
    adapters = {name: m for name, m in model.named_modules() if isinstance(m, Adapter)}
    if not adapters:
        return card
    kinds = [{'method': m.method, **m.settings(), **m.shared} for m in adapters.values()]
    if different := [kind for kind in kinds if kind != kinds[0]]:
        raise ValueError(f'the adapters of a model differ: {kinds[0]}, {different[0]}')
    method, settings = kinds[0].pop('method'), kinds[0]
    train_bias = any(getattr(layer, 'train_bias', False) for layer in adapters.values())
    groups = {
        target: layer.groups if isinstance(layer, nn.Linear) else 1
        for name, layer in adapters.items()
        for target in layer.targets(name)
    }
    numbers = number_blocks(model)
    return replace(
        card.with_adapter(method, Recognised(groups, settings, train_bias)),
        start_block=min(numbers.get(block_name(target), 0) for target in groups),
        modules_to_save=tuple(saved_modules(model)),
    )


def base_card(model: nn.Module, prefix: str = '', file: str = '') -> BaseCard:
    """Describe the base of a model, so that other weights in its place are noticed.

    Args:
        model: Any module.
        prefix: Where the base stands in it, such as ``'backbone.'``.
        file: Where the base was read from.

    Returns:
        With what the module at the prefix tells of itself (``describe()``), or else the ``names``
        of the base: a file may hold more.
    """
    module, base = model.get_submodule(prefix.rstrip('.')), base_of(model, prefix)
    about = module.describe() if hasattr(module, 'describe') else {'names': list(base)}
    data = {'prefix': prefix, 'file': file, **fingerprint(base), **about}
    return read_card({'base': data}, type(model).__name__).base


def grid_of(model: nn.Module, prefix: str) -> tuple[int, ...] | None:
    """Height and width in patches of the position embedding of a part of a model, if it says."""
    module = dict(model.named_modules()).get(prefix.rstrip('.'))
    about = module.describe() if hasattr(module, 'describe') else {}
    return BaseCard(img_size=about.get('img_size'), patch_size=about.get('patch_size')).grid


def check_adapter(model: nn.Module, card: Card, path: str | os.PathLike) -> None:
    """Compare what a file says of its model with a model: the adapter, if both have one; the grid.

    Args:
        model: Any module.
        card: The file's.
        path: The file, for the message.

    Raises:
        CheckpointError: If method or options differ, since shapes alone would not tell alpha; or if
            the positions are of another grid, perhaps with as many patches.
    """
    grid = grid_of(model, card.prefix)
    if None not in (grid, card.grid) and grid != card.grid:
        raise CheckpointError(
            f'{path} has positions of {card.grid[0]} x {card.grid[1]} patches, the model '
            f'{grid[0]} x {grid[1]}: give the backbone the img_size that the file was made with'
        )
    if card.method is None or (model_card := adapter_card(model)).method is None:
        return
    start_only = model_card.adapter.start_only
    both = [k for k in model_card.settings if k in card.settings and k not in start_only]
    settings = [{name: c.settings[name] for name in both} for c in (card, model_card)]
    if card.method != model_card.method or settings[0] != settings[1]:
        file_text, model_text = (
            ' of '.join(filter(None, [c.method, ' and '.join(f'{k} {v}' for k, v in s.items())]))
            for c, s in zip((card, model_card), settings, strict=True)
        )
        raise CheckpointError(f'{path} has an adapter {file_text}, the model {model_text}')
