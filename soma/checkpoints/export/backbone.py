"""Merged backbones for other software."""

from __future__ import annotations

import os

import torch

from ...io.checkpoint_files import CheckpointError, write_checkpoint
from ...io.files import check_output
from ...models.backbones.dinov2_weights import timm_names
from ..load import check_folds, open_checkpoint, plain_weights


def export_backbone(
    adapter: str | os.PathLike,
    out: str | os.PathLike,
    names: str,
    backbone: str | os.PathLike | None = None,
    force: bool = False,
) -> int:
    """Write the backbone with the adapter folded in, under the names of timm or of DINOv2's files.

    Args:
        adapter: Any checkpoint.
        out: File to write, ``*.pth`` or ``*.safetensors``.
        names: ``'timm'`` or ``'dinov2'``.
        backbone: File of the pretrained weights, where ``adapter`` has none.
        force: Accept other pretrained weights than those that the adapter was trained on.

    Returns:
        The number of tensors written.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If a file cannot be used, or the base is not the adapter's.
    """
    check_output(out, [adapter, backbone])
    checkpoint = open_checkpoint(adapter)
    check_folds(checkpoint, f'exported to {names}')
    prefix, state = checkpoint.prefix, plain_weights(checkpoint, backbone, force)
    own = {k.removeprefix(prefix): value for k, value in state.items() if k.startswith(prefix)}
    if not own:
        raise CheckpointError(
            f'{adapter} holds no pretrained weights: name their file with --backbone'
        )
    if 'cls_token' not in own:
        raise CheckpointError(f'{adapter} has another backbone than DINOv2: {sorted(own)[:3]}')
    if names == 'timm':
        own = timm_names(own)
    else:  # the mask token is of no use, but their model has one
        own.setdefault('mask_token', torch.zeros(1, own['cls_token'].shape[-1]))
    write_checkpoint(own, out)
    return len(own)
