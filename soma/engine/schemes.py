"""Weights that mmengine opens itself (``init_cfg`` of any module) are read safely, too.

Its loaders of addresses (``https://``, ``torchvision://``, ``mmcls://`` ...) find and download as
ever. What reads the file then is this package's reader: mmengine's own runs the code of a file that
cannot be read without.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import torch
from mmengine.runner import CheckpointLoader

from ..io.checkpoint_files import read_checkpoint, refuse_broken
from ..io.tensors import check_content
from ..io.unpickle import unpickle


def install_schemes() -> None:
    """Make all of mmengine's loaders read safely; those that others register later stay theirs."""
    for prefix, loader in [*CheckpointLoader._schemes.items()]:
        safe = read_safely(loader) if prefix else load_from_local
        CheckpointLoader.register_scheme(prefix, safe, force=True)


def load_from_local(filename: str, map_location: str | None = None) -> dict:
    """Read a local file; mmengine calls this for all that none of its schemes fits."""
    return read_checkpoint(filename, map_location or 'cpu')


def read_safely(loader: Callable) -> Callable:
    """Wrap one of mmengine's loaders, to raise a ``CheckpointError`` for code or a damaged file."""

    @wraps(loader)
    def load(filename: str, map_location: str | None = None, **kwargs) -> dict:
        with _safe_torch_load(filename):
            return loader(filename, map_location=map_location, **kwargs)

    return load


@contextmanager
def _safe_torch_load(address: str) -> Iterator[None]:
    """Put the safe reader where mmengine and torch.hub look for theirs."""

    def load(file, map_location: str | None = None, **_) -> dict:
        local = isinstance(file, str | os.PathLike)
        name = f'{address} ({file})' if local else address
        with refuse_broken(name):
            content = unpickle(file, map_location)
        check_content(content, name)
        return content

    original, torch.load = torch.load, load
    try:
        yield
    finally:
        torch.load = original
