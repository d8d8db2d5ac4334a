"""Images as people hold them, made into arrays as OpenCV has them."""

from __future__ import annotations

import os
from collections.abc import Iterable

import mmcv
import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from ..datasets.label_files import why_unreadable
from ..io.files import InputError

AnyImage = str | os.PathLike | np.ndarray | Image.Image | Tensor


def is_image(value: AnyImage | Iterable[AnyImage]) -> bool:
    """Whether a value is one image, and not several."""
    if isinstance(value, np.ndarray | Tensor):
        return value.ndim < 4
    return isinstance(value, str | os.PathLike | Image.Image)


def to_bgr(image: AnyImage) -> np.ndarray:
    """Make an array of an image.

    Args:
        image: A file; an image of Pillow; an array ``(h, w)`` or ``(h, w, 3)`` in BGR order as
            OpenCV reads it, uint8; or a tensor ``(3, h, w)`` or ``(1, h, w)`` in RGB order as
            torchvision reads it, uint8 or floats from 0 to 1. Files and images of Pillow are turned
            as their EXIF orientation says.

    Returns:
        Shape ``(h, w, 3)``, uint8, BGR.

    Raises:
        InputError: If it is no such image, or the file cannot be read.
    """
    if isinstance(image, str | os.PathLike):
        return read_bgr(image)
    if isinstance(image, Image.Image):
        return np.array(ImageOps.exif_transpose(image).convert('RGB'))[..., ::-1].copy()
    if isinstance(image, Tensor):
        array = image.detach().cpu()
        if array.is_floating_point():
            if not 0 <= float(array.min()) <= float(array.max()) <= 1:
                raise InputError('a tensor of floats must hold an image from 0 to 1')
            array = (array.float() * 255).round()
        array = array.numpy()
        if array.ndim != 3 or array.shape[0] not in (1, 3):
            raise InputError(f'a tensor must be of shape (3, h, w), got {tuple(array.shape)}')
        image = np.repeat(array, 4 - len(array), 0)[:3][::-1].transpose(1, 2, 0)
        image = np.ascontiguousarray(image, np.uint8)
    if not isinstance(image, np.ndarray):
        raise InputError(f'a {type(image).__name__} is no image: give a file, array or tensor')
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, 2)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(
            f'an array must be of shape (h, w, 3) and uint8, got {image.shape} and {image.dtype}'
        )
    return image


def read_bgr(path: str | os.PathLike) -> np.ndarray:
    """Read an image file, turned as its EXIF orientation says.

    Returns:
        Shape ``(h, w, 3)``, uint8, BGR.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with Image.open(path):  # says more than OpenCV, and refuses enormous ones
            image = mmcv.imread(os.fspath(path))
        if image is None:
            raise InputError('its pixels are damaged')
    except Exception as error:  # broken bytes can raise anything
        reason = why_unreadable(path, error)
        raise InputError(f'{path} cannot be read as an image: {reason}') from error
    return image
