"""Reads label files as the public datasets write them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, UnidentifiedImageError

_EXIF_ORIENTATION = 0x0112
_REASONS = {
    FileNotFoundError: 'is missing',
    IsADirectoryError: 'is a directory',
    PermissionError: 'may not be read',
}
SCALED = {'L;2': 85, 'L;4': 17}  # what Pillow multiplies the few levels of such greys by


def read_labels(
    path: Path, channel: int | None = None, classes: Sequence[str] | None = None
) -> np.ndarray:
    """Read the values that a label file holds: palette indices or numbers, 8 or 16 bits, no alpha.

    Args:
        path: An image file, or polygons (``*.json``); those of Cityscapes give train ids.
        channel: Channel of a colour image that holds the class, in the order red, green, blue;
            None if all of them must.
        classes: Names of the values that polygons are drawn with; of Cityscapes' if None.

    Returns:
        Values (H, W), integers.

    Raises:
        ImportError: It holds polygons, and cityscapesscripts is not installed.
        OSError: The file is missing, cut off or no image.
        ValueError: It does not hold one value a pixel.
    """
    if path.suffix == '.json':
        return _draw_polygons(path) if classes is None else _draw_classes(path, classes)
    with Image.open(path) as image:
        raw = image.tile[0][3] if image.tile else None
        image.load()  # to the end: OpenCV would fill up what is missing
        if image.mode in ('P', 'L', 'I', '1') or image.mode.startswith('I;16'):
            values = np.array(image).astype(np.int32)
            return values // SCALED.get(raw, 1)
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)  # Pillow cuts 16-bit colours down to 8
    if values is None or values.ndim != 3:
        raise ValueError('cannot be read as labels')
    if values.shape[2] == 4 and (values[..., 3] != np.iinfo(values.dtype).max).any():
        raise ValueError('is transparent in places, so that its classes are not certain')
    colours = values[..., 2::-1]
    if channel is not None:
        return colours[..., channel]
    if (colours != colours[..., :1]).any():
        raise ValueError('is a colour image, not one of classes')
    return colours[..., 0]


def _draw_polygons(path: Path) -> np.ndarray:
    try:
        from cityscapesscripts.helpers.annotation import Annotation
        from cityscapesscripts.preparation.json2labelImg import createLabelImage
    except ImportError as error:
        raise ImportError(
            f"{path} has polygons only: pip install -e '.[cityscapes]' brings what draws them"
        ) from error
    annotation = Annotation()
    with _reading_polygons():
        annotation.fromJsonText(path.read_text())
        return np.array(createLabelImage(annotation, 'trainIds'))


def _draw_classes(path: Path, classes: Sequence[str]) -> np.ndarray:
    """Draw the polygons of a dataset that has Cityscapes' format, and classes of its own."""
    with _reading_polygons():
        content = json.loads(path.read_text())
        size = int(content['imgWidth']), int(content['imgHeight'])
        image = Image.new('L', size, classes.index('unlabeled'))
        draw = ImageDraw.Draw(image)
        for item in content['objects']:
            name, points = _class_of(item['label'], classes), item['polygon']
            if item.get('deleted') or len(points) < 3 or name not in classes:
                continue
            draw.polygon([tuple(point) for point in points], fill=classes.index(name))
    return np.array(image)


def _class_of(label: str, classes: Sequence[str]) -> str:
    return label if label in classes else label.removesuffix('group')  # 'cargroup': several cars


def unknown_labels(path: Path, classes: Sequence[str]) -> list[str]:
    """Labels of polygons (``*.json``) that are none of the classes: they are not drawn.

    Raises:
        ValueError: It has no polygons.
    """
    with _reading_polygons():
        labels = dict.fromkeys(item['label'] for item in json.loads(path.read_text())['objects'])
    return [label for label in labels if _class_of(label, classes) not in classes]


@contextmanager
def _reading_polygons() -> Iterator[None]:
    """Say in other words what is wrong with a JSON file."""
    try:
        yield
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f'has no polygons of Cityscapes or its kin: {error}') from error
    except SystemExit as error:  # what createLabelImage does on an unknown label
        raise ValueError('has a label that Cityscapes does not') from error


def stored_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file as it is stored, or of what polygons are drawn into.

    Raises:
        OSError: The file is missing or no image.
        ValueError: It is JSON, but has no polygons of Cityscapes.
    """
    if path.suffix == '.json':
        with _reading_polygons():
            content = json.loads(path.read_text())
            return int(content['imgWidth']), int(content['imgHeight'])
    with Image.open(path) as image:
        return image.size


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an image: 1 if it is to be shown as it is, else 2 to 8."""
    if image.format == 'PNG' and 'exif' not in image.info:
        return 1  # Pillow would read the whole image to look behind it
    value = image.getexif().get(_EXIF_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def turn(pixels: np.ndarray, tag: int) -> np.ndarray:
    """Turn an array (h, w, ...) as it is to be shown by its EXIF orientation."""
    if tag >= 5:  # they lie across
        pixels, tag = pixels.swapaxes(0, 1), {5: 1, 6: 2, 7: 3, 8: 4}[tag]
    rows = -1 if tag in (3, 4) else 1
    columns = -1 if tag in (2, 3) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def shown_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image as it is to be shown, turned by its EXIF orientation."""
    return image.size[::-1] if orientation(image) >= 5 else image.size


def why_unreadable(path: Path, error: Exception) -> str:
    """Say why a file could not be read as an image, without its name."""
    if isinstance(error, OSError) and error.strerror and error.filename in (None, str(path)):
        return _REASONS.get(type(error), error.strerror.lower())
    if not os.path.exists(path):
        return 'is missing'
    if path.is_file() and not path.stat().st_size:
        return 'is empty'
    if isinstance(error, UnidentifiedImageError):
        return 'is no image'
    text = ' '.join(str(error).replace(str(path), '').split()).strip(' :')
    return text or type(error).__name__


def is_readable(path: Path) -> bool:
    """Whether a file has content, of an image if its suffix says so."""
    try:
        with Image.open(path) as image:
            image.load()
    except UnidentifiedImageError:
        return path.suffix.lower() not in Image.registered_extensions() and path.stat().st_size > 0
    except Exception:  # broken bytes can raise anything
        return False
    return True
