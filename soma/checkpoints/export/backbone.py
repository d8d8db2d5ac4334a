"""Merged backbones for other software."""

from __future__ import annotations

import os

import torch

from ...io.checkpoint_files import write_checkpoint
from ...io.files import CheckpointError, check_output
from ...models.backbones.dinov2_names import REQUIRED, timm_names
from ..complete import complete
from ..open import open_checkpoint


def export_backbone(
    adapter: str | os.PathLike,
    out: str | os.PathLike,
    names: str,
    base: str | os.PathLike | None = None,
    force: bool = False,
    config: str | os.PathLike | None = None,
) -> int:
    """Write the backbone with the adapter folded in, under the names of timm or of DINOv2's files.

    Args:
        adapter: Any checkpoint.
        out: File to write, ``*.pth`` or ``*.safetensors``.
        names: ``'timm'`` or ``'dinov2'``.
        base: File of the pretrained weights, where ``adapter`` has none.
        force: Accept other pretrained weights than those that the adapter was trained on.
        config: As for :func:`~soma.checkpoints.merge_files`.

    Returns:
        The number of tensors written.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If a file cannot be used, the base is missing or not the adapter's, the
            config is not, or one of ``base``, ``force`` and ``config`` is of no use.
    """
    check_output(out, [adapter, base])
    checkpoint = open_checkpoint(adapter)
    checkpoint.check_folds(f'exported to {names}')
    checkpoint = complete(checkpoint, base, force, config)
    prefix, base = checkpoint.card.prefix, checkpoint.card.known_base
    is_timm = base is not None and base.timm_options is not None
    weights = {
        name.removeprefix(prefix): value
        for name, value in checkpoint.plain().items()
        if name.startswith(prefix)
    }
    needed = ('cls_token',) if names == 'timm' else (*REQUIRED, 'blocks.0.ls1.gamma')
    fits = names == 'timm' if is_timm else weights.keys() >= {*needed}
    if not fits:
        raise CheckpointError(f'{adapter} has another backbone than DINOv2: {sorted(weights)[:3]}')
    if names == 'timm' and not is_timm:
        weights = timm_names(weights)
    elif names == 'dinov2':  # the mask token is of no use, but their model has one
        weights.setdefault('mask_token', torch.zeros(1, weights['cls_token'].shape[-1]))
    write_checkpoint(weights, out)
    return len(weights)
