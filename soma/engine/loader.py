"""Checkpoints that mmengine opens itself (``init_cfg`` of any module) are opened safely too."""

from __future__ import annotations

from mmengine.runner import CheckpointLoader

from ..io.checkpoint_files import read_checkpoint


def load_from_local(filename: str, map_location: str | None = None) -> dict:
    """Read a file; mmengine's own function of this name falls back to running its code."""
    return read_checkpoint(filename, map_location or 'cpu')


def install_loader() -> None:
    """Put the safe reader, which refuses addresses, in the place of all of mmengine's."""
    CheckpointLoader.register_scheme(tuple(CheckpointLoader._schemes), load_from_local, force=True)
