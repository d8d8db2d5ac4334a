"""OSF: train all of a weight but its principal part, orthogonal to that (arXiv 2504.07097)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..base import register_adapter
from ..functional import weight_delta
from ..layer import AdaptedConvLayer, AdaptedLinearLayer, SpectrumLayer
from ..layer_config import LayerConfig
from ..svd import Spectrum, decompose_matrix


class OSFLayer(SpectrumLayer):
    """OSF: a weight whose minor components train in full, orthogonal to the principal ones.

    ``W = H + U0 diag(S0) V0``, where ``H`` are the ``k`` largest components, with the singular
    vectors ``Uh`` and ``Vh``. It computes with ``W + U diag(S) V - U0 diag(S0) V0``, of which ``U``
    is projected, ``U0 + (1 - Uh Uh^T) (U - U0)``, and ``V`` likewise. By the chain rule their
    gradients are the projected ones (section 3.2). Unlike with projected gradients alone (peft's
    OSF) the change stays orthogonal to ``H`` whatever the optimizer makes of them. ``k`` is the
    same share of each matrix, without the paper's choice by layer. Zero singular values have no
    direction, and stay.

    ``U0``, ``V0``, ``Uh`` and ``Vh`` follow from the weight, so no file holds them. A sign or
    rotation of singular vectors that comes out differently on another machine does not matter: what
    is projected, and ``U0 diag(S0) V0``, are the same.

    Attributes:
        U: Shape ``(out, m)``, of the ``m = min(out / groups, in) - k`` minor components.
        S: Shape ``(groups * m,)``.
        V: Shape ``(groups * m, in)``.
    """

    method = 'OSF'
    TENSORS = ('U', 'S', 'V')
    NO_DECAY = ('U', 'S', 'V')  # it would shrink the minor part of the weight

    def _add_adapter(self, ratio: float = 0.5, train_bias: bool = False) -> None:
        _check_ratio(ratio)
        self.ratio, self.train_bias = ratio, train_bias and self.bias is not None
        rows, columns = self.weight.flatten(1).shape
        if rows % self.groups:
            raise ValueError(f'{self.groups} groups do not divide the {rows} outputs')
        size = min(rows // self.groups, columns)
        kept = min(max(int(ratio * size), 1), size - 1)
        for name, count in (('', size - kept), ('_all', size)):
            values = (
                self.weight.new_zeros(rows, count),
                self.weight.new_zeros(self.groups * count),
                self.weight.new_zeros(self.groups * count, columns),
            )
            for letter, value in zip(self.TENSORS, values, strict=True):
                if name:
                    self.register_buffer(letter + name, value, persistent=False)
                else:
                    self.register_parameter(letter, nn.Parameter(value))

    def compute_split(self) -> Spectrum:
        """All of the weight's singular components."""
        return decompose_matrix(self.matrix(), groups=self.groups)

    def start_(self, parts: Spectrum) -> None:
        """Start from the minor components."""
        minor = _halves(parts, self.U.shape[1], self.groups)[1]
        for name, value in minor._asdict().items():
            getattr(self, name).copy_(value.flatten(0, 1))

    def keep_components_(self, parts: Spectrum) -> None:
        """Keep all of them."""
        for name, value in parts._asdict().items():
            getattr(self, f'{name}_all').copy_(value)

    @staticmethod
    def fold(weight: Tensor, tensors: Mapping[str, Tensor], settings: Mapping) -> Tensor:
        """The weight that it computes with; its components are computed if ``tensors`` has none."""
        U, S, V = (tensors[name] for name in OSFLayer.TENSORS)
        groups = len(V) // U.shape[1]
        rows, columns = weight.flatten(1).shape
        if [len(U), V.shape[1]] != [rows, columns] or U.shape[1] > min(rows // groups, columns):
            raise ValueError(
                f'the adapter is made for a weight of {[len(U), V.shape[1]]}, the base has '
                f'{[rows, columns]}'
            )
        start = tensors.get('start')
        if start is None:
            start = decompose_matrix(weight.detach().flatten(1).to(U), groups=groups)
        return weight + _change(start, Spectrum(U, S, V), groups).view_as(weight)

    def adapter_tensors(self) -> dict[str, Tensor]:
        """What :meth:`fold` takes, with the components of the weight."""
        start = Spectrum(self.U_all, self.S_all, self.V_all)
        return {**super().adapter_tensors(), 'start': start}

    def settings(self) -> dict:
        """``ratio``."""
        return {'ratio': self.ratio}


def _halves(parts: Spectrum, count: int, groups: int) -> tuple[Spectrum, Spectrum]:
    """Principal and ``count`` minor components of each group, with the groups as first axis."""
    U, S, V = (value.unflatten(0, (groups, -1)) for value in parts)
    sizes = [U.shape[2] - count, count]
    split = (value.split(sizes, axis) for value, axis in ((U, 2), (S, 1), (V, 1)))
    principal, minor = zip(*split, strict=True)
    return Spectrum(*principal), Spectrum(*minor)


def _change(start: Spectrum, parts: Spectrum, groups: int) -> Tensor:
    """``U diag(S) V - U0 diag(S0) V0``, projected; zero, exactly, where nothing has changed.

    Args:
        start: All components of the weight.
        parts: ``U``, ``S`` and ``V`` as trained.
        groups: Number of stacked matrices.

    Returns:
        Shape ``(out, in)``.
    """
    principal, minor = _halves(start, parts.U.shape[1], groups)
    left = parts.U.unflatten(0, (groups, -1)) - minor.U
    left = left - principal.U @ (principal.U.mT @ left) + minor.U
    right = parts.V.unflatten(0, (groups, -1)) - minor.V
    right = right - (right @ principal.V.mT) @ principal.V + minor.V
    scaled = parts.S.view(groups, -1, 1) * right, minor.S.unsqueeze(2) * minor.V
    factors = (scaled[0], left, scaled[1], minor.U)  # A, B, A0, B0
    return weight_delta(*(factor.flatten(0, 1) for factor in factors), 1.0, groups)


class OSFLinear(OSFLayer, AdaptedLinearLayer):
    """A linear layer with OSF, made with :meth:`from_plain`."""


class OSFConv2d(OSFLayer, AdaptedConvLayer):
    """A convolution with OSF, made with :meth:`from_plain`; one with groups is several matrices."""


@register_adapter
@dataclass(frozen=True)
class OSFConfig(LayerConfig):
    """Settings of OSF: all but the principal components trains, orthogonal to them.

    Attributes:
        ratio: Share of the singular components that stay, the largest, of each matrix: at least
            one, and not all.
    """

    method = 'OSF'
    adds_up = False
    layers = (OSFLinear, OSFConv2d)

    ratio: float = 0.5

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        _check_ratio(self.ratio)

    @classmethod
    def check_tensors(cls, state: Mapping[str, Tensor], targets: Iterable[str], settings: Mapping):
        """Check that each layer has its components.

        Raises:
            ValueError: If one lacks some, or has some that do not belong together.
        """
        targets = list(targets)
        super().check_tensors(state, targets, settings)
        for target in targets:
            U, S, V = shapes = [[*state[f'{target}.{name}'].shape] for name in 'USV']
            is_whole = [*map(len, shapes)] == [2, 1, 2] and all(U) and S[0] == V[0] > 0
            if not is_whole or V[0] % U[1] or U[0] % (V[0] // U[1]):
                raise ValueError(
                    f'the tensors of {target} do not belong together: U {U}, S {S}, V {V}'
                )


def _check_ratio(ratio: float) -> None:
    """Raise a ``ValueError`` if there is no such share of the components."""
    if isinstance(ratio, bool) or not (isinstance(ratio, int | float) and 0 < ratio < 1):
        raise ValueError(f'ratio must be above 0 and below 1, got {ratio!r}')
