"""From any kind of checkpoint to the weights of a plain model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from ..adapters import ADAPTERS, as_trained, check_base, from_release, merge_state
from ..io.checkpoint_files import (
    CheckpointError,
    card_of,
    load_strictly,
    read_checkpoint,
    state_dict_of,
)
from ..models.backbones.dinov2_weights import convert_dinov2, public_names, read_pretrained
from ..models.build import plain_model
from .card import card_from


class Checkpoint(NamedTuple):
    """A checkpoint of any kind, under the names of this package.

    Attributes:
        state: Tensors by name. Weights of the base may be missing.
        card: What is known of it, see docs/checkpoints.md.
        path: Its file.
    """

    state: dict[str, Tensor]
    card: dict
    path: str | os.PathLike

    @property
    def scale(self) -> float:
        """``s = alpha / rank`` of its adapter."""
        return self.card['alpha'] / self.card['rank'] if 'alpha' in self.card else 1.0

    @property
    def layers(self) -> list[str]:
        """Names of the layers whose weights its adapter changes."""
        return list(self.card['targets']) if self.folds else []

    @property
    def folds(self) -> bool:
        """Whether it has an adapter that can be folded into the weights."""
        method = self.card.get('method')
        return bool(method) and getattr(ADAPTERS.get(method), 'folds', True)

    @property
    def prefix(self) -> str:
        """Where the base stands in its model."""
        base = self.card.get('base') or self.card.get('merged', {}).get('base', {})
        return base.get('prefix', 'backbone.')


def open_checkpoint(
    path: str | os.PathLike, part: str | None = None, alpha: float | None = None
) -> Checkpoint:
    """Read a checkpoint of this package, of SoMA's original release or of mmengine.

    Args:
        path: The file.
        part: ``'state_dict'`` or ``'ema_state_dict'``; whichever there is, in this order, if None.
        alpha: Scale times rank of an adapter whose file does not say; by default the rank, as in
            the release.

    Returns:
        Its tensors and a card; an adapter without a card gets one.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be used, or ``alpha`` is given and its card has one.
    """
    content = read_checkpoint(path, mmap=True)
    card = card_of(content)
    if alpha is not None and 'alpha' in card:
        raise CheckpointError(f'{path} says that its alpha is {card["alpha"]}: leave --alpha out')
    state = state_dict_of(content, path, part)
    if part == 'ema_state_dict' and 'state_dict' in content:  # which has what does not train
        state = {**state_dict_of(content, path, 'state_dict'), **state}
    try:
        state = from_release(state)
        if not card.get('method'):
            card = {**card, **card_from(state, alpha)}
    except ValueError as error:
        raise CheckpointError(f'{path}: {error}') from error
    meta = content.get('meta')
    if isinstance(meta, Mapping):
        dataset = meta.get('dataset_meta') or {}
        found = {
            'classes': dataset.get('classes'),
            'palette': dataset.get('palette'),
            'config': meta.get('cfg'),
            'iteration': meta.get('iter'),
        }
        card = {**{name: value for name, value in found.items() if value is not None}, **card}
    return Checkpoint(state, card, path)


def meta_of(card: Mapping) -> dict:
    """The ``meta`` of a checkpoint; the classes are also where OpenMMLab's tools look for them."""
    meta = {'soma': dict(card)}
    if 'classes' in card:
        meta['dataset_meta'] = {'classes': card['classes'], 'palette': card.get('palette')}
    return meta


def join_base(
    checkpoint: Checkpoint, backbone: str | os.PathLike, force: bool = False
) -> dict[str, Tensor]:
    """Add the pretrained weights that a checkpoint lacks.

    Args:
        checkpoint: An adapter or training checkpoint; one with all its weights is left as it is.
        backbone: File of the pretrained weights: the converted one, or the published one that is
            converted now.
        force: Accept other weights than those that the adapter was trained on.

    Returns:
        All tensors by name, the adapter not folded.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file holds other pretrained weights, or of another size.
    """
    base = read_base(checkpoint, backbone, force)
    return {**{checkpoint.prefix + n: value for n, value in base.items()}, **checkpoint.state}


