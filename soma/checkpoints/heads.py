"""Fine-tuning to other classes: a checkpoint without its heads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mmengine.logging import print_log
from torch import Tensor, nn

from ..io.files import CheckpointError, InputError
from .checkpoint import Checkpoint

# Parts of a model that know its classes; DINO's queries of known boxes have one for each, too.
_HEADS = re.compile(r'(?!rpn_head)(\w+_head|dn_query_generator)\.')


def choose_heads(
    model: nn.Module, checkpoint: Checkpoint, load: bool, classes: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Choose the heads to start a training with, those of a file or the model's own.

    Args:
        model: The model.
        checkpoint: The file.
        load: Whether to take the file's.
        classes: Names of the model's classes, for the message.

    Returns:
        The tensors to load.

    Raises:
        CheckpointError: If the file's heads are others than the model's, or all that it holds.
        InputError: If the model has no heads that it could keep.
    """
    tensors, path = checkpoint.tensors, checkpoint.path
    heads = _heads(model.state_dict())
    if load:
        _check_heads(heads, checkpoint, classes)
        return dict(tensors)
    rest = {name: value for name, value in tensors.items() if not _HEADS.match(name)}
    if not heads:
        raise InputError('load_heads=False: the model has no head, leave it out')
    if not rest:
        raise CheckpointError(f'{path} holds heads only, which load_heads=False leaves out')
    names = ', '.join(dict.fromkeys(name.partition('.')[0] for name in heads))
    print_log(f'load_heads=False: {names} as new, all else from {path}', logger='current')
    return {**rest, **heads}


def has_other_heads(model: nn.Module, checkpoint: Checkpoint) -> bool:
    """Whether a tensor of a head has another shape in a checkpoint than in a model."""
    heads, there = _heads(model.state_dict()), checkpoint.tensors
    return any(name in there and there[name].shape != v.shape for name, v in heads.items())


def check_classes(checkpoint: Checkpoint, classes: Sequence[str] | None) -> None:
    """Raise a ``CheckpointError`` if the card tells another number of classes than a model's."""
    there, here = checkpoint.card.classes or (), classes or ()
    if there and len(there) != len(here):
        theirs, model = (', '.join(c[:5]) + ', ...' * (len(c) > 5) for c in (there, here))
        model = f'{len(here)} ({model})' if here else 'another number'
        raise CheckpointError(
            f'{checkpoint.path} predicts {len(there)} classes ({theirs}), the config {model}: take '
            'its config, leave the config out (predict), or start with load_heads=False (train)'
        )


def _heads(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if _HEADS.match(name)}


def _check_heads(
    heads: Mapping[str, Tensor], checkpoint: Checkpoint, classes: Sequence[str] | None
) -> None:
    there = _heads(checkpoint.tensors)
    for name in {**there, **heads}:
        shapes = [list(s[name].shape) if name in s else 'missing' for s in (there, heads)]
        if shapes[0] != shapes[1]:
            check_classes(checkpoint, classes)
            raise CheckpointError(
                f'{checkpoint.path} has other heads than the model, of other classes perhaps: '
                f'{name} is {shapes[0]} there and {shapes[1]} in the model; load_heads=False loads '
                'all but the heads'
            )
