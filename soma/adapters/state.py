"""Adapters as named tensors: pure functions on state dicts, without a model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

from .base import ADAPTERS, Recognised, names_by_layer
from .card import Card
from .lending import parameter_name
from .low_rank import check_alpha
from .saved import is_inside


def card_from_tensors(
    state: Mapping[str, Tensor], alpha: float | None = None, card: Card | None = None
) -> Card:
    """Describe the adapter in a state dict by its tensors.

    Args:
        state: Tensors by name.
        alpha: Scale times rank of a low-rank change; the rank if None.
        card: What else is known.

    Returns:
        The card with the adapter on it; as it is if there is none.

    Raises:
        ValueError: If the layers differ, or their tensors do not tell enough; if ``alpha`` is
            given and not positive, or of no use.
    """
    card, adapter = card or Card(), recognise(state)
    if alpha is not None:
        check_alpha(alpha)
        if adapter is None or 'alpha' not in adapter[1].settings:
            raise ValueError('there is no adapter that has an alpha: leave alpha (--alpha) out')
    if adapter is None:
        return card
    method, recognised = adapter
    if alpha is not None:
        settings = {**recognised.settings, 'alpha': float(alpha)}
        recognised = recognised._replace(settings=settings)
    return card.with_adapter(method, recognised)


def merge_state(state: Mapping[str, Tensor], card: Card | None = None) -> dict[str, Tensor]:
    """Fold the adapter in a state dict into the weights beside it.

    Args:
        state: Weights, biases and adapter by name.
        card: What adapter it is; None to tell from the tensors.

    Returns:
        What the plain model's state dict would be. An adapter that is no change of weights stays.

    Raises:
        ValueError: If the weight of an adapted layer is missing, has another shape, or is not what
            the adapter was made for.
    """
    card = card_from_tensors(state) if card is None else card
    if not card.folds:
        return dict(state)
    names = card.adapter.tensor_names(state, card.targets)
    plain = {name: value for name, value in state.items() if name not in names}
    for layer, tensors in by_layer(state, names).items():
        name = parameter_name(layer, 'weight', plain)
        weight = plain.get(name)
        if weight is None:
            raise ValueError(
                f'{layer} has an adapter but no weight: the pretrained weights are missing'
            )
        try:
            plain[name] = card.adapter.fold(weight, tensors, card.settings)
        except ValueError as error:
            raise ValueError(f'{layer}: {error}') from error
    return plain


def by_layer(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, dict[str, Tensor]]:
    """Tensors of those names by layer, and there by their name in it; sorted."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name in sorted(names):
        layer, _, leaf = name.rpartition('.')
        layers.setdefault(layer, {})[leaf] = state[name]
    return layers


def trained_names(names: Collection[str], card: Card) -> set[str]:
    """Which tensors of the plain model trained with an adapter: biases, and modules as a whole.

    Args:
        names: Of tensors.
        card: The adapter's.
    """
    layers = card.targets if card.train_bias else ()
    biases = {parameter_name(layer, 'bias', names) for layer in layers}
    whole = {name for name in names if is_inside(name, card.modules_to_save)}
    return (biases & {*names}) | whole


def recognise(state: Mapping[str, Tensor]) -> tuple[str, Recognised] | None:
    """Recognise the adapter in a state dict by its tensors.

    Args:
        state: Tensors by name.

    Returns:
        The method and what the tensors tell; None without an adapter.

    Raises:
        ValueError: If they are of several methods, or do not tell enough.
    """
    methods = {
        name: recognised
        for name, config in ADAPTERS.items()
        if 'recognise' in vars(config) and (recognised := config.recognise(state)) is not None
    }
    if len(methods) > 1:
        raise ValueError(f'its layers are of several methods: {sorted(methods)}; one is expected')
    if not methods:
        _refuse_unrecognised(state)
    return next(iter(methods.items()), None)


def _refuse_unrecognised(state: Iterable[str]) -> None:
    """Raise a ``ValueError`` if a layer has the tensors of a method, which do not tell enough."""
    methods = [{*config.layer_tensors()} for config in ADAPTERS.values()]
    for layer, leaves in names_by_layer(state).items():
        if tensors := max((names for names in methods if names <= leaves), key=len, default=None):
            raise ValueError(
                f'{layer} has the tensors of an adapter ({", ".join(sorted(tensors))}), and no '
                'card says of which: use a file of SomaRunner or save_adapter, which have one'
            )
