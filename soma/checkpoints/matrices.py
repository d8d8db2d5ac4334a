"""The weights of a state dict as matrices, and work on each of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor

from ..adapters.split import on_all_cores
from ..models.backbones.dinov2_names import public_names

T = TypeVar('T')
_EMBEDDINGS = {'patch_embed', 'patch_embeddings', 'pos_embed', 'projection'}  # of images


def weight_matrices(
    state: Mapping[str, Tensor], layers: str | None = None, prefix: str = 'backbone.'
) -> dict[str, Tensor]:
    """Find the matrices of linear layers and convolutions in a state dict.

    A kernel is read as ``(out, in * kh * kw)``. A fused ``blocks.0.attn.qkv`` counts as three:
    ``blocks.0.attn.q``, ``k`` and ``v``, if they are square: else nothing says where one ends.
    DINOv2's names of timm and transformers become those of its public files.

    Args:
        state: Tensors by name, adapters folded in.
        layers: Regular expression that fully matches the names of layers or matrices. None for
            those of the backbone, or of all if there is no such part, but for embeddings.
        prefix: Where the backbone stands; it is left out of the names.

    Returns:
        Matrices by name, views of the tensors.

    Raises:
        ValueError: If there are none, or ``layers`` is no regular expression.
    """
    try:
        pattern = None if layers is None else re.compile(layers)
    except re.error as error:
        raise ValueError(f'{layers!r} is no regular expression: {error}') from error
    backbone = {name[len(prefix) :]: v for name, v in state.items() if name.startswith(prefix)}
    rest = {name: value for name, value in state.items() if not name.startswith(prefix)}
    if not backbone:
        backbone, rest = rest, {}
    backbone = public_names(backbone)
    matrices, known = {}, []
    for key, value in (backbone if layers is None else {**backbone, **rest}).items():
        layer, _, leaf = key.rpartition('.')
        if value.ndim < 2 or not value.is_floating_point() or not leaf.endswith('weight'):
            continue
        if leaf != 'weight':  # in_proj_weight of nn.MultiheadAttention
            layer = f'{layer}.{leaf.removesuffix("_weight")}'
        known.append(layer)
        names, (parent, _, kind) = [layer], layer.rpartition('.')
        if (kind == 'qkv' or leaf == 'in_proj_weight') and len(value) == 3 * value[0].numel():
            names = [f'{parent}.{part}'.lstrip('.') for part in 'qkv']
        for name, matrix in zip(names, value.detach().flatten(1).chunk(len(names)), strict=True):
            if pattern is None:
                is_chosen = _EMBEDDINGS.isdisjoint(layer.split('.'))
            else:
                is_chosen = pattern.fullmatch(name) or pattern.fullmatch(layer)
            if is_chosen:
                matrices[name] = matrix
    if not matrices:
        missing = (
            'no linear layer or convolution' if layers is None else f'no layer fits {layers!r}'
        )
        raise ValueError(f'{missing} among the weights {known[:5] or sorted(state)[:5]}')
    return matrices


def unmatched(base: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> dict[str, str]:
    """Say by name why matrices cannot be compared.

    Args:
        base: As :func:`weight_matrices` makes it.
        trained: Likewise.

    Returns:
        The reason for each that only one of them has, that differs in shape or is zero in the base.
    """
    reasons = {}
    for name in {**base, **trained}:
        if name not in trained:
            reasons[name] = 'only in the base'
        elif name not in base:
            reasons[name] = 'not in the base'
        elif base[name].shape != trained[name].shape:
            shapes = [*base[name].shape], [*trained[name].shape]
            reasons[name] = '{} in the base, {} here'.format(*shapes)
        elif not base[name].any():
            reasons[name] = 'zero in the base'
    return reasons


def each_matrix(
    function: Callable[..., T], jobs: Mapping[str, tuple], cost: float, title: str
) -> dict[str, T]:
    """Call a function for each job, on as many threads as PyTorch has, with one core each.

    Args:
        function: Takes what a job holds.
        jobs: A matrix, and what else it takes, by the name of the layer.
        cost: Of a call, where the singular values of the matrix cost 1.
        title: Of the progress bar, which a work of more than two seconds shows.

    Returns:
        Results by the name of the layer, in the same order.

    Raises:
        ValueError: If the function does; with the name of the layer.
    """
    if not jobs:
        return {}
    first, *_ = next(iter(jobs.values()))
    products = cost * sum(min(m.shape) ** 2 * max(m.shape) for m, *_ in jobs.values())
    return dict(on_all_cores(lambda name: function(*jobs[name]), jobs, first, products, title))
