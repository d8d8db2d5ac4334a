"""Checkpoints that mmengine opens itself (``init_cfg`` of any module) are opened safely too."""

from __future__ import annotations

from mmengine.runner import CheckpointLoader

from ..files import CheckpointError, read_checkpoint

_ELSEWHERE = (
    'http://',
    'https://',
    'pavi://',
    r'(\S+\:)?s3://',
    r'(\S+\:)?petrel://',
    'modelzoo://',
    'torchvision://',
    'open-mmlab://',
    'openmmlab://',
    'mmcls://',
)


def load_from_local(filename: str, map_location: str | None = None) -> dict:
    """Read a file; mmengine's own function of this name falls back to running its code."""
    return read_checkpoint(filename, map_location or 'cpu')


def load_from_address(filename: str, map_location: str | None = None) -> dict:
    """Refuse an address, whose file nobody has looked at.

    Raises:
        CheckpointError: Always.
    """
    raise CheckpointError(f'{filename} is no local file: download it first')


def install_loader() -> None:
    """Put these functions in the place of mmengine's."""
    CheckpointLoader.register_scheme('', load_from_local, force=True)
    CheckpointLoader.register_scheme(_ELSEWHERE, load_from_address, force=True)
