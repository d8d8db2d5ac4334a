"""The one door for checkpoints of any kind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from ..adapters.card import BaseCard, Card, check_tensors, read_card
from ..adapters.pretrained import as_trained, check_base
from ..adapters.release import from_release
from ..adapters.state import by_layer, card_from_tensors, merge_state
from ..io.checkpoint_files import (
    card_of,
    load_strictly,
    read_checkpoint,
    state_dict_of,
    write_checkpoint,
)
from ..io.files import CheckpointError
from ..models.backbones.dinov2_weights import convert_dinov2, public_names, read_pretrained
from ..models.build import plain_model


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of any kind, under the names of this package.

    Attributes:
        tensors: Weights and adapter by name. Weights of the base may be missing.
        card: What is known of it; an adapter without a card gets one.
        path: Its file.
        content: What the file holds, such as the state of an optimizer.
    """

    tensors: dict[str, Tensor]
    card: Card
    path: str | os.PathLike
    content: Mapping = field(default_factory=dict, repr=False)

    @cached_property
    def adapter_names(self) -> set[str]:
        """Names of the adapter's own tensors."""
        if self.card.method is None:
            return set()
        return self.card.adapter.tensor_names(self.tensors, self.card.targets)

    def layers(self) -> dict[str, dict[str, Tensor]]:
        """The adapter's tensors by layer, and there by their name in it."""
        return by_layer(self.tensors, self.adapter_names)

    @property
    def has_weights(self) -> bool:
        """Whether the weights that its adapter changes are in it."""
        weights = (f'{layer}.weight' for layer in self.card.targets)
        return not self.card.folds or all(name in self.tensors for name in weights)

    def renamed(self, pairs: Iterable[tuple[str, str]]) -> Checkpoint:
        """The same with other names: pairs of a regular expression and a replacement."""
        tensors = self.tensors
        for pattern, replacement in pairs:
            tensors = {re.sub(pattern, replacement, key): v for key, v in tensors.items()}
        return replace(self, tensors=tensors)

    def with_base(self, file: str | os.PathLike, force: bool = False) -> Checkpoint:
        """Add the pretrained weights that it lacks.

        Args:
            file: Of the pretrained weights, the converted one or the published one that is
                converted now.
            force: Accept other weights than those that the adapter was trained on.

        Returns:
            A checkpoint with all weights; the adapter is not folded.

        Raises:
            FileNotFoundError: If there is no such file.
            CheckpointError: If it holds other pretrained weights, or of another size.
        """
        weights = {self.card.prefix + n: v for n, v in self.read_base(file, force).items()}
        return replace(self, tensors={**weights, **self.tensors})

    def with_weights(self, weights: Mapping[str, Tensor]) -> Checkpoint:
        """Add the pretrained weights that a model has, by their names in it.

        Raises:
            CheckpointError: If they are others than those that the adapter was trained on.
        """
        base = {name.removeprefix(self.card.prefix): v for name, v in weights.items()}
        self._check_base(base, 'the model', None)
        return replace(self, tensors={**weights, **self.tensors})

    def read_base(self, file: str | os.PathLike, force: bool = False) -> dict[str, Tensor]:
        """Read the pretrained weights of the adapter, as the card asks for them.

        Args:
            file: As for :meth:`with_base`.
            force: As for :meth:`with_base`.

        Returns:
            Tensors by their name in the backbone, those that have trained since included.

        Raises:
            FileNotFoundError: If there is no such file.
            CheckpointError: If it lacks some, holds others or of another size.
        """
        card, base = self.card.base or BaseCard(), read_pretrained(file)
        names = ['cls_token', 'pos_embed'] if card.names is None else card.names
        prefix = _prefix_of(base, names)
        base = public_names({n[len(prefix) :]: v for n, v in base.items() if n.startswith(prefix)})
        base.pop('mask_token', None)
        if card.names is not None:  # the file may hold more, such as a classifier
            if absent := [name for name in names if name not in base]:
                raise CheckpointError(
                    f'{file} lacks pretrained weights of {self.path}: {absent[:3]}'
                )
            kept = {*names, *(n.removeprefix(self.card.prefix) for n in self.tensors)}
            base = {name: value for name, value in base.items() if name in kept}
        if card.img_size is not None:
            interp = card.pos_embed_interp or 'exact'
            try:
                base = convert_dinov2(base, card.img_size, card.patch_size, interp)
            except ValueError as error:
                raise CheckpointError(f'{file}: {error}') from error
        base = as_trained(base, self.card)
        self._check_base(base, file, force)
        return base

    def _check_base(
        self, base: Mapping[str, Tensor], where: str | os.PathLike, force: bool | None
    ) -> None:
        prefix = self.card.prefix
        missing = {n: value for n, value in base.items() if prefix + n not in self.tensors}
        if missing:
            check_base(self.card, missing, where, self.path, force)

    def plain(self) -> dict[str, Tensor]:
        """The state dict of a plain model: adapters folded in, but for those that cannot be.

        Raises:
            CheckpointError: If the base is missing or does not fit.
        """
        if not self.has_weights:
            raise self.no_base()
        try:
            return merge_state(self.tensors, self.card)
        except ValueError as error:
            raise CheckpointError(f'{self.path}: {error}') from error

    def check_folds(self, task: str) -> None:
        """Check that an adapter, if there is one, is a change of weights.

        Args:
            task: What it is needed for, for the message.

        Raises:
            CheckpointError: If it is not.
        """
        if self.card.method is not None and not self.card.folds:
            raise CheckpointError(
                f'{self.path} is of {self.card.method}, which is no change of weights: it cannot '
                f'be {task}. Testing, images and ONNX take the file as it is'
            )

    def no_base(self) -> CheckpointError:
        """The error that asks for the file of the pretrained weights."""
        file = self.card.base and self.card.base.file
        hint = f' (in training it was {file})' if file else ''
        return CheckpointError(
            f'{self.path} holds no pretrained weights: name their file with --base{hint}'
        )


