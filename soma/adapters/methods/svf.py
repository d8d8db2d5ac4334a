"""SVF: train the singular values alone (arXiv 2206.06122)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..base import is_count, register_adapter
from ..inject import inject_adapter
from ..layer import AdaptedConvLayer, AdaptedLinearLayer, SpectrumLayer
from ..layer_config import LayerConfig
from ..patterns import full_matches
from ..svd import Spectrum, check_rank, decompose_matrix, low_rank_product, spectrum_rank

_CUT_MULTIPLE = 4  # of the ranks in the public code


class SVFLayer(SpectrumLayer):
    """A layer whose weight is ``U diag(S) V``, of which the singular values ``S`` train.

    It computes with ``W + U diag(S - S0) V``, which for a decomposition of full rank is
    ``U diag(S) V`` without its rounding: a new layer equals the plain one exactly. With a ``ratio``
    below one, the largest singular values train and the others stay as they are; with ``cut`` they
    are left out, and it computes with ``U diag(S) V`` alone, as the public code of SVF: not the
    plain layer at the start, but its closest of that rank. ``U`` and ``V`` follow from the weight,
    so no file holds them. Zero singular values have no direction, and stay.

    Attributes:
        S: Shape ``(rank,)``, or ``(groups, rank)`` for stacked matrices; ``S0`` is its start.
        U: Shape ``(out, rank)``.
        V: Shape ``(groups * rank, in)``.
        rebuild_error: Largest difference between the weight and ``U diag(S) V`` at the start,
            relative to the largest entry of the weight. Of a ratio below one it is what was left,
            or cut off.
    """

    method = 'SVF'
    TENSORS = ('S', 'S0')
    NO_DECAY = ('S',)
    rebuild_error: float = 0.0

    def _add_adapter(
        self,
        ratio: float = 1.0,
        train_bias: bool = False,
        rank: int | None = None,
        cut: bool = False,
    ) -> None:
        check_ratio(ratio)
        self.train_bias = train_bias and self.bias is not None
        matrix = self.weight.detach().flatten(1)
        if len(matrix) % self.groups:
            raise ValueError(f'{self.groups} groups do not divide the {len(matrix)} outputs')
        if rank is None:
            multiple = _CUT_MULTIPLE if cut else None
            rank = spectrum_rank(matrix.shape, ratio, self.groups, multiple)
        else:
            check_rank(rank, *matrix.shape, self.groups)
            ratio = rank / spectrum_rank(matrix.shape, 1.0, self.groups)
        self.rank, self.ratio, self.cut = rank, ratio, cut
        shape = (rank,) if self.groups == 1 else (self.groups, rank)
        self.S = nn.Parameter(matrix.new_zeros(shape))
        self.register_buffer('S0', matrix.new_zeros(shape))
        self.register_buffer('U', matrix.new_zeros(len(matrix), rank), persistent=False)
        size = (self.groups * rank, matrix.shape[1])
        self.register_buffer('V', matrix.new_zeros(size), persistent=False)

    def compute_split(self) -> Spectrum:
        """All of the weight's singular components, or the largest."""
        return decompose_matrix(self.matrix(), groups=self.groups, rank=self.rank)

    def start_(self, parts: Spectrum) -> None:
        """Start from the singular values of the weight."""
        self.S.copy_(parts.S.view_as(self.S))
        self.S0.copy_(self.S)

    def keep_components_(self, parts: Spectrum) -> None:
        """Keep the singular vectors."""
        self.U.copy_(parts.U)
        self.V.copy_(parts.V)
        matrix = self.matrix()
        rebuilt = low_rank_product(parts.S.view(-1, 1) * self.V, self.U, self.groups)
        largest = matrix.abs().max().clamp_min(torch.finfo(matrix.dtype).tiny)
        self.rebuild_error = ((rebuilt - matrix).abs().max() / largest).item()

    @staticmethod
    def fold(weight: Tensor, tensors: Mapping[str, Tensor], settings: Mapping) -> Tensor:
        """``W + U diag(S - S0) V``; ``U`` and ``V`` are computed where ``tensors`` lacks them."""
        S, S0 = tensors['S'], tensors['S0']
        groups = len(S) if S.ndim == 2 else 1
        if 'U' not in tensors:
            matrix = weight.detach().flatten(1).to(S)
            tensors = {**tensors, **_vectors(matrix, S0.flatten(), groups)}
        cut = settings.get('cut', False)  # and then U diag(S) V alone
        values = (S if cut else S - S0).view(-1, 1) * tensors['V']
        product = low_rank_product(values, tensors['U'], groups).view_as(weight)
        return product if cut else weight + product

    def adapter_tensors(self) -> dict[str, Tensor]:
        """What :meth:`fold` takes, with the singular vectors."""
        return {**super().adapter_tensors(), 'U': self.U, 'V': self.V}

    def settings(self) -> dict:
        """``ratio`` and ``cut``."""
        return {'ratio': self.ratio, 'cut': self.cut}