def read_base(
    checkpoint: Checkpoint, backbone: str | os.PathLike, force: bool = False
) -> dict[str, Tensor]:
    """Read the pretrained weights of a checkpoint, in the size that its card asks for.

    Args:
        checkpoint: As for :func:`join_base`.
        backbone: As for :func:`join_base`.
        force: As for :func:`join_base`.

    Returns:
        Tensors by their name in the backbone, those that have trained included.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file holds other pretrained weights, or of another size.
    """
    state, card, path = checkpoint
    wanted = card.get('base', {})
    base = read_pretrained(backbone)
    prefix = _prefix_of(base, wanted.get('names', ['cls_token', 'pos_embed']))
    base = public_names({n[len(prefix) :]: v for n, v in base.items() if n.startswith(prefix)})
    base.pop('mask_token', None)
    if 'names' in wanted:  # the file may hold more, such as a classifier
        if absent := [name for name in wanted['names'] if name not in base]:
            raise CheckpointError(f'{backbone} lacks pretrained weights of {path}: {absent[:3]}')
        kept = {*wanted['names'], *(n.removeprefix(checkpoint.prefix) for n in state)}
        base = {name: value for name, value in base.items() if name in kept}
    if 'img_size' in wanted:
        try:
            interp = wanted.get('pos_embed_interp', 'exact')
            base = convert_dinov2(base, wanted['img_size'], wanted['patch_size'], interp)
        except ValueError as error:
            raise CheckpointError(f'{backbone}: {error}') from error
    base = as_trained(base, card)
    missing = {name: value for name, value in base.items() if checkpoint.prefix + name not in state}
    if missing:
        check_base(card, missing, backbone, path, force)
    return base


def _prefix_of(state: Mapping[str, Tensor], names: Sequence[str]) -> str:
    """What all the names begin with in a file of a whole model; '' if they stand there as such."""
    found = {key.removesuffix(names[0]) for key in state if key.endswith(names[0])}
    fitting = (p for p in sorted(found, key=len) if all(p + name in state for name in names))
    return next(fitting, '')


def plain_weights(
    checkpoint: Checkpoint, backbone: str | os.PathLike | None = None, force: bool = False
) -> dict[str, Tensor]:
    """Make the state dict of a plain model.

    Args:
        checkpoint: Of any kind.
        backbone: File of the pretrained weights, where it has none.
        force: As for :func:`join_base`.

    Returns:
        Tensors by name, adapters folded in, but for Rein, whose tensors stay beside the weights.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the base is missing or does not fit.
    """
    if backbone is None and _lacks_weights(checkpoint):
        raise no_base(checkpoint)
    state = checkpoint.state if backbone is None else join_base(checkpoint, backbone, force)
    try:
        return merge_state(state, checkpoint.scale)
    except ValueError as error:
        raise CheckpointError(f'{checkpoint.path}: {error}') from error


def load_plain(
    model: nn.Module,
    path: str | os.PathLike,
    backbone: str | os.PathLike | None = None,
    force: bool = False,
) -> dict:
    """Load any checkpoint into a plain model, its adapter folded into the weights.

    Args:
        model: A model without adapters but Rein, possibly wrapped for several processes or for
            test-time augmentation.
        path: As for :func:`plain_weights`.
        backbone: File of the pretrained weights; read only where ``path`` lacks them.
        force: As for :func:`join_base`.

    Returns:
        The card.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If a file cannot be used or does not fit the model.
    """
    model = plain_model(model)
    checkpoint = open_checkpoint(path)
    if not _lacks_base(checkpoint, model):
        backbone = None
    elif backbone is None:
        raise no_base(checkpoint)
    load_strictly(model, plain_weights(checkpoint, backbone, force), path)
    return checkpoint.card


def check_folds(checkpoint: Checkpoint, task: str) -> None:
    """Check that an adapter is a change of weights.

    Args:
        checkpoint: Of any kind; one without an adapter is fine.
        task: What it is needed for, for the message.

    Raises:
        CheckpointError: If it is not.
    """
    if checkpoint.card.get('method') and not checkpoint.folds:
        raise CheckpointError(
            f'{checkpoint.path} is of {checkpoint.card["method"]}, which is no change of weights: '
            f'it cannot be {task}. Testing, images and ONNX take the file as it is'
        )


def no_base(checkpoint: Checkpoint) -> CheckpointError:
    """The error that asks for the file of a checkpoint's pretrained weights."""
    known = checkpoint.card.get('base', {}).get('file')
    hint = f' (in training it was {known})' if known else ''
    return CheckpointError(
        f'{checkpoint.path} holds no pretrained weights: name their file with --backbone{hint}'
    )


def _lacks_weights(checkpoint: Checkpoint) -> bool:
    """Whether adapted layers are without their weights."""
    return any(f'{layer}.weight' not in checkpoint.state for layer in checkpoint.layers)


def _lacks_base(checkpoint: Checkpoint, model: nn.Module) -> bool:
    """Whether weights are missing that a file of pretrained weights may supply."""
    if _lacks_weights(checkpoint):
        return True
    missing = [name for name in model.state_dict() if name not in checkpoint.state]
    without_base = 'base' in checkpoint.card or checkpoint.card.get('method')
    return bool(without_base) and any(n.startswith(checkpoint.prefix) for n in missing)
