"""Pictures of segmentations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP = 6


def colour_overlay(
    image: np.ndarray, labels: np.ndarray, palette: np.ndarray, opacity: float = 0.6
) -> np.ndarray:
    """Lay the colours of the classes over a picture.

    Args:
        image: Shape ``(h, w, 3)``, uint8, RGB.
        labels: Class of each pixel, shape ``(h, w)``; values without a colour (ignore) show the
            picture.
        palette: RGB colours, shape ``(classes, 3)``.
        opacity: Share of the colour, 0 to 1.

    Returns:
        Shape ``(h, w, 3)``, uint8.

    Raises:
        ValueError: If the sizes differ.
    """
    if image.shape[:2] != labels.shape:
        raise ValueError(f'picture {image.shape[:2]} and labels {labels.shape} differ in size')
    known = (labels < len(palette))[..., None]
    colours = np.asarray(palette, np.float32)[np.minimum(labels, len(palette) - 1)]
    mixed = image * (1 - opacity) + colours * opacity
    return np.where(known, mixed, image).round().astype(np.uint8)


def side_by_side(
    pictures: Sequence[np.ndarray],
    titles: Sequence[str],
    classes: Sequence[str] = (),
    palette: Sequence = (),
) -> np.ndarray:
    """Put pictures of one height beside each other, titles above and a legend below.

    Args:
        pictures: Each of shape ``(h, w, 3)``, uint8, RGB.
        titles: One for each picture.
        classes: Names for the legend; none if empty.
        palette: RGB colour of each class.

    Returns:
        The sheet, shape ``(H, W, 3)``, uint8.
    """
    height = max(p.shape[0] for p in pictures)
    width = sum(p.shape[1] for p in pictures) + _GAP * (len(pictures) - 1)
    font = ImageFont.load_default(max(12, min(width // 70, height // 12)))
    line = round(font.size * 1.6)
    cell = max((round(font.getlength(name)) for name in classes), default=0) + 2 * line
    columns = max(1, width // cell) if classes else 1
    rows = -(-len(classes) // columns)
    sheet = Image.new('RGB', (width, line + height + rows * line + _GAP), 'white')
    draw = ImageDraw.Draw(sheet)
    x = 0
    for picture, title in zip(pictures, titles, strict=True):
        draw.text((x + _GAP, line // 6), title, 'black', font)
        sheet.paste(Image.fromarray(picture), (x, line))
        x += picture.shape[1] + _GAP
    for index, name in enumerate(classes):
        x, y = index % columns * cell, line + height + _GAP + index // columns * line
        draw.rectangle((x + 4, y + 2, x + line - 2, y + line - 6), tuple(map(int, palette[index])))
        draw.text((x + line + 2, y), name, 'black', font)
    return np.asarray(sheet)


def stack_rows(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Stack sheets of possibly different widths, left-aligned on white.

    Args:
        rows: Each of shape ``(h, w, 3)``, uint8.

    Returns:
        Shape ``(sum of h, largest w, 3)``, uint8.
    """
    width = max(row.shape[1] for row in rows)
    return np.concatenate(
        [np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    )