class SVFLinear(SVFLayer, AdaptedLinearLayer):
    """A linear layer whose singular values train, made with :meth:`from_plain`."""


class SVFConv2d(SVFLayer, AdaptedConvLayer):
    """A convolution whose kernel's singular values train, made with :meth:`from_plain`.

    The kernel is read as ``(out, in * kh * kw)``; one with groups as as many matrices.
    """


@register_adapter
@dataclass(frozen=True)
class SVFConfig(LayerConfig):
    """Settings of SVF: the singular values train (arXiv 2206.06122).

    Attributes:
        ratio: Share of the singular values that train, the largest first.
        ranks: How many train in some layers: pairs of a regular expression, which matches a
            layer's name, or its end from a dot on, whole, and a whole number, or else a share as
            ``ratio``. The first pair that matches counts.
        skip_1x1: Whether targets that are linear layers or convolutions of 1 x 1 stay plain.
        skip_3x3: The same of all larger convolutions.
        cut: Whether the singular values that do not train are cut off, as in the public code of
            SVF, where the number of a share is rounded down to a multiple of 4. The network is not
            the pretrained one at the start then.
    """

    method = 'SVF'
    layers = (SVFLinear, SVFConv2d)
    older = {'cut': False}  # noqa: RUF012

    ratio: float = 1.0
    ranks: Sequence[tuple[str, float]] = ()
    skip_1x1: bool = False
    skip_3x3: bool = False
    cut: bool = False

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        check_ratio(self.ratio)
        pairs = self.ranks if isinstance(self.ranks, list | tuple) else [self.ranks]
        if not all(isinstance(p, list | tuple) and [*map(type, p)][:-1] == [str] for p in pairs):
            raise ValueError(f'ranks must be a list of (pattern, rank), got {self.ranks!r}')
        for pattern, value in pairs:
            full_matches('ranks', pattern, ())
            if not is_count(value):
                check_ratio(value, f'ranks {pattern!r}')

    def layer_options(self, name: str) -> dict:
        """What a layer is made with; its rank by its name."""
        options = {'ratio': self.ratio, 'train_bias': self.train_bias, 'cut': self.cut}
        for pattern, value in self.ranks:
            if full_matches('ranks', _at_the_end(pattern), [name]):
                return {**options, 'rank' if is_count(value) else 'ratio': value}
        return options

    def choose(self, layers: dict[str, nn.Module]) -> dict[str, nn.Module]:
        """Leave out kernels of a size; check that each pattern of ``ranks`` matches a layer."""
        sides = {name: max(getattr(layer, 'kernel_size', (1,))) for name, layer in layers.items()}
        skips = {n: self.skip_1x1 if side == 1 else self.skip_3x3 for n, side in sides.items()}
        if all(skips.values()):
            raise ValueError(f'all {len(layers)} targets are of a kind that is skipped')
        layers = {name: layer for name, layer in layers.items() if not skips[name]}
        for pattern, _ in self.ranks:
            if not full_matches('ranks', _at_the_end(pattern), layers):
                raise ValueError(f'ranks {pattern!r} matches none of the {len(layers)} layers')
        return layers

    def card_options(self) -> dict:
        """What says which ranks the layers have, as the config has it."""
        choices = {'skip_1x1': self.skip_1x1, 'skip_3x3': self.skip_3x3}
        choices['ranks'] = [*map(list, self.ranks)]  # as JSON has them
        return {'ratio': self.ratio, **{name: value for name, value in choices.items() if value}}

    @classmethod
    def check_tensors(cls, state: Mapping[str, Tensor], targets: Iterable[str], settings: Mapping):
        """Check that each layer has its singular values and their start.

        Raises:
            ValueError: If one lacks some.
        """
        targets = list(targets)
        super().check_tensors(state, targets, settings)
        for target in targets:
            S, S0 = (tuple(state[f'{target}.{name}'].shape) for name in ('S', 'S0'))
            if S != S0 or len(S) not in (1, 2) or not all(S):
                raise ValueError(
                    f'the tensors of {target} do not belong together: S {[*S]}, S0 {[*S0]}'
                )


