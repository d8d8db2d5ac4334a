"""Adapter files: what trained, with a card that says what it is and which base it belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor, nn

from ..io.checkpoint_files import (
    CheckpointError,
    card_of,
    read_checkpoint,
    state_dict_of,
    write_checkpoint,
)
from ..utils.version import __version__
from .config import ADAPTERS
from .inject import inject_adapter
from .layer import Adapter
from .report import AdapterReport, adapter_report, block_index
from .state import as_trained, base_hash, base_samples


def adapter_card(model: nn.Module) -> dict:
    """Describe the adapters of a model, so that :func:`inject_adapter` can make them again.

    Args:
        model: Any module.

    Returns:
        ``method``, the options of its config, ``targets`` (the names of the layers or blocks),
        ``start_block`` and ``groups``; only ``method``, None, without adapters.

    Raises:
        ValueError: If the adapters differ in method or options.
    """
    adapters = {name: m for name, m in model.named_modules() if isinstance(m, Adapter)}
    if not adapters:
        return {'method': None}
    kinds = [{'method': m.method, **m.settings()} for m in adapters.values()]
    if different := [kind for kind in kinds if kind != kinds[0]]:
        raise ValueError(f'the adapters of a model differ: {kinds[0]}, {different[0]}')
    train_bias = any(getattr(layer, 'train_bias', False) for layer in adapters.values())
    groups = {
        target: layer.groups if isinstance(layer, nn.Linear) else 1
        for name, layer in adapters.items()
        for target in layer.targets(name)
    }
    return layers_card(groups, train_bias=train_bias, **kinds[0])


def layers_card(groups: Mapping[str, int], method: str, train_bias: bool, **settings) -> dict:
    """What :func:`adapter_card` returns, from its parts.

    Args:
        groups: Number of matrices in each layer, by its name.
        method: Type of the adapter.
        train_bias: Whether biases trained.
        **settings: Options of the adapter.
    """
    return {
        'method': method,
        **settings,
        'train_bias': train_bias,
        'targets': list(groups),
        'start_block': min((block_index(name) or 0) for name in groups),
        'groups': {name.rpartition('.')[2]: n for name, n in groups.items() if n > 1},
    }


def base_of(model: nn.Module, prefix: str = '') -> dict[str, Tensor]:
    """The base of a model: its frozen parameters.

    Args:
        model: Any module.
        prefix: Where the base stands in it, such as ``'backbone.'``.

    Returns:
        Tensors by their name below the prefix.
    """
    return {
        name[len(prefix) :]: parameter.detach()
        for name, parameter in model.named_parameters()
        if name.startswith(prefix) and not parameter.requires_grad
    }


def base_card(model: nn.Module, prefix: str = '') -> dict:
    """Describe the base of a model, so that other weights in its place are noticed.

    Args:
        model: Any module.
        prefix: As for :func:`base_of`.

    Returns:
        ``prefix``, ``hash``, ``samples``, and what the module at the prefix tells of itself
        (``describe()``), or else the ``names`` of the base: a file may hold more.
    """
    module, base = model.get_submodule(prefix.rstrip('.')), base_of(model, prefix)
    described = module.describe() if hasattr(module, 'describe') else {'names': list(base)}
    return {'prefix': prefix, **weights_card(base), **described}


def weights_card(base: Mapping[str, Tensor]) -> dict:
    """What :func:`check_base` compares of pretrained weights: ``hash`` and ``samples``."""
    return {'hash': base_hash(base), 'samples': base_samples(base)}


def without_base(model: nn.Module, prefix: str = '') -> dict[str, Tensor]:
    """The state dict of a model without its base.

    Args:
        model: Any module.
        prefix: As for :func:`base_of`.

    Returns:
        Tensors by name: adapters, all that trains, and buffers.
    """
    base = base_of(model, prefix)
    return {
        name: value
        for name, value in model.state_dict().items()
        if not (name.startswith(prefix) and name[len(prefix) :] in base)
    }


def save_adapter(
    model: nn.Module, path: str | os.PathLike, prefix: str = '', card: Mapping | None = None
) -> None:
    """Write all of a model but its base, with a card.

    Args:
        model: A model with adapters.
        path: File to write, ``*.safetensors`` or ``*.pth``.
        prefix: Where the base stands in the model, such as ``'backbone.'``; what is frozen outside
            of it is written too.
        card: Plain data to add to the card.

    Raises:
        ValueError: If the model has no adapter.
    """
    own = adapter_card(model)
    if own['method'] is None:
        raise ValueError(f'{type(model).__name__} has no adapter to save')
    base = base_card(model, prefix)
    card = {'soma_version': __version__, **own, 'base': base, **(card or {})}
    write_checkpoint({'state_dict': without_base(model, prefix), 'meta': {'soma': card}}, path)


def load_adapter(
    model: nn.Module, path: str | os.PathLike, part: str = '', force: bool = False
) -> AdapterReport:
    """Put an adapter file onto the pretrained weights in a model.

    Args:
        model: A plain model with the pretrained weights, or one with the same adapters; changed in
            place.
        path: A file of :func:`save_adapter` or of ``tools/extract_soma_weights.py``.
        part: Name of the part of the file's model that ``model`` is, such as ``'backbone'``; the
            rest of the file is left out.
        force: Load even if these are not the weights that the adapter was trained on.

    Returns:
        A report of what is adapted; its ``str`` is a table.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file holds no adapter, does not fit the model, or was trained on
            other pretrained weights.
    """
    content = read_checkpoint(path)
    card, state = card_of(content), state_dict_of(content, path)
    if not card.get('method'):
        raise CheckpointError(f'{path} has no card of an adapter')
    prefix = part and part.rstrip('.') + '.'
    state = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    targets = [n[len(prefix) :] for n in card['targets'] if n.startswith(prefix)]
    if not targets or any(name not in dict(model.named_modules()) for name in targets):
        raise CheckpointError(
            f'{path} does not fit {type(model).__name__} with part={part!r}: its layers are '
            f'{card["targets"][0]} ... ({len(card["targets"])})'
        )

    check_adapter(model, card, path)
    base_prefix = card['base']['prefix'].removeprefix(prefix)
    base = {
        name[len(base_prefix) :]: parameter
        for name, parameter in model.named_parameters()
        if name.startswith(base_prefix) and name not in state
    }
    if base:  # else the file has its own
        check_base(card, base, type(model).__name__, path, force)
    if not any(isinstance(module, Adapter) for module in model.modules()):
        try:
            inject_adapter(model, config_of(card, targets), split=False)
        except ValueError as error:
            raise CheckpointError(f'{path} does not fit the model: {error}') from error
    own = model.state_dict()
    wrong = [name for name in state if name not in own or own[name].shape != state[name].shape]
    if wrong:
        raise CheckpointError(f'{path} does not fit the model: {wrong[:3]} ({len(wrong)})')
    model.load_state_dict(state, strict=False)
    return adapter_report(model)


def config_of(card: Mapping, targets: Sequence[str]) -> dict:
    """The adapter config that a card tells of.

    Args:
        card: Of an adapter.
        targets: Names of its layers in the model that the config is for.

    Returns:
        What :func:`~soma.adapters.inject_adapter` takes.
    """
    config = {**card, 'targets': [re.escape(name) for name in targets]}
    known = {f.name for f in fields(ADAPTERS[card['method']]) if f.init}
    return {'type': card['method'], **{k: v for k, v in config.items() if k in known}}


def check_adapter(model: nn.Module, card: Mapping, path: str | os.PathLike) -> None:
    """Compare a file's adapter with a model's, if both have one.

    Args:
        model: Any module.
        card: The file's.
        path: The file, for the message.

    Raises:
        CheckpointError: If method or options differ. Shapes alone would not tell alpha.
    """
    own = adapter_card(model)
    if None in (card.get('method'), own['method']):
        return
    theirs, ours = (
        (x['method'], {key: x[key] for key in ('rank', 'alpha', 'ratio') if key in x})
        for x in (card, own)
    )
    if theirs != ours:
        theirs, ours = (
            ' of '.join(filter(None, [method, ' and '.join(f'{k} {v}' for k, v in own.items())]))
            for method, own in (theirs, ours)
        )
        raise CheckpointError(f'{path} has an adapter {theirs}, the model {ours}')


def check_base(
    card: Mapping,
    base: Mapping[str, Tensor],
    where: str | os.PathLike,
    path: str | os.PathLike,
    force: bool | None = None,
) -> None:
    """Compare pretrained weights with those that an adapter was trained on.

    Args:
        card: The adapter's; one without a hash fits any base.
        base: The pretrained weights.
        where: What holds them, for the message.
        path: The adapter's file, for the message.
        force: Accept any; None if the user has no such choice.

    Raises:
        CheckpointError: If they are others.
    """
    wanted = card.get('base', {})
    if force or 'hash' not in wanted:
        return
    told = ('arch', 'img_size', 'patch_size', 'dtype', 'file')
    known = ', '.join(f'{key} {wanted[key]}' for key in told if key in wanted)
    known = f' ({known})' if known else ''
    advice = 'give it those' + ('' if force is None else ', or force it (--force)')
    base = as_trained(base, card)
    found = base_hash(base)
    if found != wanted['hash']:
        rounded = any(value.dtype == torch.bfloat16 for value in base.values())
        raise CheckpointError(
            f'{path} was trained on the pretrained weights {wanted["hash"][:12]}{known}, but '
            f'{where} holds {found[:12]}{" in bfloat16 (base_dtype)" if rounded else ""}: {advice}'
        )
    for name, values in base_samples(base).items():
        if not np.allclose(values, wanted['samples'][name], rtol=1e-3, atol=1e-4):
            raise CheckpointError(
                f'{path} was trained on pretrained weights{known} with another {name} '
                f'than {where} has, perhaps resized in another way: {advice}'
            )
