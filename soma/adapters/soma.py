"""SoMA: train some singular components of a frozen weight (arXiv 2412.04077)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .functional import AdaptedConv2d, AdaptedLinear, weight_delta
from .svd import Components, check_rank, split_components

ADAPTER_TENSORS = ('A', 'B', 'A0', 'B0')


class SoMALayer:
    """What :class:`SoMALinear` and :class:`SoMAConv2d` share; mixed into a plain layer.

    The layer computes with ``W_eff = W + s (B A - B0 A0)``, ``s = alpha / rank``. ``W`` is the
    pretrained weight, untouched and frozen. ``A`` and ``B`` train; ``A0`` and ``B0`` are their
    values at the start, the components of ``W`` that the adapter took over, so that a new layer
    equals the plain one exactly. Until :meth:`split_` runs, all four are zero.

    Attributes:
        splits_later: Whether plain weights that are loaded wait for
            :func:`~soma.adapters.split_together`.
        unsplit: The one that waits.
    """

    splits_later: bool = False
    unsplit: Tensor | None = None

    def _add_adapter(
        self, rank: int, alpha: float | None, component: str, groups: int, train_bias: bool
    ) -> None:
        """Add the adapter's tensors, freeze the weight. ``alpha`` defaults to the rank."""
        out_features, in_features = self.weight.flatten(1).shape
        check_rank(rank, out_features, in_features, groups)
        self.rank, self.groups, self.component = rank, groups, component
        self.alpha = float(rank if alpha is None else alpha)
        if self.alpha <= 0:
            raise ValueError(f'alpha must be positive, got {alpha}')
        self.train_bias = train_bias and self.bias is not None
        for name, shape in (('A', (groups * rank, in_features)), ('B', (out_features, rank))):
            self.register_parameter(name, nn.Parameter(self.weight.new_zeros(shape)))
            self.register_buffer(f'{name}0', self.weight.new_zeros(shape))
        trained = self.adapter_parameters()
        for name, parameter in self.named_parameters(recurse=False):
            parameter.requires_grad_(name in trained)

    @classmethod
    def from_plain(
        cls,
        layer: nn.Module,
        rank: int,
        alpha: float | None = None,
        component: str = 'minor',
        groups: int = 1,
        train_bias: bool = True,
    ) -> SoMALayer:
        """Make an adapted layer that shares the parameters of a plain one.

        Args:
            layer: The plain layer; its weight is frozen, its bias too unless ``train_bias``.
            rank: Number of components per group.
            alpha: Scale times rank; the rank if None.
            component: As for :func:`~soma.adapters.split_components`.
            groups: Number of matrices that are stacked in the weight.
            train_bias: Whether the bias trains.

        Returns:
            The adapted layer. It computes what ``layer`` does, before and after :meth:`split_`.

        Raises:
            ValueError: If the rank, the groups or the kind of layer do not allow an adapter.
        """
        adapted = cls._like(layer)
        adapted.weight, adapted.bias = layer.weight, layer.bias
        adapted._add_adapter(rank, alpha, component, groups, train_bias)
        return adapted.train(layer.training)

    @property
    def scale(self) -> float:
        """``s = alpha / rank``."""
        return self.alpha / self.rank

    def split_(self) -> None:
        """Take the components out of the weight and start the adapter from them.

        Raises:
            ValueError: If the weight holds NaN or infinity.
        """
        self.start_from_(self.compute_split())

    def compute_split(self) -> Components:
        """The components of :meth:`matrix`, as :func:`~soma.adapters.split_components`."""
        return split_components(self.matrix(), self.rank, self.component, self.groups)

    def matrix(self) -> Tensor:
        """The weight to split, ``(out, in)``: as loaded, before it was rounded to the layer's."""
        weight = self.weight if self.unsplit is None else self.unsplit
        return weight.detach().flatten(1).to(self.A)

    @torch.no_grad()
    def start_from_(self, parts: Components) -> None:
        """Start the adapter from components of the weight."""
        self.unsplit = None
        for name, value in zip(('A', 'B'), parts, strict=True):
            value = value / self.scale**0.5
            getattr(self, name).copy_(value)
            getattr(self, f'{name}0').copy_(value)

    def delta(self) -> Tensor:
        """The change of the weight so far, ``s (B A - B0 A0)``, in the shape of the weight."""
        return weight_delta(self.A, self.B, self.A0, self.B0, self.scale, self.groups).view_as(
            self.weight
        )

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """Fold the change into a new plain layer; this one stays as it is."""
        plain = self._plain()
        plain.weight = nn.Parameter(self.weight + self.delta(), requires_grad=False)
        plain.bias = self.bias
        return plain.train(self.training)

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that train with this adapter, by their name in the layer."""
        own = {'A': self.A, 'B': self.B}
        return {**own, 'bias': self.bias} if self.train_bias else own

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """Load; plain weights without an adapter are split anew, or the old split would not fit."""
        super()._load_from_state_dict(state_dict, prefix, *args)
        adapter_keys = {prefix + name for name in ADAPTER_TENSORS}
        weight = state_dict.get(f'{prefix}weight', torch.empty(0))
        if weight.shape == self.weight.shape and adapter_keys.isdisjoint(state_dict):
            self.unsplit = weight.detach()
            if not self.splits_later:
                self.split_()
            missing_keys = args[2]  # after local_metadata and strict
            missing_keys[:] = [key for key in missing_keys if key not in adapter_keys]

    def extra_repr(self) -> str:
        """The plain layer's description and the adapter's."""
        text = f'{super().extra_repr()}, rank={self.rank}, alpha={self.alpha:g}'
        text += '' if self.groups == 1 else f', groups={self.groups}'
        return f'{text}, component={self.component!r}'


class SoMALinear(SoMALayer, nn.Linear):
    """A linear layer that trains the minor singular components of its weight.

    Args:
        in_features: As for ``nn.Linear``.
        out_features: As for ``nn.Linear``.
        rank: Number of components per group.
        alpha: Scale times rank; the rank if None.
        component: As for :func:`~soma.adapters.split_components`.
        groups: Number of matrices that are stacked in the weight (3 for a fused qkv).
        train_bias: Whether the bias trains.
        bias: As for ``nn.Linear``.
        device: As for ``nn.Linear``.
        dtype: As for ``nn.Linear``.

    Raises:
        ValueError: If the rank or the groups do not fit the weight.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int = 16,
        alpha: float | None = None,
        component: str = 'minor',
        groups: int = 1,
        train_bias: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias, device, dtype)
        self._add_adapter(rank, alpha, component, groups, train_bias)

    @classmethod
    def _like(cls, layer: nn.Linear) -> SoMALinear:
        """An instance without an adapter yet, whose tensors are the caller's to set."""
        adapted = cls.__new__(cls)
        nn.Linear.__init__(adapted, layer.in_features, layer.out_features, device='meta')
        return adapted

    def _plain(self) -> nn.Linear:
        return nn.Linear(self.in_features, self.out_features, self.bias is not None, device='meta')

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        return AdaptedLinear.apply(
            x, self.weight, self.bias, self.A, self.B, self.A0, self.B0, self.scale, self.groups
        )


class SoMAConv2d(SoMALayer, nn.Conv2d):
    """A convolution that trains the minor components of its kernel, read as ``out x in*kh*kw``.

    Made from an ``nn.Conv2d`` with :meth:`from_plain`.
    """

    @classmethod
    def _like(cls, layer: nn.Conv2d) -> SoMAConv2d:
        """An instance without an adapter yet, whose tensors are the caller's to set."""
        if layer.groups != 1 or layer.padding_mode != 'zeros' or isinstance(layer.padding, str):
            raise ValueError(
                'SoMAConv2d needs groups=1, zero padding and a padding in numbers, got '
                f'{layer}: leave this layer out of the targets'
            )
        adapted = cls.__new__(cls)
        nn.Conv2d.__init__(
            adapted,
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            device='meta',
        )
        return adapted

    def _plain(self) -> nn.Conv2d:
        return nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            bias=self.bias is not None,
            device='meta',
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, in, h, w)`` to ``(n, out, h', w')``."""
        conv = dict(stride=self.stride, padding=self.padding, dilation=self.dilation)
        return AdaptedConv2d.apply(
            x, self.weight, self.bias, self.A, self.B, self.A0, self.B0, self.scale, conv
        )
