"""From any kind of checkpoint to the weights of a plain model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from ..adapters import adapted_layers, base_hash, check_base, from_release, merge_state
from ..adapters.report import block_index
from ..engine.card import plain_model
from ..files import (
    CheckpointError,
    card_of,
    load_strictly,
    read_checkpoint,
    read_state_dict,
    state_dict_of,
)
from ..models.backbones.dinov2_weights import convert_dinov2, public_names

PUBLISHED_PATCH = 14


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
        return self.card['alpha'] / self.card['rank'] if self.card.get('method') else 1.0

    @property
    def prefix(self) -> str:
        """Where the base stands in its model."""
        return self.card.get('base', {}).get('prefix', 'backbone.')


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
    try:
        state = from_release(state_dict_of(content, path, part))
        layers = adapted_layers(state)
    except ValueError as error:
        raise CheckpointError(f'{path}: {str(error).removeprefix(f"{path}: ")}') from error
    if alpha is not None and 'alpha' in card:
        raise CheckpointError(f'{path} says that its alpha is {card["alpha"]}: leave --alpha out')
    if layers and 'alpha' not in card:
        card = {**_card_from(layers, state, alpha), **card}
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


def _card_from(layers: list[str], state: Mapping[str, Tensor], alpha: float | None) -> dict:
    """The card of an adapter that came without one, from its tensors."""
    groups = {name: len(state[f'{name}.A']) // state[f'{name}.B'].shape[1] for name in layers}
    ranks = {state[f'{name}.B'].shape[1] for name in layers}
    if len(ranks) > 1:
        raise CheckpointError(f'its layers have ranks {sorted(ranks)}; one is expected')
    (rank,) = ranks
    return {
        'method': 'SoMA',
        'rank': rank,
        'alpha': float(rank if alpha is None else alpha),
        'component': 'minor',
        'train_bias': True,
        'targets': layers,
        'start_block': min(block_index(name) or 0 for name in layers),
        'groups': {n.rpartition('.')[2]: count for n, count in groups.items() if count > 1},
    }


def join_base(
    checkpoint: Checkpoint, backbone: str | os.PathLike, force: bool = False
) -> dict[str, Tensor]:
    """Add the base weights that a checkpoint lacks.

    Args:
        checkpoint: An adapter or training checkpoint; one with all its weights is left as it is.
        backbone: File of the base weights: the converted one, or the published one that is
            converted now.
        force: Accept other weights than those that the adapter was trained on.

    Returns:
        All tensors by name, the adapter not folded.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file holds other base weights, or of another size.
    """
    base = read_base(checkpoint, backbone, force)
    return {**{checkpoint.prefix + n: value for n, value in base.items()}, **checkpoint.state}


def read_base(
    checkpoint: Checkpoint, backbone: str | os.PathLike, force: bool = False
) -> dict[str, Tensor]:
    """Read the base weights of a checkpoint, in the size that its card asks for.

    Args:
        checkpoint: As for :func:`join_base`.
        backbone: As for :func:`join_base`.
        force: As for :func:`join_base`.

    Returns:
        Tensors by their name in the backbone, those that have trained included.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file holds other base weights, or of another size.
    """
    base = _in_its_size(checkpoint, backbone, force)
    state, card, path = checkpoint
    missing = {name: value for name, value in base.items() if checkpoint.prefix + name not in state}
    if missing:
        check_base(card, base_hash(missing), backbone, path, force)
    return base


def _in_its_size(checkpoint: Checkpoint, backbone: str | os.PathLike, force: bool) -> dict:
    """Read base weights in the size that a checkpoint's card asks for."""
    wanted = checkpoint.card.get('base', {})
    base = public_names(read_state_dict(backbone))
    base.pop('mask_token', None)
    try:
        if 'img_size' not in wanted:
            return base
        converted = convert_dinov2(base, wanted['img_size'], wanted['patch_size'])
    except ValueError as error:
        raise CheckpointError(f'{backbone}: {error}') from error
    resized = [key for key in base if converted[key].shape != base[key].shape]
    if resized and base['patch_embed.proj.weight'].shape[-1] != PUBLISHED_PATCH and not force:
        raise CheckpointError(
            f'{checkpoint.path} was trained on {wanted["img_size"]} pixels in patches of '
            f'{wanted["patch_size"]}, but {backbone} is converted to another size '
            f'({resized[0]} is {list(base[resized[0]].shape)}): convert the published file anew'
        )
    return converted


def plain_weights(
    path: str | os.PathLike, backbone: str | os.PathLike | None = None, force: bool = False
) -> tuple[dict[str, Tensor], dict]:
    """Read any checkpoint as the state dict of a plain model.

    Args:
        path: Training checkpoint, adapter file, merged file, or one of the original release.
        backbone: File of the base weights, where ``path`` has none.
        force: As for :func:`join_base`.

    Returns:
        The state dict, adapters folded in, and the card.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If a file cannot be used, or the base does not fit.
    """
    checkpoint = open_checkpoint(path)
    state = checkpoint.state if backbone is None else join_base(checkpoint, backbone, force)
    return _merged(state, checkpoint), checkpoint.card


def _merged(state: Mapping[str, Tensor], checkpoint: Checkpoint) -> dict[str, Tensor]:
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
        model: A model without adapters, possibly wrapped for several processes or for test-time
            augmentation.
        path: As for :func:`plain_weights`.
        backbone: File of the base weights; read only where ``path`` lacks them.
        force: As for :func:`join_base`.

    Returns:
        The card.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If a file cannot be used or does not fit the model.
    """
    model = plain_model(model)
    checkpoint = open_checkpoint(path)
    state = checkpoint.state
    if _lacks_base(checkpoint, model):
        if backbone is None:
            raise CheckpointError(f'{path} holds no base weights: name their file with --backbone')
        state = join_base(checkpoint, backbone, force)
    load_strictly(model, _merged(state, checkpoint), path)
    return checkpoint.card


def _lacks_base(checkpoint: Checkpoint, model: nn.Module) -> bool:
    """Whether weights are missing that a file of base weights may supply."""
    layers = adapted_layers(checkpoint.state)
    if any(f'{layer}.weight' not in checkpoint.state for layer in layers):
        return True
    missing = [name for name in model.state_dict() if name not in checkpoint.state]
    return 'base' in checkpoint.card and any(n.startswith(checkpoint.prefix) for n in missing)
