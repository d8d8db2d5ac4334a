"""Split all adapted layers of a model at once, side by side, and keep the result in a file."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..io.checkpoint_files import CheckpointError, card_of, read_checkpoint, write_checkpoint
from ..utils.progress import track
from .layer import AdapterLayer
from .sharded import is_main
from .svd import Components

logger = logging.getLogger(__name__)
T = TypeVar('T')

_VERSION = 1  # of what a cached split means; part of its keys
_SECONDS_PER_PRODUCT = 2e-10  # of the smaller side squared and the larger one, on one core


@contextmanager
def split_together(model: nn.Module, base: str | os.PathLike | None = None) -> Iterator[None]:
    """Let plain weights that are loaded into adapted layers wait, and split them at the end.

    Args:
        model: Its adapted layers wait.
        base: The file that the weights are from, to keep the split beside it; None for nowhere.

    Yields:
        None; the weights are to be loaded in the body.

    Raises:
        ValueError: If a weight holds NaN or infinity.
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, AdapterLayer)}
    for layer in layers.values():
        layer.splits_later = True
    try:
        yield
        waiting = {name: m for name, m in layers.items() if m.unsplit is not None}
        split_layers(waiting, base)
    finally:
        for layer in layers.values():
            layer.splits_later, layer.unsplit = False, None


def split_layers(layers: Mapping[str, AdapterLayer], base: str | os.PathLike | None = None) -> None:
    """Split the weights of adapted layers; what takes seconds shows a progress bar.

    With ``base``, the components are kept in a file beside it, under a hash of each weight and of
    the settings, and computed only where that file lacks them. It is checked when read; a damaged
    one is written anew. What is random, or larger than the base (SVF), is not kept.

    Args:
        layers: By name; all of one ``cache_key`` if ``base`` is given.
        base: The file that the weights are from.

    Raises:
        ValueError: If a weight holds NaN or infinity.
    """
    layers = {name: layer for name, layer in layers.items() if layer.TENSORS}
    if not layers:
        return
    first = next(iter(layers.values()))
    if base is None or first.cache_key is None:
        for name, parts in _compute(layers):
            layers[name].start_from_(parts)
        return
    cache = cache_path(base, *first.cache_key)
    with _workers(first.weight) as pool:
        keys = dict(zip(layers, pool.map(_key, layers.values()), strict=True))
    known = _read_cache(cache)
    missing = {name: layer for name, layer in layers.items() if keys[name] not in known}
    known.update((keys[name], parts) for name, parts in _compute(missing))
    for name, layer in layers.items():
        layer.start_from_(known[keys[name]])
    if missing and is_main():
        _write_cache(cache, known)


def cache_path(base: str | os.PathLike, rank: int, component: str) -> Path:
    """The file beside ``base`` that keeps the split of its weights."""
    base = Path(base).expanduser()
    return base.with_name(f'{base.name}.split-r{rank}-{component}.safetensors')


def _compute(layers: Mapping[str, AdapterLayer]) -> Iterator[tuple[str, Components]]:
    """Compute the components of layers, in their order; as many at a time as there are cores."""
    if not layers:
        return
    products = 0
    for layer in layers.values():
        rows, columns = layer.weight.flatten(1).shape
        sides = sorted((rows // layer.groups, columns))
        products += layer.groups * sides[0] ** 2 * sides[1]
    first = next(iter(layers.values()))
    yield from on_all_cores(
        lambda name: layers[name].compute_split(),
        layers,
        first.weight,
        products,
        'splitting',
        in_order=first.random,
    )


def on_all_cores(
    function: Callable[[str], T],
    names: Collection[str],
    weight: Tensor,
    products: float,
    title: str,
    in_order: bool = False,
) -> Iterator[tuple[str, T]]:
    """Call a function for each layer, on as many threads as PyTorch has, with one core each.

    Args:
        function: Takes the name of a layer.
        names: Of the layers.
        weight: One of theirs; where it is on a GPU there is one thread.
        products: Of the smaller side of each matrix squared and the larger one, the sum: what
            takes seconds shows a progress bar.
        title: Of the bar.
        in_order: Have one thread only, for the sake of the random numbers.

    Yields:
        Names and results, in order.

    Raises:
        ValueError: If the function does; with the name of the layer.
    """

    def call(name: str) -> tuple[str, T]:
        try:
            return name, function(name)
        except ValueError as error:
            raise ValueError(f'layer {name!r}: {error}') from error

    seconds = products * _SECONDS_PER_PRODUCT / torch.get_num_threads()
    with _workers(weight, in_order) as pool:
        done = pool.map(call, names)
        if seconds > 2 and is_main():
            done = track(done, len(names), title)
        yield from done


@contextmanager
def _workers(weight: Tensor, in_order: bool = False) -> Iterator[ThreadPoolExecutor]:
    """Threads that compute on one core each, which is faster than one matrix on all cores.

    It also makes the last bits independent of the number of cores. On a GPU, or ``in_order`` for
    the sake of the random numbers, there is one thread.
    """
    threads = torch.get_num_threads()
    count = 1 if in_order or weight.is_cuda else threads
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def _key(layer: AdapterLayer) -> str:
    """A hash of all that the components follow from."""
    settings = (_VERSION, *layer.cache_key, layer.groups)
    return _digest(f'{settings}', layer.matrix())


def _digest(text: str, *tensors: Tensor) -> str:
    """SHA-256 of a text and of tensors, with their shapes and types."""
    digest = hashlib.sha256(text.encode())
    for tensor in tensors:
        digest.update(f' {list(tensor.shape)} {tensor.dtype}\n'.encode())
        data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
        digest.update(data.numpy())  # does not hold Python's lock
    return digest.hexdigest()


def _read_cache(path: Path) -> dict[str, Components]:
    """Read the cached components by key; none if there is no file or it is damaged."""
    if not path.exists():
        return {}
    try:
        content = read_checkpoint(path)
        card = card_of(content)
        digests = card.get('split') if isinstance(card, dict) else None
        if not isinstance(digests, dict):
            raise CheckpointError('it holds no split weights')
        state, known = content['state_dict'], {}
        for key, digest in digests.items():
            parts = [state.get(f'{key}.{name}') for name in Components._fields]
            if any(part is None for part in parts) or _digest(key, *parts) != digest:
                raise CheckpointError('a checksum differs')
            known[key] = Components(*parts)
        return known
    except (OSError, TypeError, ValueError) as error:
        logger.warning('%s is no use, the weights are split anew: %s', path, error)
        return {}


def _write_cache(path: Path, known: Mapping[str, Components]) -> None:
    """Write components by key, with their checksums; log it if the folder takes no files."""
    state = {f'{key}.{name}': v for key, p in known.items() for name, v in p._asdict().items()}
    digests = {key: _digest(key, *parts) for key, parts in known.items()}
    try:
        write_checkpoint({'state_dict': state, 'meta': {'soma': {'split': digests}}}, path)
    except OSError as error:
        logger.warning('the split is not kept for the next start: %s', error)
