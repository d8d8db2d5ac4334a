"""Read and write checkpoint files: safely, and never half."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

_WRAPPERS = ('state_dict', 'model', 'teacher')


def read_checkpoint(
    path: str | os.PathLike,
    map_location: str | torch.device = 'cpu',
    allow: Sequence[type | Callable] = (),
) -> dict:
    """Read a checkpoint file without running any code it may hold.

    Args:
        path: A file written by ``torch.save``, or ``*.safetensors``.
        map_location: Device of the tensors.
        allow: Harmless classes that the file may hold besides tensors and plain data.

    Returns:
        What the file holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, or holds more than tensors and plain data.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'no checkpoint at {path}: download or convert it first (checkpoints/README.md)'
        )
    try:
        if path.suffix == '.safetensors':
            return load_file(path, device=map_location)
        with _allow(allow):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f'{path} holds more than tensors and plain data, or is damaged; it was not loaded, '
            f'since that could run code from the file: {error}'
        ) from error
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise ValueError(f'{path} is damaged or no checkpoint: {error}') from error


def read_state_dict(path: str | os.PathLike, map_location: str = 'cpu') -> dict[str, Tensor]:
    """Read the parameters of a checkpoint file, whatever it wraps them in.

    Args:
        path: As for :func:`read_checkpoint`.
        map_location: Device of the tensors.

    Returns:
        Tensors by name, without a ``module.`` prefix.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or holds something else than named tensors.
    """
    return state_dict_of(read_checkpoint(path, map_location), path)


def state_dict_of(content: Mapping, path: str | os.PathLike) -> dict[str, Tensor]:
    """Find the parameters in what a checkpoint file holds.

    Args:
        content: What :func:`read_checkpoint` returned.
        path: The file, for the messages.

    Returns:
        Tensors by name, without a ``module.`` prefix.

    Raises:
        ValueError: If there are no named tensors.
    """
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f'{path} holds no parameters')
    wrong = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if wrong:
        raise ValueError(f'{path} is no state dict: {wrong[:5]} are no tensors')
    return {key.removeprefix('module.'): value for key, value in content.items()}


def write_checkpoint(state: Mapping, path: str | os.PathLike) -> None:
    """Write a checkpoint under a temporary name, flush it to disk, then rename it.

    Args:
        state: What to write; a plain state dict if the name ends in ``.safetensors``.
        path: The file; its folder is made if need be. An existing file is replaced at the end.
    """
    with atomic_path(path, flush=True) as temporary:
        if Path(path).suffix == '.safetensors':
            save_file({key: value.contiguous() for key, value in state.items()}, temporary)
        else:
            torch.save(dict(state), temporary)


@contextmanager
def atomic_path(path: str | os.PathLike, flush: bool = False) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; rename it when all went well.

    Args:
        path: The file to write; its folder is made if need be.
        flush: Whether to wait until the disk has it before the name changes.

    Yields:
        The temporary path. It is removed if the body raises.
    """
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, since writers of pictures choose their format by it.
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        yield temporary
        if flush:
            with open(temporary, 'rb+') as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _allow(classes: Sequence[type | Callable]) -> Iterator[None]:
    """Let some classes through the safe reader; before torch 2.5 it cannot be told."""
    if classes and hasattr(torch.serialization, 'safe_globals'):
        with torch.serialization.safe_globals(list(classes)):
            yield
    else:
        yield
