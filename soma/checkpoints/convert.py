"""From one checkpoint file to another."""

import os

from ..files import read_state_dict, write_checkpoint
from ..models.backbones.dinov2_weights import convert_dinov2


def convert_dinov2_file(
    pretrained: str | os.PathLike,
    converted: str | os.PathLike,
    img_size: tuple[int, int],
    patch_size: int,
) -> int:
    """Convert a DINOv2 file to another picture and patch size.

    Args:
        pretrained: File with the public, timm's or transformers' names.
        converted: File to write, ``*.pth`` or ``*.safetensors``.
        img_size: Height and width of the picture in pixels.
        patch_size: Side of a patch in pixels.

    Returns:
        The number of tensors written.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no DINOv2 weights, or the sizes do not divide.
    """
    state = convert_dinov2(read_state_dict(pretrained), img_size, patch_size)
    write_checkpoint(state, converted)
    return len(state)
