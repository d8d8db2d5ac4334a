"""Cards of checkpoints that came without one."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..adapters import adapted_layers, adapter_tensors, layers_card

_REINS = 'backbone.reins.'  # in the public files of Rein


def card_from(state: Mapping[str, Tensor], alpha: float | None = None) -> dict:
    """Describe an adapter by its tensors.

    Args:
        state: Tensors by name.
        alpha: Scale times rank of a low-rank change; the rank if None.

    Returns:
        As of :func:`~soma.adapters.adapter_card`; empty if there is no adapter.

    Raises:
        ValueError: If the layers differ, or their tensors do not tell enough.
    """
    layers = adapted_layers(state)
    if not layers:
        return _rein_card(state)
    kinds = {_kind(adapter_tensors(state, layer)) for layer in layers}
    if len(kinds) > 1:
        raise ValueError(f'its layers differ in method and rank: {sorted(kinds)}; one is expected')
    ((method, rank),) = kinds
    if method == 'SVF':
        raise ValueError('it has singular values (SVF) but no card that says of what')
    groups = {name: len(state[f'{name}.A']) // rank for name in layers}
    component = {'component': 'minor'} if method == 'SoMA' else {}
    alpha = float(rank if alpha is None else alpha)
    train_bias = any(f'{layer}.bias' in state for layer in layers)
    return layers_card(groups, method, train_bias, rank=rank, alpha=alpha, **component)


def _kind(tensors: Mapping[str, Tensor]) -> tuple[str, int]:
    """Method and rank of a layer's adapter, from what tensors it has."""
    if 'S' in tensors:
        return 'SVF', 0
    method = 'DoRA' if 'magnitude' in tensors else 'SoMA' if len(tensors['A0']) else 'LoRA'
    return method, tensors['B'].shape[1]


def _rein_card(state: Mapping[str, Tensor]) -> dict:
    """The card of Rein behind all blocks of a vision transformer, as in its public files."""
    full = state.get(f'{_REINS}learnable_tokens')
    tokens = state.get(f'{_REINS}learnable_tokens_a', full)
    if tokens is None:
        return {}
    merge = state.get(f'{_REINS}merge.weight')
    return layers_card(
        {f'backbone.blocks.{i}': 1 for i in range(len(tokens))},
        'Rein',
        False,
        num_tokens=tokens.shape[1],
        rank=None if full is not None else tokens.shape[2],
        link=merge is not None,
        **({} if merge is None else {'query_dims': len(merge)}),
    )
