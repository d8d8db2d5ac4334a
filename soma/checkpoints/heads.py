"""Fine-tuning to other classes: a checkpoint without its heads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from mmengine.logging import print_log
from torch import Tensor, nn

from ..io.files import CheckpointError, InputError

# Parts of a model that know its classes; DINO's queries of known boxes have one for each, too.
_HEADS = re.compile(r'(?!rpn_head)(\w+_head|dn_query_generator)\.')


def choose_heads(
    model: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike, load: bool
) -> dict[str, Tensor]:
    """Choose the heads to start a training with, those of a file or the model's own.

    Args:
        model: The model.
        tensors: What the file holds, by name.
        path: The file.
        load: Whether to take the file's.

    Returns:
        The tensors to load.

    Raises:
        CheckpointError: If the file's heads are others than the model's, or all that it holds.
        InputError: If the model has no heads that it could keep.
    """
    heads = {name: value for name, value in model.state_dict().items() if _HEADS.match(name)}
    if load:
        _check_heads(heads, tensors, path)
        return dict(tensors)
    rest = {name: value for name, value in tensors.items() if not _HEADS.match(name)}
    if not heads:
        raise InputError('load_heads=False: the model has no head, leave it out')
    if not rest:
        raise CheckpointError(f'{path} holds heads only, which load_heads=False leaves out')
    names = ', '.join(dict.fromkeys(name.partition('.')[0] for name in heads))
    print_log(f'load_heads=False: {names} as new, all else from {path}', logger='current')
    return {**rest, **heads}


def _check_heads(
    heads: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: str | os.PathLike
) -> None:
    there = {name: value for name, value in tensors.items() if _HEADS.match(name)}
    for name in {**there, **heads}:
        shapes = [list(s[name].shape) if name in s else 'missing' for s in (there, heads)]
        if shapes[0] != shapes[1]:
            raise CheckpointError(
                f'{path} has other heads than the model, of other classes perhaps: {name} is '
                f'{shapes[0]} there and {shapes[1]} in the model; load_heads=False loads all but '
                'the heads'
            )
