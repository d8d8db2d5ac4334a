"""Layers with a low-rank change of their weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from .base import LARGEST, Recognised, is_count, names_by_layer, option_names
from .functional import AdaptedConv2d, AdaptedLinear, weight_delta
from .layer import AdaptedConvLayer, AdaptedLinearLayer, AdapterLayer
from .layer_config import LayerConfig
from .svd import Components, check_rank

LOW_RANK = ('A', 'B', 'A0', 'B0')


def low_rank_delta(tensors: Mapping[str, Tensor], settings: Mapping) -> Tensor:
    """Compute the change of a weight, ``s (B A - B0 A0)`` with ``s = alpha / rank``.

    Args:
        tensors: :data:`LOW_RANK`, by name.
        settings: ``alpha``; the rank is that of the tensors.

    Returns:
        Shape ``(out, in)``; a convolution's kernel is flattened.
    """
    A, B, A0, B0 = (tensors[name] for name in LOW_RANK)
    groups = len(A) // B.shape[1]
    return weight_delta(A, B, A0, B0, settings['alpha'] / B.shape[1], groups)


def recognise_low_rank(
    state: Mapping[str, Tensor],
    fits: Callable[[Mapping[str, Tensor]], bool],
    factor: Callable[[str], int] = lambda layer: 1,
) -> Recognised | None:
    """Recognise low-rank changes of one kind by their tensors.

    Args:
        state: Tensors by name.
        fits: Takes a layer's tensors by name, but for weight and bias; whether they are of the
            kind.
        factor: If the ranks differ, how many times the ``rank`` a layer has, by its name.

    Returns:
        What they tell, ``alpha`` equal to the rank; None if there are none.

    Raises:
        ValueError: If a layer lacks a tensor or has one of another size, or the ranks differ.
    """
    groups, ranks, train_bias = {}, {}, False
    for layer, names in sorted(names_by_layer(state).items()):
        if 'A0' not in names:  # ``A`` and ``B`` alone may be names of anything
            continue
        if missing := [name for name in LOW_RANK if name not in names]:
            raise ValueError(f'the adapter of {layer} lacks {", ".join(missing)}')
        tensors = {name: state[f'{layer}.{name}'] for name in names - {'weight', 'bias'}}
        if fits(tensors):
            groups[layer] = count_groups(layer, tensors)
            ranks[layer] = tensors['B'].shape[1]
            train_bias |= 'bias' in names
    if not groups:
        return None
    distinct = {*ranks.values()}
    if len(distinct) > 1:
        distinct = {rank / factor(layer) for layer, rank in ranks.items()}
    if len(distinct) > 1 or (rank := distinct.pop()) != int(rank):
        raise ValueError(f'its layers differ in rank: {sorted({*ranks.values()})}; one is expected')
    return Recognised(groups, {'rank': int(rank), 'alpha': float(rank)}, train_bias)


def count_groups(layer: str, tensors: Mapping[str, Tensor]) -> int:
    """Number of stacked matrices that the factors of a layer are made for.

    Args:
        layer: Its name, for the message.
        tensors: :data:`LOW_RANK`, by name.

    Raises:
        ValueError: If their shapes do not belong together.
    """
    shapes = {name: tuple(tensors[name].shape) for name in LOW_RANK}
    if any(len(shape) != 2 for shape in shapes.values()):
        raise ValueError(f'the adapter of {layer} is no pair of matrices')
    (rows, columns), (out, rank), _, (_, start) = shapes.values()
    groups = rows // rank if rank else 0
    fits = groups and rows == groups * rank and out % groups == 0
    if not fits or shapes['A0'] != (groups * start, columns) or shapes['B0'][0] != out:
        sizes = ', '.join(f'{name} {list(shape)}' for name, shape in shapes.items())
        raise ValueError(f'the tensors of {layer} do not belong together: {sizes}')
    return groups


def check_alpha(alpha: float) -> None:
    """Raise a ``ValueError`` if a change cannot be scaled so."""
    is_number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
    if not is_number or not 0 < alpha <= LARGEST:
        raise ValueError(f'alpha must be positive, up to {LARGEST}, got {alpha!r}')


class LowRankLayer(AdapterLayer):
    """Computes with ``W_eff = W + s (B A - B0 A0)``, ``s = alpha / rank``.

    ``W`` is the pretrained weight, untouched and frozen. ``A`` and ``B`` train; ``A0`` and ``B0``
    are the part of ``W`` that they took over, so that a new layer equals the plain one exactly.
    Where nothing was taken over, these have a rank of zero.

    Attributes:
        TRAINED: Which of ``A`` and ``B`` train; the other is a buffer.
        takes_over: Whether the adapter starts from components that it takes out of the weight.
    """

    TENSORS = LOW_RANK
    TRAINED: ClassVar[tuple[str, ...]] = ('A', 'B')
    takes_over: bool = False

    def _add_adapter(
        self, rank: int = 16, alpha: float | None = None, train_bias: bool = False
    ) -> None:
        """Add the adapter's tensors, all zero. ``alpha`` defaults to the rank."""
        out_features, in_features = self.weight.flatten(1).shape
        self.rank = rank
        ranks = self._ranks()
        name = ' + '.join(f'{kind}_rank'.lstrip('_') for kind in ranks if kind != '0')
        check_rank(ranks['0'] or rank, out_features, in_features, self.groups, name)
        alpha = rank if alpha is None else alpha
        check_alpha(alpha)
        self.alpha = float(alpha)
        self.train_bias = train_bias and self.bias is not None
        for ending, size in ranks.items():
            for name, shape in (
                (f'A{ending}', (self.groups * size, in_features)),
                (f'B{ending}', (out_features, size)),
            ):
                value = self.weight.new_zeros(shape)
                if name in self.TRAINED and size:
                    self.register_parameter(name, nn.Parameter(value))
                else:
                    self.register_buffer(name, value)

    def _ranks(self) -> dict[str, int]:
        """The rank of each pair of factors, by what its names end in."""
        return {'': self.rank, '0': self.rank if self.takes_over else 0}

    @staticmethod
    def joined(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors as one change, :data:`LOW_RANK`, by name."""
        return tensors

    @property
    def scale(self) -> float:
        """``s = alpha / rank``."""
        return self.alpha / self.rank

    @torch.no_grad()
    def start_from_(self, parts: Components) -> None:
        """Start the adapter from its first ``A`` and ``B``, as taken over."""
        self.unsplit = None
        if self.takes_over:
            parts = Components(*(value / self.scale**0.5 for value in parts))
            self.A0.copy_(parts.A)
            self.B0.copy_(parts.B)
        self.A.copy_(parts.A)
        self.B.copy_(parts.B)

    @classmethod
    def fold(cls, weight: Tensor, tensors: Mapping[str, Tensor], settings: Mapping) -> Tensor:
        """``W + s (B A - B0 A0)``, as in the parent class."""
        tensors = cls.joined(tensors)
        made_for = [len(tensors['B']), tensors['A'].shape[1]]
        if made_for != (shape := list(weight.flatten(1).shape)):
            raise ValueError(
                f'the adapter is made for a weight of {made_for}, the base has {shape}'
            )
        return weight + low_rank_delta(tensors, settings).view_as(weight)

    def delta(self) -> Tensor:
        """The change of the weight so far, ``s (B A - B0 A0)``, in the shape of the weight."""
        change = low_rank_delta(self.joined(self.adapter_tensors()), self.settings())
        return change.view_as(self.plain_weight)

    def _factors(self) -> list[Tensor]:
        """:data:`LOW_RANK` of the change, in this order."""
        tensors = self.joined(self.adapter_tensors())
        return [tensors[name] for name in LOW_RANK]

    def settings(self) -> dict:
        """``rank`` and ``alpha``."""
        return {'rank': self.rank, 'alpha': self.alpha}


class LowRankLinear(LowRankLayer, AdaptedLinearLayer):
    """A linear layer with a low-rank change."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        return AdaptedLinear.apply(
            x, self.weight, self.bias, *self._factors(), self.scale, self.groups
        )


