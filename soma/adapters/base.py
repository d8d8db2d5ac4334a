"""What all adapters have in common, and the registry of methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

ADAPTERS: dict[str, type[AdapterConfig]] = {}
LARGEST = 2**20  # no size, rank or scale is larger


class Adapter:
    """Mixed into a module that trains while all around it is frozen.

    One that is no layer has ``reset_parameters()`` too.

    Attributes:
        method: The ``type`` of the config that it was made by.
        TENSORS: Names of its own tensors in a state dict, which the plain model lacks.
        NO_DECAY: Names of parameters that weight decay would draw away from their start.
        LR_MULT: What the learning rate of a parameter is multiplied with, by its name.
        link: Whether the model returns queries for its head beside its output.
        shared: Options of its config that a card has in the place of its own, because they make
            the adapters of a model differ.
    """

    method: str
    TENSORS: tuple[str, ...] = ()
    NO_DECAY: tuple[str, ...] = ()
    LR_MULT: ClassVar[Mapping[str, float]] = {}
    link: bool = False
    shared: Mapping = {}

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that train with this adapter, by their name in the module."""
        raise NotImplementedError

    def settings(self) -> dict:
        """Its options, for the card of a file: those of its config, and perhaps more."""
        raise NotImplementedError

    def targets(self, name: str) -> list[str]:
        """Names of the modules that it adapts, from its own: by default itself."""
        return [name]


class Recognised(NamedTuple):
    """What tensors tell of an adapter whose file has no card.

    Attributes:
        groups: Number of matrices in each adapted module, by its name.
        settings: Options of the adapter.
        train_bias: Whether biases trained.
    """

    groups: dict[str, int]
    settings: dict
    train_bias: bool = False


@dataclass(frozen=True)
class AdapterConfig:
    """Settings of any adapter: the ``adapter`` dict of a config, by its ``type``.

    A method derives from this class, or from one of its subclasses, and is registered with
    :func:`register_adapter`. The class says too how the method's tensors are read in a file.

    Attributes:
        method: The ``type``.
        folds: Whether the adapter is a change of weights, so that it can be folded into them.
        adds_up: Whether the mean of several is that of the changes of their weights.
        low_rank: Whether it is a low-rank change, as peft's LoRA.
        averages_to: The method of an average, if it is another one.
        start_only: Options that only say how the adapter starts.
        older: What options mean that cards of older versions lack.
        refused: Options of a release that have no meaning, and why; not inherited.
        start_block: The first block that is adapted, of ``blocks.<i>``, ``layers.<i>`` and the
            like; those of a network with stages are counted through.
        modules_to_save: Names of modules, or regular expressions that fully match them, that train
            whole and are saved with the adapter, such as a new head.
    """

    method: ClassVar[str]
    folds: ClassVar[bool] = True
    adds_up: ClassVar[bool] = True
    low_rank: ClassVar[bool] = False
    averages_to: ClassVar[str | None] = None
    start_only: ClassVar[tuple[str, ...]] = ()
    older: ClassVar[Mapping[str, object]] = {}
    refused: ClassVar[Mapping[str, str]] = {}

    start_block: int = 0
    modules_to_save: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            ValueError: If a value is of another type than its default, or out of range.
        """
        for entry in fields(self):
            _check_option(entry.name, entry.default, getattr(self, entry.name))
        if not is_count(self.start_block, 0):
            raise ValueError(f'start_block must be at least 0, and whole, got {self.start_block!r}')

    def make(self, model: nn.Module, split: bool) -> dict[str, Adapter]:
        """Make the adapters; the model's own modules and parameters stay as they are.

        Args:
            model: What is adapted.
            split: Whether its weights are there already, to start from.

        Returns:
            The modules to put into the model, by dotted name.

        Raises:
            ValueError: If the adapter does not fit the model, which is unchanged then.
        """
        raise NotImplementedError

    @classmethod
    def layer_tensors(cls) -> tuple[str, ...]:
        """Names of the adapter's tensors in a layer, if it replaces layers."""
        return ()

    @classmethod
    def tensor_names(cls, names: Iterable[str], targets: Iterable[str]) -> set[str]:
        """Which of the names in a state dict are those of the method's own tensors.

        Args:
            names: Of tensors.
            targets: Of the adapted modules.
        """
        raise NotImplementedError

    @classmethod
    def check_tensors(
        cls, state: Mapping[str, Tensor], targets: Iterable[str], settings: Mapping
    ) -> None:
        """Check that a state dict holds the adapter that a card tells of.

        Raises:
            ValueError: If it does not; the message begins with ``its card``.
        """
        raise NotImplementedError

    @classmethod
    def fold(cls, weight: Tensor, tensors: Mapping[str, Tensor], settings: Mapping) -> Tensor:
        """Fold an adapter into the weight that it was trained on.

        Args:
            weight: Shape ``(out, in, ...)``.
            tensors: The adapter's, by their name in the layer.
            settings: Its options.

        Returns:
            The weight of the plain layer that computes the same.

        Raises:
            ValueError: If the adapter is made for another weight.
        """
        raise NotImplementedError

    @classmethod
    def rename(cls, state: Mapping[str, Tensor], has_card: bool) -> dict[str, Tensor]:
        """Rename tensors of the method's public release and of older versions of this package.

        Args:
            state: Tensors by name, of any method.
            has_card: Whether their file has a card, which no release writes.

        Returns:
            A new dict, without what the release saves and never uses.
        """
        return dict(state)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> Recognised | None:
        """Recognise the method by its tensors alone. A subclass does not inherit this.

        Returns:
            What they tell; None if they are not the method's.

        Raises:
            ValueError: If they are, and do not tell enough.
        """
        return None


