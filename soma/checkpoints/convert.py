"""From one checkpoint file to another."""

import os

from ..adapters.card import BaseCard, Card
from ..io.files import CheckpointError, check_output
from ..models.backbones.dinov2_weights import convert_dinov2, patch_grid, read_pretrained
from ..utils.version import __version__
from .open import write_with_card


def convert_dinov2_file(
    pretrained: str | os.PathLike,
    converted: str | os.PathLike,
    img_size: tuple[int, int],
    patch_size: int,
    pos_embed_interp: str = 'exact',
    prefix: str = '',
) -> int:
    """Convert a DINOv2 file to another image and patch size, which its card says.

    Args:
        pretrained: File with the names of DINOv2's authors, timm, transformers or SoMA's release.
        converted: File to write, ``*.pth`` or ``*.safetensors``.
        img_size: Height and width of the image in pixels.
        patch_size: Side of a patch in pixels.
        pos_embed_interp: ``'exact'`` or ``'dinov2'``, as the model's option of this name.
        prefix: What the names of the backbone start with in a whole model; that of DINOv2's own
            training is found (:func:`~soma.models.backbones.dinov2_names.backbone_of`).

    Returns:
        The number of tensors written.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it holds no DINOv2 weights, or may be of several sizes.
        ValueError: If the sizes do not divide, or ``pos_embed_interp`` is unknown.
    """
    check_output(converted, [pretrained])
    patch_grid(img_size, patch_size)
    public, grid = read_pretrained(pretrained, prefix)
    try:
        state = convert_dinov2(public, img_size, patch_size, pos_embed_interp, grid)
    except ValueError as error:
        raise CheckpointError(f'{pretrained}: {error}') from error
    base = BaseCard(
        prefix='',
        file=os.fspath(pretrained),
        img_size=tuple(img_size),
        patch_size=patch_size,
        pos_embed_interp=pos_embed_interp,
    )
    write_with_card(state, Card(soma_version=__version__, base=base), converted)
    return len(state)