def decompose(
    module: nn.Module,
    ratio: float = 1.0,
    targets: str | Sequence[str] = r'.+',
    exclude: str | Sequence[str] = (),
    **options: Any,
) -> nn.Module:
    r"""Decompose the linear layers and convolutions of a network, so that singular values train.

    This is SVF (arXiv 2206.06122) for any network::

        decompose(resnet, targets=r'layer[234]\..+')  # train the later stages only
        print(adapter_report(resnet))  # with the largest error of rebuilding a weight

    Args:
        module: A network, changed in place, or a single layer.
        ratio: Share of the singular values that train, the largest first; the rest of a weight
            stays as it is.
        targets: Regular expression, or several, that fully match a module's dotted name. What
            they match beside linear layers and convolutions is left alone.
        exclude: As ``targets``: which layers stay plain.
        **options: Others of :class:`SVFConfig`, such as ``skip_3x3`` or ``cut``.

    Returns:
        The network, or the decomposed layer. It computes what it did, unless ``cut``; all but the
        singular values is frozen.

    Raises:
        ValueError: If no layer is left to decompose, or an option is out of range.
    """
    config = SVFConfig(ratio=ratio, groups={}, **options)
    if (kind := config.layer_class(module)) is not None:
        if targets != r'.+' or exclude or options.keys() - {'cut'}:
            raise ValueError('a single layer takes ratio and cut: it has no layers to choose')
        layer = kind.from_plain(module, **config.layer_options(''))
        layer.split_()
        return layer
    patterns = [targets] if isinstance(targets, str) else targets
    layers = {name: m for name, m in module.named_modules() if config.layer_class(m)}
    chosen = [n for n in layers if any(re.fullmatch(pattern, n) for pattern in patterns)]
    if not chosen:
        known = f'{list(layers)[:5]} ...' if layers else 'there are none'
        raise ValueError(f'{targets!r} matches no linear layer or convolution: {known}')
    names = [re.escape(name) for name in chosen]
    inject_adapter(module, replace(config, targets=names, exclude=exclude))
    return module


def check_ratio(ratio: float, name: str = 'ratio') -> None:
    """Raise a ``ValueError`` if there is no such share of the singular values."""
    if isinstance(ratio, bool) or not (isinstance(ratio, int | float) and 0 < ratio <= 1):
        raise ValueError(f'{name} must be above 0 and at most 1, got {ratio!r}')


def _at_the_end(pattern: str) -> str:
    """A pattern for whole names of layers, whatever stands before it in a larger model."""
    return rf'(.*\.)?({pattern})'


def _vectors(matrix: Tensor, S0: Tensor, groups: int) -> dict[str, Tensor]:
    """The singular vectors of a weight, by name.

    Raises:
        ValueError: If ``S0`` are not its singular values.
    """
    parts = decompose_matrix(matrix, groups=groups, rank=len(S0) // groups)
    start = S0.to(parts.S)
    if parts.S.shape != start.shape or not torch.allclose(
        parts.S, start, rtol=1e-3, atol=1e-4 * start.max().item()
    ):
        raise ValueError('the adapter was trained on a weight with other singular values')
    return {'U': parts.U, 'V': parts.V}
