"""The card of a file: what adapter is in it, and which pretrained weights it belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from torch import Tensor

from ..io.files import CheckpointError
from .base import ADAPTERS, AdapterConfig, Recognised, option_names, parse_adapter
from .blocks import block_index
from .card_values import KINDS, unusable

# Options of a config that a card has in fields of its own: those that each card of an adapter tells
# and, as older versions know nothing of it, one that it tells where there is something.
_TOLD = ('targets', 'start_block', 'train_bias', 'groups')
_OWN_FIELDS = (*_TOLD, 'exclude', 'modules_to_save')


_TEXT, _FLAG, _COUNT, _SIDE, _SIZE, _TEXTS, _COLOURS, _DICT, _NUMBERS, _ARCH = KINDS


def _entry(kind: str, default: object = None) -> Any:
    """A field of a card, checked when it is read."""
    make = {'default_factory': dict} if default == {} else {'default': default}
    return field(**make, metadata={'kind': kind})


@dataclass(frozen=True)
class BaseCard:
    """Which pretrained weights an adapter belongs to, and where they stand in its model.

    Attributes:
        prefix: Where the base stands in the model.
        hash: Of names, shapes and values, as :func:`~soma.adapters.base_hash`.
        samples: Some values of what the hash leaves out, by the name of the tensor.
        file: Where they were read from.
        file_prefix: What their names start with there, if the config said it.
        names: What of a file belongs to the base; a DINOv2 says it by the sizes below.
        arch: Name of the architecture, or its options; of a network of timm, its name.
        timm_options: What else such a network is made with.
        img_size: Height and width in pixels that the position embedding is made for.
        patch_size: Side of a patch in pixels.
        registers: Number of register tokens.
        dtype: What the matrices of the blocks were stored in.
        pos_embed_interp: How positions were resized.
        extra: Whatever else describes the model.
    """

    prefix: str = _entry(_TEXT, 'backbone.')
    hash: str | None = _entry(_TEXT)
    samples: Mapping[str, Sequence[float]] = _entry(_NUMBERS, {})
    file: str = _entry(_TEXT, '')
    file_prefix: str = _entry(_TEXT, '')
    names: Sequence[str] | None = _entry(_TEXTS)
    arch: str | Mapping | None = _entry(_ARCH)
    timm_options: Mapping[str, Any] | None = _entry(_DICT)
    img_size: Sequence[int] | None = _entry(_SIZE)
    patch_size: int | None = _entry(_SIDE)
    registers: int | None = _entry(_COUNT)
    dtype: str | None = _entry(_TEXT)
    pos_embed_interp: str | None = _entry(_TEXT)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> tuple[int, ...] | None:
        """Height and width in patches of the position embedding, if they are known."""
        return self.img_size and tuple(side // self.patch_size for side in self.img_size)

    @property
    def tells_sizes(self) -> bool:
        """Whether it says what to make of a file: its sizes, or what of it to take."""
        sizes = (self.img_size, self.names, self.timm_options)
        return any(value is not None for value in sizes)

    def to_dict(self) -> dict:
        """Plain data, as it stands in a file."""
        return _plain(self)


@dataclass(frozen=True)
class Card:
    """Adapter, pretrained weights and training of a checkpoint; :func:`read_card` checks it.

    Attributes:
        soma_version: What wrote the file.
        method: ``type`` of the adapter, None without one.
        settings: Its options, such as ``rank`` and ``alpha``.
        train_bias: Whether biases of adapted layers trained.
        targets: Names of the adapted layers or blocks in the model.
        start_block: The first block that is adapted.
        modules_to_save: Names of the modules that trained whole.
        groups: How many matrices are stacked in the layers of a name, by its last part.
        base: The pretrained weights that the adapter was trained on.
        classes: Names of the classes of the training data.
        palette: RGB colour of each class.
        episode_classes: Names of the classes that its episodes were of.
        positions: Height and width in patches of the position embedding, where no base says it.
        config: Text of the config.
        iteration: Number of training steps.
        merged: The card of the adapter that was folded into the weights.
        average: Which files this one is the average of.
        extra: Whatever else the file says.
    """

    soma_version: str | None = _entry(_TEXT)
    method: str | None = _entry(_TEXT)
    settings: Mapping[str, Any] = field(default_factory=dict)
    train_bias: bool = _entry(_FLAG, False)
    targets: Sequence[str] = _entry(_TEXTS, ())
    start_block: int = _entry(_COUNT, 0)
    modules_to_save: Sequence[str] = _entry(_TEXTS, ())
    groups: Mapping[str, int] = _entry(_DICT, {})
    base: BaseCard | None = _entry(_DICT)  # noqa: RUF009
    classes: Sequence[str] | None = _entry(_TEXTS)
    palette: Sequence | None = _entry(_COLOURS)
    episode_classes: Sequence[str] | None = _entry(_TEXTS)
    positions: Sequence[int] | None = _entry(_SIZE)
    config: str | None = _entry(_TEXT)
    iteration: int | None = _entry(_COUNT)
    merged: Card | None = _entry(_DICT)  # noqa: RUF009
    average: Mapping[str, Any] | None = _entry(_DICT)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def adapter(self) -> type[AdapterConfig] | None:
        """The config class of the method, None without an adapter."""
        return None if self.method is None else ADAPTERS[self.method]

    @property
    def folds(self) -> bool:
        """Whether there is an adapter that can be folded into the weights."""
        return self.method is not None and self.adapter.folds

    @property
    def known_base(self) -> BaseCard | None:
        """The base; of merged weights, that of the adapter in them."""
        return self.base or (self.merged and self.merged.base)

    @property
    def grid(self) -> tuple[int, ...] | None:
        """Height and width in patches of the position embedding, if they are known."""
        return (self.positions and tuple(self.positions)) or (self.known_base or BaseCard()).grid

    @property
    def prefix(self) -> str:
        """Where the base stands in the model."""
        return (self.known_base or BaseCard()).prefix

    def with_adapter(self, method: str, recognised: Recognised) -> Card:
        """This card with an adapter on it."""
        return replace(
            self,
            method=method,
            settings=recognised.settings,
            train_bias=recognised.train_bias,
            targets=tuple(recognised.groups),
            start_block=min((block_index(name) or 0) for name in recognised.groups),
            groups={name.rpartition('.')[2]: n for name, n in recognised.groups.items() if n > 1},
        )

    def adapter_config(self, targets: Iterable[str]) -> dict:
        """The config of the adapter, for :func:`~soma.adapters.inject_adapter`.

        Args:
            targets: Regular expressions of its layers' names in the model that it is for.
        """
        options = {name: getattr(self, name) for name in ('start_block', 'train_bias', 'groups')}
        saved = [*map(re.escape, self.modules_to_save)]
        options |= {**self.settings, 'targets': list(targets), 'modules_to_save': saved}
        known = option_names(self.adapter)
        return {'type': self.method, **{k: v for k, v in options.items() if k in known}}

    def to_dict(self) -> dict:
        """Plain data, as it stands in a file: options of the method beside all else."""
        return _plain(self)


def read_card(data: object, path: str | os.PathLike) -> Card:
    """Read a card and check each of its values.

    Args:
        data: What a file holds as its card.
        path: The file, for the messages.

    Raises:
        CheckpointError: If a value has the wrong type or size, or the method is unknown; one line
            that names the file and the key.
    """
    for place, value in unusable(data):
        raise CheckpointError(
            f'{path}: its card has {place[1:]} = {ascii(value)[:60]}, which is of no use'
        )
    values = _read(Card, data, path, '')
    extra = values['extra']
    if (base := values.get('base')) is not None:
        values['base'] = base = BaseCard(**_read(BaseCard, base, path, 'base.'))
        is_empty = base.names is not None and not base.names
        if is_empty or (base.img_size and not base.patch_size):
            raise CheckpointError(f'{path}: its card needs base.names, or base.patch_size')
    if (merged := values.get('merged')) is not None:  # of which no older history is kept
        values['merged'] = read_card({**merged, 'merged': None}, path)
    if (method := values.get('method')) is None:
        return Card(**values)
    if method not in ADAPTERS:
        raise CheckpointError(
            f'{path}: its card names the adapter {method!r}, which is unknown here (there are '
            f'{", ".join(sorted(ADAPTERS))}); a newer version of soma, or the file that registers '
            'it, may know it'
        )
    if not values.get('targets'):
        raise CheckpointError(f'{path}: its card names no targets of its adapter')
    names = {f.name for f in fields(ADAPTERS[method])} - {*_OWN_FIELDS}
    settings = {name: extra.pop(name) for name in [*extra] if name in names}
    # Without a version, the options are what tensors told.
    older = ADAPTERS[method].older if values.get('soma_version') else {}
    values['settings'] = {**older, **settings}
    card = Card(**values)
    _check_settings(card, path)
    return card


def is_valid(name: str, value: object) -> bool:
    """Whether a value may stand in a field of a card."""
    kinds = {entry.name: entry.metadata.get('kind') for entry in fields(Card)}
    is_plain = next(unusable({name: value}), None) is None
    return value is not None and is_plain and KINDS[kinds[name]](value)


def check_tensors(card: Card, state: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Check that a file holds the adapter that its card tells of, and nothing of another.

    Raises:
        CheckpointError: If it does not.
    """
    if card.method is None:
        return
    try:
        card.adapter.check_tensors(state, card.targets, card.settings)
    except ValueError as error:
        raise CheckpointError(f'{path}: {error}') from error
    known = {name for config in ADAPTERS.values() for name in config.layer_tensors()}
    others: dict[str, list[str]] = {}
    for name in state.keys() - card.adapter.tensor_names(state, card.targets):
        layer, _, leaf = name.rpartition('.')
        if leaf in known:
            others.setdefault(layer, []).append(name)
    targets = set(card.targets)  # elsewhere, one such name alone may be that of anything
    if odd := [sorted(n) for layer, n in others.items() if layer in targets or len(n) > 1]:
        raise CheckpointError(
            f'{path}: its card names {len(targets)} layers with {card.method}, and of its tensors '
            f'not {min(odd)[0]} ... ({sum(map(len, odd))}): card and tensors are not of one file'
        )


