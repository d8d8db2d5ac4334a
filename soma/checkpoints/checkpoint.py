"""A checkpoint of any kind, and what becomes of it with its pretrained weights."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor, nn

from ..adapters.card import BaseCard, Card
from ..adapters.describe import check_adapter
from ..adapters.lending import parameter_name
from ..adapters.pretrained import as_trained, check_base, fingerprint
from ..adapters.state import by_layer, merge_state, trained_names
from ..io.files import CheckpointError
from ..io.tensors import check_finite
from ..models.backbones.dinov2_names import REQUIRED
from ..models.backbones.dinov2_weights import (
    check_not_converted,
    convert_dinov2,
    read_pretrained,
)
from ..models.backbones.timm_weights import read_timm_file


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

    @cached_property
    def base_names(self) -> set[str]:
        """Names of the pretrained weights in it; of a file without an adapter, of its backbone."""
        card, names = self.card, self.tensors.keys()
        if not self.has_weights:
            return set()
        if card.base is not None and card.base.names is not None:  # without buffers
            return {card.prefix + name for name in card.base.names} & names
        backbone = {name for name in names if name.startswith(card.prefix)}
        return backbone - self.adapter_names - self.bias_names

    @property
    def bias_names(self) -> set[str]:
        """Names of the biases that trained with the adapter, and of what trained whole."""
        return trained_names(self.tensors.keys(), self.card)

    @cached_property
    def base(self) -> BaseCard:
        """What is known of its pretrained weights, from the card or from what is in it."""
        base, prefix = self.card.base or BaseCard(), self.card.prefix
        if base.hash is None and self.base_names:
            weights = {name[len(prefix) :]: self.tensors[name] for name in self.base_names}
            base = replace(base, **fingerprint(weights))
        return base

    def check_values(self, names: Iterable[str] | None = None) -> None:
        """Check that tensors have neither NaN nor infinity; all of them if no names are given.

        Raises:
            CheckpointError: If one has.
        """
        names = self.tensors if names is None else names
        check_finite({name: self.tensors[name] for name in names}, self.path)

    @property
    def has_weights(self) -> bool:
        """Whether all weights that its adapter changes are in it."""
        return not self.card.folds or all(self._has_weight(name) for name in self.card.targets)

    def _has_weight(self, layer: str) -> bool:
        return parameter_name(layer, 'weight', self.tensors) in self.tensors

    def with_base(self, file: str | os.PathLike, force: bool = False) -> Checkpoint:
        """Add the pretrained weights that it lacks, or put these in the place of equal ones.

        Args:
            file: Of the pretrained weights, the converted one or the published one that is
                converted now.
            force: Accept other weights than those that the adapter was trained on.

        Returns:
            A checkpoint with all weights; the adapter is not folded.

        Raises:
            FileNotFoundError: If there is no such file.
            CheckpointError: If it holds other pretrained weights, or of another size; if this is a
                checkpoint without an adapter that lacks none.
        """
        if self.base_names and self.card.method is None:
            raise CheckpointError(f'{self.path} holds all its weights: leave base (--base) out')
        weights = {self.card.prefix + n: v for n, v in self.read_base(file, force).items()}
        trained = {n: value for n, value in self.tensors.items() if n not in self.base_names}
        return replace(self, tensors={**weights, **trained})

    def made_for(self, model: nn.Module, prefix: str = '') -> Checkpoint:
        """Let a model say what the pretrained weights must be, where the file does not.

        Args:
            model: The model that it is for.
            prefix: What their names start with in the file that its config names.

        Returns:
            With the sizes of a DINOv2, the options of a network of timm or the names in another
            backbone on the card.

        Raises:
            CheckpointError: If what the file says of the model is not so.
        """
        card, base = self.card, self.card.base
        check_adapter(model, card, self.path)
        if card.method is not None and not (base and base.tells_sizes):
            base = self._base_of(model)
        if base is not None and prefix:
            base = replace(base, file_prefix=prefix)
        return replace(self, card=replace(card, base=base))

    def _base_of(self, model: nn.Module) -> BaseCard | None:
        """What is known of the base, and what a model says of it; None if it lacks nothing."""
        base, prefix = self.card.base, self.card.prefix
        backbone = dict(model.named_modules()).get(prefix.rstrip('.'))
        if backbone is None:
            raise CheckpointError(
                f'{self.path} has its adapter in {prefix}, which the model has not: name a config '
                'with this part'
            )
        if hasattr(backbone, 'describe'):
            about = backbone.describe()
            names = ['img_size', 'patch_size', 'pos_embed_interp']
            names += ['arch', 'timm_options'] if 'timm_options' in about else []
            return replace(base or BaseCard(), **{n: about[n] for n in names if n in about})
        if base is not None and base.hash is not None:
            return base
        names = [
            name
            for name, value in backbone.state_dict().items()
            if value.is_floating_point() and prefix + name not in self.tensors
        ]
        return replace(base or BaseCard(), names=names) if names else base

    def check_force(self, base: str | os.PathLike | None, force: bool) -> None:
        """Raise a ``CheckpointError`` if there is no base to be forced on it."""
        if force and base is None:
            raise CheckpointError(
                f'{self.path} is used without another base: leave force (--force) out'
            )

    def with_weights(self, weights: Mapping[str, Tensor]) -> Checkpoint:
        """Add the pretrained weights that a model has, by their names in it.

        Raises:
            CheckpointError: If they are others than those that the adapter was trained on.
        """
        base = {name.removeprefix(self.card.prefix): v for name, v in weights.items()}
        check_base(self.card, base, 'the model', self.path)
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
        card = self.card.base or BaseCard()
        if card.timm_options is None:
            base = self._dinov2_or_named(card, file)
        else:
            base = read_timm_file(file, card.arch, card.timm_options, card.file_prefix)
        base = as_trained(base, self.card)
        trained = self.tensors.keys() - self.base_names
        checked = {n: value for n, value in base.items() if self.card.prefix + n not in trained}
        check_base(replace(self.card, base=self.base), checked, file, self.path, force)
        return base

    def _dinov2_or_named(self, card: BaseCard, file: str | os.PathLike) -> dict[str, Tensor]:
        """Read a base whose card says the sizes of a DINOv2, or names."""
        names = REQUIRED if card.names is None else card.names
        base, grid = read_pretrained(file, names=names, likely=card.file_prefix)
        base.pop('mask_token', None)
        if card.names is not None:  # the file may hold more, such as a classifier
            if absent := [name for name in names if name not in base]:
                raise CheckpointError(
                    f'{file} lacks pretrained weights of {self.path}: {absent[:3]}'
                )
            kept = {*names, *(n.removeprefix(self.card.prefix) for n in self.tensors)}
            if card.hash is None:  # the names are those of weights, without counters
                kept |= {name for name, value in base.items() if not value.is_floating_point()}
            base = {name: value for name, value in base.items() if name in kept}
        if card.img_size is not None:
            interp = card.pos_embed_interp or 'exact'
            try:
                if card.hash is None:
                    check_not_converted(base, card.img_size, card.patch_size)
                base = convert_dinov2(base, card.img_size, card.patch_size, interp, grid)
            except ValueError as error:
                raise CheckpointError(f'{file}: {error}') from error
        return base

    def plain(self) -> dict[str, Tensor]:
        """The state dict of a plain model: adapters folded in, but for those that cannot be.

        Raises:
            CheckpointError: If the base is missing or does not fit, or a value is not finite.
        """
        self.check_values()
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
            f'{self.path} holds no pretrained weights: name their file as base (--base){hint}'
        )
