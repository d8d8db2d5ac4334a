"""Tensors of a file are checked before they are used."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from .files import CheckpointError

_LONGEST = 1000  # no tensor's name has more characters
_SMALL = 2**24  # bytes; what is no larger may be said in fewer, as by a tensor that was expanded


def check_content(
    content: object, path: str | os.PathLike, size: float = math.inf, finite: bool = True
) -> None:
    """Check the tensors that a file holds.

    Args:
        content: What it holds.
        path: The file, for the message.
        size: In bytes; no tensor is larger.
        finite: Whether to check the values too, which reads them all.

    Raises:
        CheckpointError: If one has NaN or infinity, is larger, or has a name that cannot be shown.
    """
    tensors = dict(named_tensors(content))
    for name, value in tensors.items():
        if not name.isprintable() or len(name) > _LONGEST:
            raise CheckpointError(f'{path} has a tensor of a useless name: {ascii(name)[:60]}')
        if value.layout != torch.strided:
            raise CheckpointError(f'{path} holds {name} as {value.layout}, not as it is')
        if value.is_meta or value.nbytes > max(size, _SMALL):
            raise CheckpointError(
                f'{path} is damaged: it says that {name} is {list(value.shape)}, and has no such '
                'values'
            )
    if finite:
        check_finite(tensors, path)


def named_tensors(content: object) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in dicts of dicts, with their keys, joined by dots."""
    remaining, seen = [('', content)], set()
    while remaining:
        name, value = remaining.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, Mapping) and id(value) not in seen:
            seen.add(id(value))  # it may be in itself
            place = name and f'{name}.'
            remaining += reversed([(f'{place}{key}', entry) for key, entry in value.items()])


def check_finite(tensors: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Check that tensors have neither NaN nor infinity.

    Args:
        tensors: By name.
        path: The file that they are from, for the message.

    Raises:
        CheckpointError: If one has.
    """
    if wrong := [name for name, value in tensors.items() if not _is_finite(value)]:
        raise CheckpointError(
            f'{path} has NaN or infinity in {some_of(wrong)}: take a file from before the training '
            'went wrong, or get it again'
        )


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    # The sum takes a tenth of the time. It may overflow where all values are fine.
    total = tensor.sum(dtype=torch.float32 if tensor.itemsize < 4 else None)
    if torch.isfinite(total):
        return True
    return bool(torch.isfinite(tensor.float() if tensor.itemsize < 2 else tensor).all())


def some_of(names: Sequence[str]) -> str:
    """The first few of a list, and how many there are."""
    return ', '.join(names[:3]) + (f', ... ({len(names)})' if len(names) > 3 else '')