class LowRankConv2d(LowRankLayer, AdaptedConvLayer):
    """A convolution with a low-rank change of its kernel, read as ``out x in*kh*kw``."""

    def _add_adapter(self, *args, **options) -> None:
        if self.groups != 1 or self.padding_mode != 'zeros' or isinstance(self.padding, str):
            raise ValueError(
                f'{type(self).__name__} needs groups=1, zero padding and a padding in numbers, got '
                f'{nn.Conv2d.extra_repr(self)}: leave this layer out of the targets'
            )
        super()._add_adapter(*args, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, in, h, w)`` to ``(n, out, h', w')``."""
        conv = dict(stride=self.stride, padding=self.padding, dilation=self.dilation)
        return AdaptedConv2d.apply(x, self.weight, self.bias, *self._factors(), self.scale, conv)


@dataclass(frozen=True)
class LowRankConfig(LayerConfig):
    """Settings of a low-rank change of weights.

    Attributes:
        rank: Rank of the change, per matrix.
        alpha: The change is scaled by ``alpha / rank``; None means ``alpha = rank``.
        rank_options: The option that is the number of columns of a tensor, by the tensor's name.
    """

    low_rank = True
    rank_options: ClassVar[Mapping[str, str]] = {'B': 'rank'}

    rank: int = 16
    alpha: float | None = None

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        ranks = {name: getattr(self, name) for name in self.rank_options.values()}
        for name, rank in ranks.items():
            least = int(all(other == 0 for key, other in ranks.items() if key != name))
            if not is_count(rank, least):
                raise ValueError(f'{name} must be at least {least}, and whole, got {rank!r}')
        if self.alpha is not None:
            check_alpha(self.alpha)

    @classmethod
    def check_tensors(cls, state: Mapping[str, Tensor], targets: Iterable[str], settings: Mapping):
        """Check that each layer has all its tensors, of the rank.

        Raises:
            ValueError: If one lacks some, or has another rank or size.
        """
        targets = list(targets)
        super().check_tensors(state, targets, settings)
        if missing := [name for name in ('rank', 'alpha') if settings.get(name) is None]:
            raise ValueError(f'its card has no {missing[0]}')
        config = cls(**{n: v for n, v in settings.items() if n in option_names(cls)})
        for target in targets:
            tensors = {name: state[f'{target}.{name}'] for name in cls.layer_tensors()}
            try:
                groups = count_groups(target, cls.layers[0].joined(tensors))
            except RuntimeError as error:
                raise ValueError(f'the tensors of {target} do not belong together') from error
            options = config.layer_options(target)
            for name, option in cls.rank_options.items():
                rank, due = tensors[name].shape[1], options[option]
                if rank != due or len(tensors[f'A{name[1:]}']) != groups * due:
                    raise ValueError(f'its card says {option} {due}, but {target} has rank {rank}')
