"""What the page in the browser shows of predictions: pictures, numbers, pieces of HTML.

Where several predictions are taken they are of one image, each of a model of the same classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import NamedTuple

import cv2
import numpy as np

from ..prediction import Prediction

VIEWS = ('overlay', 'mask', 'confidence', 'entropy')
_MAPS = dict(confidence=('unsure', 'sure'), entropy=('one class', 'all classes alike'))
_ROWS = 100  # of a table of boxes


class Entry(NamedTuple):
    """A line of a legend.

    Attributes:
        name: Of the class.
        colour: Red, green and blue.
        shares: Of the pixels, 0 to 1, of each prediction; of a detector the number of boxes.
    """

    name: str
    colour: tuple[int, int, int]
    shares: tuple[float, ...]


def colour_map(values: np.ndarray) -> np.ndarray:
    """Colours, dark blue for 0 to yellow for 1, of values ``(h, w)``: ``(h, w, 3)``, uint8, RGB."""
    levels = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1]


def surest(prediction: Prediction, score_thr: float) -> Prediction:
    """The boxes with a score of at least ``score_thr``, the surest first; a segmentation as is."""
    if prediction.boxes is None:
        return prediction
    order = np.argsort(-prediction.scores, kind='stable')
    order = order[prediction.scores[order] >= score_thr]
    parts = {name: getattr(prediction, name)[order] for name in ('labels', 'scores', 'boxes')}
    return replace(prediction, **parts)


@dataclass(frozen=True)
class Look:
    """How a visitor looks at predictions.

    Attributes:
        view: One of ``VIEWS``; of no meaning for boxes.
        opacity: Share of the classes' colours in an overlay, 0 to 1.
        score_thr: Boxes with lower scores are left out.
    """

    view: str
    opacity: float
    score_thr: float

    def select(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """Leave boxes of low scores out."""
        return [surest(prediction, self.score_thr) for prediction in predictions]

    def draw(self, prediction: Prediction) -> np.ndarray:
        """Draw a segmentation, with its confidence, or all boxes.

        Returns:
            Shape ``(h, w, 3)``, uint8, RGB.
        """
        if prediction.boxes is not None:
            return prediction.overlay(score_thr=0)
        if self.view in _MAPS:
            is_confidence = self.view == 'confidence'
            return colour_map(prediction.scores if is_confidence else prediction.entropy)
        return prediction.overlay(1 if self.view == 'mask' else self.opacity)


def legend(
    shares: Sequence[Mapping[str, float]], classes: Sequence[str], palette: np.ndarray
) -> list[Entry]:
    """The classes that are there, the largest first.

    Args:
        shares: Of each model, as :meth:`Prediction.shares` gives them.
        classes: Their names.
        palette: Their colours.
    """
    entries = [
        Entry(name, tuple(colour), tuple(of_one[name] for of_one in shares))
        for name, colour in zip(classes, palette.tolist(), strict=True)
    ]
    return sorted((e for e in entries if any(e.shares)), key=lambda entry: -max(entry.shares))


def difference(predictions: Sequence[Prediction]) -> float | None:
    """The share of the pixels, 0 to 1, to which two segmentations give different classes.

    None if they are no two segmentations.
    """
    first, last = predictions[0], predictions[-1]
    if len(predictions) < 2 or first.boxes is not None:
        return None
    return float(np.mean(first.labels != last.labels))


def what_is_at(prediction: Prediction, x: int, y: int) -> list[tuple[str, float]]:
    """Class and confidence at a pixel; of boxes those of each around it."""
    if prediction.boxes is None:
        places, scores = [prediction.labels[y, x]], [prediction.scores[y, x]]
    else:
        left, top, right, bottom = prediction.boxes.T
        inside = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
        places, scores = prediction.labels[inside], prediction.scores[inside]
    names = [prediction.classes[place] for place in places]
    return [(name, float(score)) for name, score in zip(names, scores, strict=True)]


def percent(share: float) -> str:
    """A share as text, such that only nothing is 0 and only all is 100 %."""
    if 0 < share < 0.0005:
        return '< 0.1 %'
    if 0.9995 <= share < 1:
        return '> 99.9 %'
    return f'{100 * share:.1f} %'


def legend_html(entries: Sequence[Entry], titles: Sequence[str], counts_boxes: bool) -> str:
    """A legend: of each class its colour, its shares or numbers of boxes, and bars of them."""
    if not entries:
        return '<p class="hint">No box has such a score.</p>'
    largest = max(entries[0].shares)
    columns = ''.join(f'<b>{escape(title)}</b>' for title in titles)
    lines = [f'<li><span></span>{columns}</li>'] if len(titles) > 1 else []
    for name, colour, shares in entries:
        paint = f'background:rgb{colour}'
        numbers = [f'{share:.3g}' if counts_boxes else percent(share) for share in shares]
        texts = ''.join(f'<b>{escape(number)}</b>' for number in numbers)
        widths = [f'width:{100 * share / largest:.1f}%' for share in shares]
        bars = ''.join(f'<s style="{width};{paint}"></s>' for width in widths)
        line = f'<i style="{paint}"></i><span>{escape(name)}</span>{texts}<u>{bars}</u>'
        lines.append(f'<li>{line}</li>')
    return f'<ul class="legend">{"".join(lines)}</ul>'


def caption_html(text: str, titles: Sequence[str], differ: float | None = None) -> str:
    """The line above a picture: a text, or two models and how far they differ."""
    middle = f'<span>{escape(text)}</span>'
    if len(titles) == 1:
        return f'<div class="caption">{middle}</div>'
    if differ is not None:
        share = escape(percent(differ))
        middle = f'<span title="{escape(text)}">they differ at <b>{share}</b> of the pixels</span>'
    first, second = map(escape, titles)
    return f'<div class="caption"><b>{first}</b>{middle}<b>{second}</b></div>'


def scale_html(view: str) -> str:
    """The scale of a colour map; nothing for the other views."""
    if view not in _MAPS:
        return ''
    stops = colour_map(np.linspace(0, 1, 9)[None])[0].tolist()
    colours = ', '.join(f'rgb({red} {green} {blue})' for red, green, blue in stops)
    bar = f'<i style="background:linear-gradient(to right, {colours})"></i>'
    low, high = _MAPS[view]
    return f'<div class="scale"><span>0, {low}</span>{bar}<span>1, {high}</span></div>'


def pixel_html(predictions: Sequence[Prediction], titles: Sequence[str], x: int, y: int) -> str:
    """What each model sees at a pixel; nothing if that is outside of the image."""
    height, width = predictions[0].image.shape[:2]
    if not (0 <= x < width and 0 <= y < height):
        return ''
    lines = []
    for prediction, title in zip(predictions, titles, strict=True):
        there = what_is_at(prediction, x, y)
        texts = [f'{escape(name)} <b>{escape(percent(score))}</b>' for name, score in there]
        heading = f'<em>{escape(title)}</em>' if len(titles) > 1 else ''
        lines.append(f'<p>{heading}{", ".join(texts) or "no box"}</p>')
    return f'<div class="pixel"><em>pixel {x}, {y}</em>{"".join(lines)}</div>'


def boxes_html(predictions: Sequence[Prediction], titles: Sequence[str]) -> str:
    """A table of the boxes of each model: class, score, left, top, width and height in pixels."""
    columns = ('class', 'score', 'left', 'top', 'width', 'height')
    head = ''.join(f'<th>{column}</th>' for column in columns)
    tables = []
    for prediction, title in zip(predictions, titles, strict=True):
        boxes = prediction.boxes[:_ROWS]
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).round().astype(int)
        rows = [
            (escape(prediction.classes[label]), f'{score:.2f}', *box)
            for label, score, box in zip(
                prediction.labels, prediction.scores, boxes.tolist(), strict=False
            )
        ]
        cells = [''.join(f'<td>{cell}</td>' for cell in row) for row in rows]
        if more := len(prediction.boxes) - len(rows):
            cells.append(f'<td colspan="6">and {more} of lower scores</td>')
        caption = f'<caption>{escape(title)}</caption>' if len(titles) > 1 else ''
        body = ''.join(f'<tr>{row}</tr>' for row in cells)
        tables.append(
            f'<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        )
    return f'<div class="boxes">{"".join(tables)}</div>'