def register_adapter(config: type[AdapterConfig]) -> type[AdapterConfig]:
    """Make a method known by its name; used as a decorator of its config.

    Raises:
        ValueError: If another class has this name.
    """
    other = ADAPTERS.setdefault(config.method, config)
    if (other.__module__, other.__qualname__) != (config.__module__, config.__qualname__):
        raise ValueError(f'there is an adapter of the name {config.method!r}: {other}')
    ADAPTERS[config.method] = config
    return config


def parse_adapter(config: Mapping | AdapterConfig) -> AdapterConfig:
    """Validate an adapter config.

    Args:
        config: ``dict(type='SoMA', rank=16, ...)`` or the dataclass itself.

    Returns:
        The dataclass.

    Raises:
        ValueError: If the type or an option is unknown, or a value out of range.
    """
    if isinstance(config, AdapterConfig):
        return config
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ValueError(f"adapter: needs a dict(type='SoMA', ...), got {config!r}")
    options = dict(config)
    method = options.pop('type')
    if not isinstance(method, str) or method not in ADAPTERS:
        raise ValueError(f'adapter: unknown type {method!r}, choose one of {sorted(ADAPTERS)}')
    known = option_names(ADAPTERS[method])
    for name, reason in vars(ADAPTERS[method]).get('refused', {}).items():
        if name in options:
            raise ValueError(f'adapter: {name} of {method}: {reason}: leave it out')
    if unknown := sorted(options.keys() - known, key=str):
        raise ValueError(f'adapter: unknown options {unknown} of {method}, it has {sorted(known)}')
    try:
        return ADAPTERS[method](**options)
    except ValueError as error:
        raise ValueError(f'adapter: {error}') from error


def option_names(config: type[AdapterConfig]) -> set[str]:
    """Names of the options that a config takes."""
    return {field.name for field in fields(config) if field.init}


def rename(state: Mapping[str, Tensor], has_card: bool) -> dict[str, Tensor]:
    """Let each method rename its tensors, as in :meth:`AdapterConfig.rename`."""
    for config in ADAPTERS.values():
        if 'rename' in vars(config):
            state = config.rename(state, has_card)
    return dict(state)


def names_by_layer(state: Iterable[str]) -> dict[str, set[str]]:
    """The last parts of names, by what stands before."""
    layers: dict[str, set[str]] = {}
    for name in state:
        layer, _, leaf = name.rpartition('.')
        layers.setdefault(layer, set()).add(leaf)
    return layers


def _check_option(name: str, default: object, value: object) -> None:
    """Raise a ``ValueError`` if an option has another type than its default, or no size at all."""
    is_flag, is_number = isinstance(value, bool), isinstance(value, int | float)
    if isinstance(default, bool) and not is_flag:
        raise ValueError(f'{name} must be True or False, got {value!r}')
    if isinstance(default, float) and (is_flag or not is_number):
        raise ValueError(f'{name} must be a number, got {value!r}')
    if is_number and not abs(value) <= LARGEST:  # nor NaN
        raise ValueError(f'{name} must be a number up to {LARGEST}, got {value!r}')


def is_count(value: object, least: int = 1) -> bool:
    """Whether a value is a whole number, and at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