def open_checkpoint(
    path: str | os.PathLike,
    part: str | None = None,
    alpha: float | None = None,
    map_location: str | torch.device = 'cpu',
    mmap: bool = True,
) -> Checkpoint:
    """Read a checkpoint of this package, of a public release or of mmengine.

    Args:
        path: The file.
        part: ``'state_dict'`` or ``'ema_state_dict'``; whichever there is, in this order, if None.
        alpha: Scale times rank of an adapter whose file does not say; by default the rank, as in
            the release.
        map_location: Device of the tensors.
        mmap: Read tensors from the disk only when they are used; the file must stay as it is.

    Returns:
        Its tensors and its card.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be used, its card is wrong or tells of an adapter that it
            lacks, or ``alpha`` is given and its card has one.
    """
    content = read_checkpoint(path, map_location, mmap)
    card = read_card(card_of(content), path)
    if alpha is not None and 'alpha' in card.settings:
        raise CheckpointError(
            f'{path} says that its alpha is {card.settings["alpha"]}: leave --alpha out'
        )
    tensors = state_dict_of(content, path, part)
    if part == 'ema_state_dict' and 'state_dict' in content:  # which has what does not train
        tensors = {**state_dict_of(content, path, 'state_dict'), **tensors}
    try:
        tensors = from_release(tensors)
        if card.method is None:
            adapter = card_from_tensors(tensors, alpha)
            names = ('method', 'settings', 'train_bias', 'targets', 'start_block', 'groups')
            card = replace(card, **{name: getattr(adapter, name) for name in names})
    except ValueError as error:
        raise CheckpointError(f'{path}: {error}') from error
    check_tensors(card, tensors, path)
    card = _with_meta(card, content.get('meta'), path)
    return Checkpoint(tensors, card, path, content if 'state_dict' in content else {})


def write_with_card(tensors: Mapping[str, Tensor], card: Card, path: str | os.PathLike) -> None:
    """Write tensors and their card; the classes are also where OpenMMLab's tools look for them."""
    meta = {'soma': card.to_dict()}
    if card.classes is not None:
        meta['dataset_meta'] = {'classes': card.classes, 'palette': card.palette}
    write_checkpoint({'state_dict': tensors, 'meta': meta}, path)


def load_plain(
    model: nn.Module,
    path: str | os.PathLike,
    base: str | os.PathLike | None = None,
    force: bool = False,
) -> Card:
    """Load any checkpoint into a plain model, its adapter folded into the weights.

    Args:
        model: A model without adapters but those that cannot be folded, possibly wrapped for
            several processes or for test-time augmentation.
        path: The checkpoint.
        base: File of the pretrained weights; read only where ``path`` lacks them.
        force: As for :meth:`Checkpoint.with_base`.

    Returns:
        The card.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If a file cannot be used or does not fit the model.
    """
    model = plain_model(model)
    checkpoint = open_checkpoint(path)
    if _lacks_base(checkpoint, model):
        if base is None:
            raise checkpoint.no_base()
        checkpoint = checkpoint.with_base(base, force)
    load_strictly(model, checkpoint.plain(), path)
    return checkpoint.card


def _lacks_base(checkpoint: Checkpoint, model: nn.Module) -> bool:
    """Whether weights are missing that a file of pretrained weights may supply."""
    if not checkpoint.has_weights:
        return True
    card = checkpoint.card
    missing = [name for name in model.state_dict() if name not in checkpoint.tensors]
    may_lack = card.base is not None or card.method is not None
    return may_lack and any(name.startswith(card.prefix) for name in missing)


def _with_meta(card: Card, meta: object, path: str | os.PathLike) -> Card:
    """Add what mmengine writes of a training, where the card does not say it."""
    if not isinstance(meta, Mapping):
        return card
    dataset = meta.get('dataset_meta') or {}
    known = {name: dataset.get(name) for name in ('classes', 'palette')}
    known |= {'config': meta.get('cfg'), 'iteration': meta.get('iter')}
    said = read_card(known, path)
    return replace(
        card, **{n: getattr(said, n) for n in known if getattr(card, n) is None and known[n]}
    )


def _prefix_of(state: Mapping[str, Tensor], names: Sequence[str]) -> str:
    """What all the names begin with in a file of a whole model; '' if they stand there as such."""
    starts = {key.removesuffix(names[0]) for key in state if key.endswith(names[0])}
    fitting = (p for p in sorted(starts, key=len) if all(p + name in state for name in names))
    return next(fitting, '')
