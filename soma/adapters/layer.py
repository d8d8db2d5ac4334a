"""Plain layers with an adapter."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .base import Adapter
from .sharded import refuse_sharded
from .svd import Components, Spectrum


class _Running(threading.local):
    """The adapted modules that run now in a thread, from the outermost in."""

    def __init__(self) -> None:
        self.modules: list[nn.Module] = []


RUNNING = _Running()


class AdapterLayer(Adapter):
    """Mixed into a plain layer, whose weight stays untouched and frozen.

    A subclass says in :meth:`_add_adapter` which tensors it adds to the layer and in :meth:`fold`
    what it computes with. Until :meth:`split_` runs, it computes what the plain layer does.

    Attributes:
        cache_key: Of ``Components`` that are worth keeping and the same each time: the rank and a
            name of what :meth:`compute_split` takes. Layers of one key, equal weights and groups
            have equal splits, whatever their method. None keeps nothing.
        random: Whether the split draws random numbers.
        train_bias: Whether the bias trains.
        groups: Number of matrices that are stacked in the weight (3 for a fused qkv).
        splits_later: Whether plain weights that are loaded wait for
            :func:`~soma.adapters.split_together`.
        unsplit: The one that waits.
    """

    cache_key: tuple[int, str] | None = None
    random: bool = False
    train_bias: bool = False
    groups: int = 1
    splits_later: bool = False
    unsplit: Tensor | None = None

    def __init__(self, *args, **kwargs) -> None:
        raise TypeError(f'{type(self).__name__} is made of a plain layer, with from_plain()')

    @classmethod
    def from_plain(
        cls, layer: nn.Module, *args: Any, groups: int = 1, **options: Any
    ) -> AdapterLayer:
        """Make an adapted layer that shares the parameters of a plain one.

        Args:
            layer: The plain layer; its weight is frozen, its bias too unless ``train_bias``.
            *args: Options of the adapter, as those of its config, such as the rank.
            groups: Number of matrices that are stacked in the weight of a linear layer; a
                convolution has groups of its own.
            **options: As ``args``, by name.

        Returns:
            The adapted layer. It computes what ``layer`` does, before and after :meth:`split_`.

        Raises:
            ValueError: If the options or the kind of layer do not allow an adapter.
        """
        adapted = cls._like(layer)
        if groups != 1:
            adapted.groups = groups
        adapted.weight, adapted.bias = layer.weight, layer.bias
        adapted._add_adapter(*args, **options)
        adapted._freeze()
        return adapted.train(layer.training)

    def _add_adapter(self, *args: Any, **options: Any) -> None:
        """Add the adapter's tensors to the layer, and its options."""
        raise NotImplementedError

    @property
    def plain_weight(self) -> nn.Parameter:
        """The pretrained weight, at any time."""
        return self._parameters['weight']

    def __getattr__(self, name: str) -> Any:
        """Find what PyTorch does; of the weight, while another module runs, the adapted one."""
        value, running = super().__getattr__(name), RUNNING.modules
        if name != 'weight' or not running or running[-1] is self or not self.TENSORS:
            return value
        return self.effective_weight().to(value.dtype)

    def _freeze(self) -> None:
        trained = self.adapter_parameters()
        for name, parameter in self.named_parameters(recurse=False):
            parameter.requires_grad_(name in trained)

    def split_(self) -> None:
        """Start the adapter from the weight.

        Raises:
            ValueError: If the weight holds NaN or infinity.
        """
        self.start_from_(self.compute_split())

    def compute_split(self) -> Components:
        """What :meth:`start_from_` starts from, a function of :meth:`matrix`."""
        raise NotImplementedError

    def start_from_(self, parts: Components) -> None:
        """Start the adapter from what :meth:`compute_split` returned."""
        raise NotImplementedError

    def matrix(self) -> Tensor:
        """The weight to split, ``(out, in)``: as loaded, before it was rounded to the layer's."""
        weight = self.plain_weight if self.unsplit is None else self.unsplit
        return weight.detach().flatten(1).to(getattr(self, self.TENSORS[0]))

    @staticmethod
    def fold(weight: Tensor, tensors: Mapping[str, Tensor], settings: Mapping) -> Tensor:
        """The weight that the layer computes with, a function of its tensors.

        Args:
            weight: The plain layer's, shape ``(out, in, ...)``.
            tensors: The adapter's (``TENSORS``), by name.
            settings: Its options, as :meth:`settings` returns them.

        Returns:
            In the shape of ``weight``, differentiable.

        Raises:
            ValueError: If the adapter is made for another weight.
        """
        raise NotImplementedError

    def adapter_tensors(self) -> dict[str, Tensor]:
        """What :meth:`fold` takes."""
        return {name: getattr(self, name) for name in self.TENSORS}

    def effective_weight(self) -> Tensor:
        """The weight that the layer computes with, in the precision of the adapter."""
        with torch.autocast(self.plain_weight.device.type, enabled=False):
            return self.fold(self.plain_weight, self.adapter_tensors(), self.settings())

    def delta(self) -> Tensor:
        """The change of the weight so far, in the shape of the weight."""
        return self.effective_weight() - self.plain_weight

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """Fold the change into a new plain layer; this one stays as it is."""
        plain = self._plain()
        plain.weight = nn.Parameter(self.effective_weight(), requires_grad=False)
        plain.bias = self.bias
        return plain.train(self.training)

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that train with this adapter, by their name in the layer."""
        parameters = {n: p for n, p in self.named_parameters(recurse=False) if n in self.TENSORS}
        return {**parameters, 'bias': self.bias} if self.train_bias else parameters

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args) -> None:
        """Load; plain weights without an adapter are split anew, or the old split would not fit."""
        super()._load_from_state_dict(state_dict, prefix, *args)
        device = self.plain_weight.device
        tensors = (*self.parameters(recurse=False), *self.buffers(recurse=False))
        if device.type != 'meta' and any(tensor.is_meta for tensor in tensors):  # it was assigned
            self._apply(lambda t: torch.empty_like(t, device=device) if t.is_meta else t, False)
        names = {prefix + name for name in self.TENSORS}
        weight = state_dict.get(f'{prefix}weight', torch.empty(0))
        if names and weight.shape == self.weight.shape and names.isdisjoint(state_dict):
            self._split_loaded(weight.detach())
            missing_keys = args[2]  # after local_metadata and strict
            missing_keys[:] = [key for key in missing_keys if key not in names]

    def _split_loaded(self, weight: Tensor) -> None:
        """Split a weight that was loaded, now or with the others."""
        refuse_sharded(self, 'load the weights, from which its adapter follows, before')
        self.unsplit = weight
        if not self.splits_later:
            self.split_()

    def extra_repr(self) -> str:
        """The plain layer's description and the adapter's."""
        settings = {**self.settings(), **({'groups': self.groups} if self.groups > 1 else {})}
        shown = {n: f'{v:g}' if isinstance(v, float) else repr(v) for n, v in settings.items()}
        return ', '.join([super().extra_repr(), *(f'{name}={v}' for name, v in shown.items())])

    def forward(self, x: Tensor) -> Tensor:
        """Compute with :meth:`effective_weight`, which is formed again in the backward pass.

        Args:
            x: Input of the plain layer.

        Returns:
            Its output.
        """
        if not torch.is_grad_enabled():
            return self._apply_weight(x)
        return checkpoint(self._apply_weight, x, use_reentrant=False, preserve_rng_state=False)


class SpectrumLayer(AdapterLayer):
    """Mixed in where an adapter computes with the singular components of the weight.

    They follow from the weight, so that no file holds them: they are computed again when a trained
    adapter is loaded, on one core as at the start, or the last bits would differ.

    Attributes:
        has_components: Whether they have been computed.
        is_trained: Whether the adapter was loaded, and only waits for them.
    """

    has_components: bool = False
    is_trained: bool = False

    def matrix(self) -> Tensor:
        """The weight that the layer has, ``(out, in)``: its components are those of no other."""
        return self.plain_weight.detach().flatten(1).to(getattr(self, self.TENSORS[0]))

    @torch.no_grad()
    def start_from_(self, parts: Spectrum) -> None:
        """Keep the components, and start from them unless the adapter is trained."""
        self.keep_components_(parts)
        if not self.is_trained:
            self.start_(parts)
        self.unsplit, self.is_trained, self.has_components = None, False, True

    def keep_components_(self, parts: Spectrum) -> None:
        """Keep what the layer computes with."""
        raise NotImplementedError

    def start_(self, parts: Spectrum) -> None:
        """Set the tensors of the adapter to their start."""
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args) -> None:
        """Load; components are those of the weight that comes in, or else is there."""
        self.is_trained = False
        super()._load_from_state_dict(state_dict, prefix, *args)
        is_stale = f'{prefix}weight' in state_dict or not self.has_components
        if f'{prefix}{self.TENSORS[0]}' in state_dict and is_stale:
            self.is_trained = True
            self._split_loaded(self.plain_weight.detach())


class AdaptedLinearLayer(AdapterLayer, nn.Linear):
    """A linear layer with an adapter."""

    @classmethod
    def _like(cls, layer: nn.Linear) -> AdaptedLinearLayer:
        """An instance without an adapter yet, whose tensors are the caller's to set."""
        adapted = cls.__new__(cls)
        nn.Linear.__init__(adapted, layer.in_features, layer.out_features, device='meta')
        return adapted

    def _plain(self) -> nn.Linear:
        return nn.Linear(self.in_features, self.out_features, self.bias is not None, device='meta')

    def _apply_weight(self, x: Tensor) -> Tensor:
        return F.linear(x, self.effective_weight(), self.bias)


class AdaptedConvLayer(AdapterLayer, nn.Conv2d):
    """A convolution with an adapter, its kernel read as a matrix ``(out, in * kh * kw)``."""

    @classmethod
    def _like(cls, layer: nn.Conv2d) -> AdaptedConvLayer:
        """An instance without an adapter yet, whose tensors are the caller's to set."""
        adapted = cls.__new__(cls)
        nn.Conv2d.__init__(adapted, **_conv_options(layer))
        return adapted

    def _plain(self) -> nn.Conv2d:
        return nn.Conv2d(**_conv_options(self), bias=self.bias is not None)

    def _apply_weight(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.effective_weight(), self.bias)


def _conv_options(layer: nn.Conv2d) -> dict:
    """What a convolution like this one, without its tensors, is made with."""
    names = ('in_channels', 'out_channels', 'kernel_size', 'stride', 'padding', 'dilation')
    options = {name: getattr(layer, name) for name in (*names, 'groups', 'padding_mode')}
    return {**options, 'device': 'meta'}
