"""Images of segmentations and of boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.structures import InstanceData
from PIL import Image, ImageDraw, ImageFont

from ..io.files import InputError
from ..utils.colours import colour_overlay

_GAP = 6


def check_score(score_thr: float) -> None:
    """Make sure that a limit of scores is one.

    Raises:
        InputError: If it is no number from 0 to 1.
    """
    if not isinstance(score_thr, int | float) or not 0 <= score_thr <= 1:
        raise InputError(f'score_thr must be from 0 to 1, got {score_thr!r}')


def draw_boxes(
    image: np.ndarray,
    objects: InstanceData,
    classes: Sequence[str],
    palette: np.ndarray,
    score_thr: float = 0.3,
) -> np.ndarray:
    """Draw boxes with the names of their classes and, if they have them, their scores.

    Args:
        image: Shape ``(h, w, 3)``, uint8, RGB.
        objects: Arrays ``bboxes`` (left, top, right and bottom in pixels, shape ``(n, 4)``),
            ``labels`` and, of a prediction, ``scores`` (shape ``(n,)``).
        classes: Names of the classes.
        palette: RGB colours, shape ``(classes, 3)``.
        score_thr: Boxes with lower scores are left out.

    Returns:
        Shape ``(h, w, 3)``, uint8.
    """
    sheet = Image.fromarray(image).copy()
    draw = ImageDraw.Draw(sheet)
    line = max(2, round(min(sheet.size) / 250))
    font = ImageFont.load_default(max(10, min(sheet.size) / 36))
    texts = [classes[label] for label in objects.labels]
    order = range(len(texts))
    if (scores := objects.get('scores')) is not None:
        texts = [f'{text} {score:.2f}' for text, score in zip(texts, scores, strict=True)]
        # the surest on top
        order = [index for index in np.argsort(scores, kind='stable') if scores[index] >= score_thr]
    colours = [tuple(map(int, palette[label])) for label in objects.labels]
    # of the text, and of an edge that shows dark frames on an image at night
    edges = ['black' if _is_bright(colour) else 'white' for colour in colours]
    boxes = objects.bboxes.tolist()
    for index in order:
        left, top, right, bottom = boxes[index]
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), None, edges[index])
        draw.rectangle(boxes[index], None, colours[index], line)
    for index in order:  # above all frames
        left, top, *_ = boxes[index]
        width, height = font.getbbox(texts[index])[2:]
        width, height = width + 2 * line, height + line
        left = max(0, min(left, sheet.width - width))
        top = top - height if top > height else max(0, top)
        draw.rectangle((left, top, left + width, top + height), colours[index])
        draw.text((left + line, top), texts[index], edges[index], font)
    return np.asarray(sheet)


def _is_bright(colour: Sequence[int]) -> bool:
    return np.dot(colour, (0.299, 0.587, 0.114)) > 140


def draw_result(
    image: np.ndarray,
    result: np.ndarray | InstanceData,
    classes: Sequence[str],
    palette: np.ndarray,
    score_thr: float = 0.3,
    opacity: float = 0.6,
) -> np.ndarray:
    """Draw the result of a segmentor or a detector, the class of each pixel or objects.

    The arguments are those of :func:`colour_overlay` and :func:`draw_boxes`.
    """
    if isinstance(result, InstanceData):
        return draw_boxes(image, result, classes, palette, score_thr)
    return colour_overlay(image, result, palette, opacity)


def side_by_side(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    classes: Sequence[str] = (),
    palette: Sequence = (),
) -> np.ndarray:
    """Put images of one height beside each other, titles above and a legend below.

    Args:
        images: Each of shape ``(h, w, 3)``, uint8, RGB.
        titles: One for each image.
        classes: Names for the legend; none if empty.
        palette: RGB colour of each class.

    Returns:
        The sheet, shape ``(H, W, 3)``, uint8.
    """
    height = max(image.shape[0] for image in images)
    width = sum(image.shape[1] for image in images) + _GAP * (len(images) - 1)
    font = ImageFont.load_default(max(12, min(width // 70, height // 12)))
    line = round(font.size * 1.6)
    cell = max((round(font.getlength(name)) for name in classes), default=0) + 2 * line
    columns = max(1, width // cell) if classes else 1
    rows = -(-len(classes) // columns)
    sheet = Image.new('RGB', (width, line + height + rows * line + _GAP), 'white')
    draw = ImageDraw.Draw(sheet)
    x = 0
    for image, title in zip(images, titles, strict=True):
        draw.text((x + _GAP, line // 6), title, 'black', font)
        sheet.paste(Image.fromarray(image), (x, line))
        x += image.shape[1] + _GAP
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
