"""Configs: read one, point its paths at the right folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who only parses arguments need not wait for it
    from mmengine.config import Config

REPOSITORY = Path(__file__).resolve().parents[2]
_PATH_KEYS = ('data_root', 'mixing_set', 'checkpoint', 'load_from')


def load_config(path: str | os.PathLike, options: Mapping | None = None) -> Config:
    """Read a config file.

    Relative ``data_root``, ``mixing_set``, ``checkpoint`` and ``load_from`` are looked for in the
    current folder, then in the repository, so that scripts work from any folder.

    Args:
        path: The file.
        options: Values that replace the file's, by dotted key (``--cfg-options``).

    Returns:
        The config. ``work_dir`` defaults to ``work_dirs/<name of the file>``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If an option names a place in a list that is not there.
    """
    from mmengine.config import Config

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no config file {path}')
    config = Config.fromfile(str(path))
    try:
        config.merge_from_dict(dict(options or {}))
    except KeyError as error:  # a place in a list that is not there
        raise ValueError(f'{path} does not fit the options: {error.args[0]}') from error
    _resolve_paths(config)
    if config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / path.stem)
    return config


def _resolve_paths(node) -> None:
    """Make relative paths absolute that exist in the repository but not in the current folder."""
    items = enumerate(node) if isinstance(node, list | tuple) else node.items()
    for key, value in list(items):
        if isinstance(value, Mapping | list | tuple):
            _resolve_paths(value)
        elif key in _PATH_KEYS and isinstance(value, str):
            elsewhere = REPOSITORY / value
            if elsewhere.exists() and not Path(value).exists():
                node[key] = str(elsewhere)