def _check_settings(card: Card, path: str | os.PathLike) -> None:
    """Let the method check its options."""
    try:
        parse_adapter(card.adapter_config(['.+']))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f'{path}: its card is wrong: {error}') from error


def _read(kind: type, data: object, path: str | os.PathLike, place: str) -> dict:
    """The fields of a card, checked, and in ``extra`` whatever else there is."""
    if not isinstance(data, Mapping):
        raise CheckpointError(f'{path}: its card is no dict{place and f" at {place}"}')
    values, extra = {}, dict(data)
    for entry in fields(kind):
        kind_of_value = entry.metadata.get('kind')
        if kind_of_value is None or (value := extra.pop(entry.name, None)) is None:
            continue
        if not KINDS[kind_of_value](value):
            raise CheckpointError(
                f'{path}: its card has {place}{entry.name} = {repr(value)[:60]}, which should be '
                f'{kind_of_value}'
            )
        values[entry.name] = value
    return {**values, 'extra': extra}


def _plain(card: Card | BaseCard) -> dict:
    """The fields of a card that say something, as plain data."""
    plain = {**getattr(card, 'settings', {}), **card.extra}
    defaults = type(card)()
    for entry in fields(card):
        value = getattr(card, entry.name)
        if entry.name in ('settings', 'extra') or value is None:
            continue
        is_said = getattr(card, 'method', None) is not None and entry.name in _TOLD
        if is_said or entry.name == 'prefix' or value != getattr(defaults, entry.name):
            value = value.to_dict() if isinstance(value, Card | BaseCard) else value
            plain[entry.name] = list(value) if isinstance(value, tuple) else value
    return plain
