"""Pretrained weights: which tensors they are, and whether they are those of an adapter."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..io.files import CheckpointError
from .blocks import block_index
from .card import BaseCard, Card
from .sharded import whole

# Resizing these to a model's patches and images rounds differently from machine to machine.
RESIZED = ('pos_embed', 'patch_embed.proj.weight')


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


def without_base(model: nn.Module, prefix: str = '') -> dict[str, Tensor]:
    """All tensors of a model but its base.

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


def fingerprint(base: Mapping[str, Tensor]) -> dict:
    """What :func:`check_base` compares of pretrained weights: ``hash`` and ``samples``."""
    return {'hash': base_hash(base), 'samples': base_samples(base)}


def base_hash(base: Mapping[str, Tensor], exact: bool = False) -> str:
    """A hash of pretrained weights: of names, shapes and values.

    Args:
        base: The tensors that an adapter does not replace, by their name in the base.
        exact: Whether the values of position embedding and patch kernel count too. The same file
            resized on another machine differs in the last bits.

    Returns:
        SHA-256 in hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(base):
        tensor = base[name].detach()
        digest.update(f'{name} {list(tensor.shape)}\n'.encode())
        if exact or not _is_resized(name):
            data = whole(tensor).float().cpu().contiguous().view(-1).view(torch.uint8)
            digest.update(data.numpy())
    return digest.hexdigest()


def base_samples(base: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Some values of what :func:`base_hash` leaves out, to be compared with a tolerance.

    Args:
        base: As for :func:`base_hash`.

    Returns:
        16 values of each such tensor, evenly spread, by its name.
    """
    resized = {name: whole(tensor.detach()) for name, tensor in base.items() if _is_resized(name)}
    return {
        name: tensor.flatten()[:: max(tensor.numel() // 16, 1)][:16].double().tolist()
        for name, tensor in resized.items()
    }


def is_block_matrix(name: str, tensor: Tensor) -> bool:
    """Whether a tensor of a base is one that ``base_dtype`` rounds: the matrices of the blocks.

    Norms, biases and layer scales are small, and what is resized (:data:`RESIZED`) would not be
    rounded the same on each machine.
    """
    return tensor.ndim == 2 and name.endswith('.weight') and block_index(name) is not None


def as_trained(base: Mapping[str, Tensor], card: Card) -> dict[str, Tensor]:
    """Give pretrained weights the values that an adapter was trained on.

    Args:
        base: Tensors by their name in the base.
        card: The adapter's; its base may have been stored in bfloat16.

    Returns:
        Tensors by name, each in the precision that it had.
    """
    if card.base is None or card.base.dtype != 'bfloat16':
        return dict(base)
    return {
        name: value.bfloat16().to(value.dtype) if is_block_matrix(name, value) else value
        for name, value in base.items()
    }


def check_base(
    card: Card,
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
    if force or card.base is None or card.base.hash is None:
        return
    known = _about(card.base)
    advice = 'give it those' + ('' if force is None else ', or force it (force=True, --force)')
    base = as_trained(base, card)
    if (digest := base_hash(base)) != card.base.hash:
        rounded = any(value.dtype == torch.bfloat16 for value in base.values())
        raise CheckpointError(
            f'{path} was trained on the pretrained weights {card.base.hash[:12]}{known}, but '
            f'{where} holds {digest[:12]}{" in bfloat16 (base_dtype)" if rounded else ""}: {advice}'
        )
    for name, values in base_samples(base).items():
        trained_on = card.base.samples.get(name, ())
        same_size = len(values) == len(trained_on)
        if not same_size or not np.allclose(values, trained_on, rtol=1e-3, atol=1e-4):
            raise CheckpointError(
                f'{path} was trained on pretrained weights{known} with another {name} '
                f'than {where} has, perhaps resized in another way: {advice}'
            )


def _about(base: BaseCard) -> str:
    """What a card says of pretrained weights, in brackets."""
    names = ('arch', 'img_size', 'patch_size', 'dtype', 'file')
    known = [f'{n} {value}' for n in names if (value := getattr(base, n))]
    return f' ({", ".join(known)})' if known else ''


def _is_resized(name: str) -> bool:
    return name.removeprefix('backbone.') in RESIZED
