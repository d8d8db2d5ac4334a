"""From one checkpoint file to another."""

import os

from ..io.checkpoint_files import write_checkpoint
from ..io.files import check_output
from ..models.backbones.dinov2_weights import convert_dinov2, read_pretrained


def convert_dinov2_file(
    pretrained: str | os.PathLike,
    converted: str | os.PathLike,
    img_size: tuple[int, int],
    patch_size: int,
    pos_embed_interp: str = 'exact',
) -> int:
    """Convert a DINOv2 file to another image and patch size.

    Args:
        pretrained: File with the public, timm's or transformers' names.
        converted: File to write, ``*.pth`` or ``*.safetensors``.
        img_size: Height and width of the image in pixels.
        patch_size: Side of a patch in pixels.
        pos_embed_interp: ``'exact'`` or ``'dinov2'``, as the model's option of this name.

    Returns:
        The number of tensors written.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no DINOv2 weights, the sizes do not divide, or
            ``pos_embed_interp`` is unknown.
    """
    check_output(converted, [pretrained])
    state = convert_dinov2(read_pretrained(pretrained), img_size, patch_size, pos_embed_interp)
    write_checkpoint(state, converted)
    return len(state)
