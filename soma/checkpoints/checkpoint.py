"""A checkpoint of any kind, and what becomes of it with its pretrained weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from ..adapters.card import BaseCard, Card
from ..adapters.pretrained import as_trained, check_base
from ..adapters.state import by_layer, merge_state
from ..io.files import CheckpointError
from ..models.backbones.dinov2_weights import convert_dinov2, public_names, read_pretrained


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of any kind, under the names of this package.

    Attributes:
        tensors: Weights and adapter by name. Weights of the base may be missing.
        card: What is known of it; an adapter without a card gets one.
        path: Its file.
        content: All that a file to train on holds, such as the state of an optimizer.
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

    @cached_property
    def layers(self) -> dict[str, dict[str, Tensor]]:
        """The adapter's tensors by layer, and there by their name in it."""
        return by_layer(self.tensors, self.adapter_names)

    @property
    def has_weights(self) -> bool:
        """Whether all weights that its adapter changes are in it."""
        return not self.card.folds or all(self._has_weight(name) for name in self.card.targets)

    def _has_weight(self, layer: str) -> bool:
        return f'{layer}.weight' in self.tensors

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
        card, (base, grid) = self.card.base or BaseCard(), read_pretrained(file)
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
                base = convert_dinov2(base, card.img_size, card.patch_size, interp, grid)
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
        if self.card.folds and not any(map(self._has_weight, self.card.targets)):
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


def _prefix_of(state: Mapping[str, Tensor], names: Sequence[str]) -> str:
    """What all the names begin with in a file of a whole model; '' if they stand there as such."""
    starts = {key.removesuffix(names[0]) for key in state if key.endswith(names[0])}
    fitting = (p for p in sorted(starts, key=len) if all(p + name in state for name in names))
    return next(fitting, '')
