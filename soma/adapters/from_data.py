"""Adapters that start from the inputs of their layers, beside the weights: from a few batches."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..io.files import InputError
from .layer import RUNNING
from .low_rank import LowRankLayer
from .sharded import refuse_sharded
from .split import split_layers
from .svd import Components

logger = logging.getLogger(__name__)


class FromDataLayer(LowRankLayer):
    """A low-rank change whose start follows from the inputs of the layer, too.

    Until :func:`start_from_data`, and again when other plain weights are loaded, it is no change of
    the weight, and cannot be trained. A file of a trained adapter holds its start.

    Attributes:
        covariance: Mean of ``x x^T`` over the inputs ``x`` of the layer, shape ``(in, in)``, in
            float64: what :meth:`components` takes. It is there while the layer starts.
        is_started: Whether it has a start.
    """

    takes_over = True
    covariance: Tensor | None = None
    is_started: bool = False

    def components(self, weight: Tensor, covariance: Tensor) -> Components:
        """What the adapter takes out of the weight.

        Args:
            weight: Shape ``(out, in)``, float64.
            covariance: Shape ``(in, in)``.
        """
        raise NotImplementedError

    def compute_split(self) -> Components:
        """The components; zeros as long as there is no covariance."""
        if self.covariance is None:
            return Components(torch.zeros_like(self.A), torch.zeros_like(self.B))
        return self.components(self.matrix().double(), self.covariance)

    def start_from_(self, parts: Components) -> None:
        """Start from the components, as in the parent class."""
        super().start_from_(parts)
        self.is_started = self.covariance is not None

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if (A := state_dict.get(f'{prefix}A')) is not None:
            self.is_started = bool(A.any())

    def __getattr__(self, name: str) -> Any:
        """Find what the parent class does; the weight without a start is the pretrained one."""
        if name != 'weight' or self.is_started:
            return super().__getattr__(name)
        if RUNNING.modules and RUNNING.modules[-1] is not self:
            self._check_start()
        return nn.Module.__getattr__(self, name)

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the parent class does, of any shape that the plain layer takes.

        Raises:
            InputError: If it is to be trained without a start.
        """
        if self.is_started:
            return super().forward(x)
        self._check_start()
        if isinstance(self, nn.Linear):
            return F.linear(x, self.weight, self.bias)
        return self._conv_forward(x, self.weight, self.bias)

    def _check_start(self) -> None:
        """Raise an ``InputError`` if it is to be trained without a start."""
        if self.training and torch.is_grad_enabled():
            raise InputError(
                f'adapter: {self.method} starts from data: call soma.adapters.start_from_data('
                'model, batches) before training, or train with SomaRunner or StartFromDataHook'
            )


def waiting_layers(model: nn.Module) -> dict[str, FromDataLayer]:
    """The layers of a model that wait for :func:`start_from_data`, by name."""
    layers = {n: m for n, m in model.named_modules() if isinstance(m, FromDataLayer)}
    return {name: layer for name, layer in layers.items() if not layer.is_started}


@torch.no_grad()
def start_from_data(model: nn.Module, batches: Iterable | Callable[[], Any]) -> int:
    """Start the adapters that start from data, once the weights are in place.

    The model computes the batches in eval mode and without gradients, while each layer sums up its
    inputs: products in float32, their sum in float64, on the device of the layer. That is 8 bytes
    times the square of the inputs' width for each layer (ViT-L: 3.8 GB).

    Args:
        model: With adapters; those that have a start already, or need none, stay as they are.
        batches: What to call the model with: tensors, dicts of keyword arguments, or tuples of
            positional ones. Or a function that calls it as often as it likes.

    Returns:
        How many layers were started.

    Raises:
        InputError: If a layer shows no inputs, or some that are all zero or not finite.
        ValueError: If a weight holds NaN or infinity, or the model is sharded.
    """
    layers = waiting_layers(model)
    if not layers:
        return 0
    refuse_sharded(model, 'start the adapter before')
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with _Inputs(layers) as inputs:
            if callable(batches):
                batches()
            else:
                for batch in batches:
                    _call(model, batch)
    finally:
        for module, mode in modes.items():
            module.training = mode
    for name in layers:
        if name not in inputs.sums:
            raise InputError(
                f'adapter: layer {name!r} shows no inputs to start from, as it did not run, or is '
                'in an nn.MultiheadAttention: leave it out of the targets (exclude)'
            )
        if not 0 < inputs.sums[name].trace() < math.inf:  # nor NaN
            raise InputError(
                f'adapter: the inputs of layer {name!r} are all zero, or not finite: it cannot '
                'start from them'
            )
    few = [n for n, count in inputs.counts.items() if count < len(inputs.sums[n])]
    if few:
        count, width = inputs.counts[few[0]], len(inputs.sums[few[0]])
        logger.warning(
            '%d of %d layers start from fewer inputs than these are wide (%s: %d of %d): their '
            'directions are known in part only; give more batches',
            *(len(few), len(layers), few[0], count, width),
        )
    try:
        for name, layer in layers.items():
            layer.covariance = inputs.sums.pop(name).div_(inputs.counts[name])
        split_layers(layers)
    finally:
        for layer in layers.values():
            layer.covariance = None
    return len(layers)


def _call(model: nn.Module, batch: Any) -> None:
    """Call a model with a batch."""
    if isinstance(batch, Mapping):
        model(**batch)
    else:
        model(*batch) if isinstance(batch, tuple | list) else model(batch)


class _Inputs(TorchFunctionMode):
    """Sums up ``X^T X`` of what is multiplied with the weights of layers, by whomever.

    Attributes:
        sums: By name of the layer, float64.
        counts: How many inputs each is of.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layers = {id(layer.plain_weight): (n, layer) for n, layer in layers.items()}
        self.sums: dict[str, Tensor] = {}
        self.counts = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None) -> Any:
        """Look at the products, and compute."""
        kwargs = kwargs or {}
        if function in (F.linear, F.conv2d):
            given = dict(zip(('input', 'weight'), args, strict=False)) | kwargs
            if layer := self.layers.get(id(given['weight'])):
                self._add(*layer, given['input'])
        return function(*args, **kwargs)

    def _add(self, name: str, layer: nn.Module, x: Tensor) -> None:
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            if isinstance(layer, nn.Conv2d):  # what the kernel, as a matrix, is multiplied with
                x = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride).mT
            x = x.reshape(-1, x.shape[-1])
            product = x.T @ x
        self.counts[name] += len(x)
        self.sums[name] = self.sums[name].add_(product) if name in self.sums else product.double()
