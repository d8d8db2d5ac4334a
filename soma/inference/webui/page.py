"""The page: its parts, and what happens when a visitor does something."""

# No annotations as text in this file: gradio reads those of functions that it calls.
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from ...io.files import InputError
from ..prediction import Prediction
from .models import Model, predict_file
from .style import ON_CLICK, SWITCH_COLOURS
from .views import (
    VIEWS,
    boxes_html,
    caption_html,
    draw_view,
    legend_html,
    pixel_html,
    scale_html,
    surest,
)

_DOWNLOADS = ('labels', 'views')
_START = '<p class="hint">Drop an image, or choose one.</p>'
_HINT = '<p class="hint">Click into the picture: class and confidence there.</p>'


@dataclass(frozen=True)
class Site:
    """What a page is made of.

    Attributes:
        models: One, or two to compare.
        images: Those of the folder that can be chosen from, by name.
        max_pixels: Of an image.
        max_mb: Of an uploaded file.
    """

    models: Sequence[Model]
    images: Mapping[str, Path] = field(default_factory=dict)
    max_pixels: int = 16_000_000
    max_mb: int = 64

    @property
    def titles(self) -> list[str]:
        """The names of the models."""
        return [model.name for model in self.models]


@dataclass(frozen=True)
class Shown:
    """What a visitor looks at: predictions for a file, and a folder for pictures of them."""

    file: str
    predictions: Sequence[Prediction]
    folder: Path


def show(site: Site, shown: Shown, view: str, opacity: float, score_thr: float) -> dict[str, Any]:
    """Make what a page shows of predictions.

    Args:
        site: What the page is made of.
        shown: The predictions.
        view: One of ``VIEWS``, of segmentations.
        opacity: Of an overlay, 0 to 1.
        score_thr: Boxes with lower scores are left out.

    Returns:
        Files of ``picture`` (two to compare), ``views`` and ``labels`` (to download), and HTML of
        ``caption``, ``legend``, ``scale`` and ``boxes``.
    """
    predictions = [surest(prediction, score_thr) for prediction in shown.predictions]
    boxes = predictions[0].boxes is not None
    views, labels = [], []
    for title, prediction, whole in zip(site.titles, predictions, shown.predictions, strict=True):
        name = Path(shown.file).stem
        if len(site.models) > 1:
            name = f'{name}_{title.replace("/", "_")}'
        views.append(str(shown.folder / f'{name}_{"boxes" if boxes else view}.png'))
        # it must be quick
        Image.fromarray(draw_view(prediction, view, opacity)).save(views[-1], compress_level=1)
        labels.append(str(shown.folder / f'{name}.{"json" if boxes else "png"}'))
        if not os.path.exists(labels[-1]):
            whole.save(labels[-1])
    return dict(
        picture=tuple(views) if len(views) > 1 else views[0],
        views=views,
        labels=labels,
        caption=caption_html(predictions, site.titles, shown.file),
        legend=legend_html(predictions),
        scale='' if boxes else scale_html(view),
        boxes=boxes_html(predictions, site.titles) if boxes else '',
    )


class Page:
    """The parts of a page, and what happens at an event.

    Args:
        gr: The module gradio.
        site: What it is made of.
        work: Folder for the files that it shows.

    Attributes:
        blocks: The page, for gradio to serve.
    """

    def __init__(self, gr: ModuleType, site: Site, work: Path) -> None:
        self._gr, self._site, self._work = gr, site, work
        self._detects = site.models[0].finds_boxes
        options = dict(title='soma: ' + ' against '.join(site.titles), fill_width=True)
        with gr.Blocks(**options, analytics_enabled=False, delete_cache=(600, 3600)) as self.blocks:
            gr.HTML(_header(site.models), js_on_load=SWITCH_COLOURS)
            # what a visitor has left is deleted
            self._shown = gr.State(None, time_to_live=3600, delete_callback=_forget)
            with gr.Row():
                with gr.Column(scale=0, min_width=270):
                    self._add_inputs()
                    downloads = self._add_downloads()
                with gr.Column(scale=1, min_width=400, elem_id='middle'):
                    pictures = self._add_picture()
                with gr.Column(scale=0, min_width=340 if self._detects else 290):
                    legend, boxes = gr.HTML(_START), gr.HTML(visible=self._detects)
            self._parts = dict(**downloads, **pictures, legend=legend, boxes=boxes)
            self._connect()

    def _add_inputs(self) -> None:
        gr, site = self._gr, self._site
        label = f'Image of at most {site.max_mb} MB'
        self._upload = gr.File(label=label, file_types=['image'], height=130, elem_id='upload')
        names, label = list(site.images), 'Or one of the folder'
        self._choice = gr.Dropdown(names, value=None, label=label, visible=bool(names))
        views, segments = [(view.capitalize(), view) for view in VIEWS], not self._detects
        self._look = [
            gr.Radio(views, value='overlay', label='View', visible=segments),
            gr.Slider(0, 1, 0.6, step=0.05, label='Opacity', visible=segments),
            gr.Slider(0, 1, 0.3, step=0.01, label='Lowest score', visible=self._detects),
        ]

    def _add_downloads(self) -> dict[str, list]:
        gr = self._gr
        names = dict(labels='Boxes, JSON' if self._detects else 'Mask, PNG', views='Picture, PNG')
        buttons = {part: [] for part in names}
        for title in self._site.titles:
            if len(self._site.models) > 1:
                gr.HTML(f'<p class="download">{escape(title)}</p>')
            with gr.Row():
                for part, name in names.items():
                    options = dict(size='sm', interactive=False, min_width=80)
                    buttons[part].append(gr.DownloadButton(f'\u2193 {name}', **options))
        return buttons

    def _add_picture(self) -> dict[str, Any]:
        gr = self._gr
        caption = gr.HTML()
        with gr.HTML(html_template='@children', js_on_load=ON_CLICK, elem_id='canvas') as canvas:
            make = gr.ImageSlider if len(self._site.models) > 1 else gr.Image
            picture = make(interactive=False, show_label=False, buttons=['fullscreen'])
        self._canvas, scale, self._pixel = canvas, gr.HTML(), gr.HTML()
        return dict(caption=caption, picture=picture, scale=scale)

    def _connect(self) -> None:
        gr, state = self._gr, [self._shown, *self._look]
        parts = [p for g in self._parts.values() for p in (g if isinstance(g, list) else [g])]
        outputs = [*parts, self._shown, self._pixel, self._upload, self._choice]
        # one prediction at a time; what is drawn of another one need not wait
        predicting = dict(concurrency_id='model', show_progress_on=self._parts['picture'])
        uploads = [self._upload.upload, self._upload.clear]
        gr.on(uploads, self._open_upload, [self._upload, *state], outputs, **predicting)
        self._choice.input(self._open_choice, [self._choice, *state], outputs, **predicting)
        drawing = dict(concurrency_id='drawing', trigger_mode='always_last')
        changes = [part.input for part in self._look]
        gr.on(changes, self._draw, state, parts, show_progress='hidden', **drawing)

        def tell(shown: Any, view: str, opacity: float, score: float, event: gr.EventData) -> str:
            if shown is None:
                return ''
            predictions = [surest(prediction, score) for prediction in shown.predictions]
            return pixel_html(predictions, self._site.titles, event.x, event.y)

        telling = dict(show_progress='hidden', concurrency_limit=None)
        self._canvas.select(tell, state, self._pixel, **telling)

    def _open_upload(self, file: str | None, before: Shown | None, *look: Any) -> dict:
        path = Path(file) if file else None
        return self._open(path, path and path.name, before, look) | {self._choice: None}

    def _open_choice(self, name: str | None, before: Shown | None, *look: Any) -> dict:
        return self._open(self._site.images.get(name), name, before, look) | {self._upload: None}

    def _open(self, path: Path | None, name: str | None, before: Shown | None, look: Any) -> dict:
        _forget(before)
        try:
            predictions = path and predict_file(self._site.models, path, self._site.max_pixels)
        except InputError as error:
            self._gr.Warning(escape(str(error)), title='This cannot be shown')
            return self._nothing() | {self._upload: None}
        if predictions is None:
            return self._nothing()
        shown = Shown(name, predictions, Path(tempfile.mkdtemp(dir=self._work)))
        return {self._shown: shown, self._pixel: _HINT, **self._draw(shown, *look)}

    def _nothing(self) -> dict:
        empty = dict.fromkeys(self._parts, None) | dict(
            legend=_START, caption='', scale='', boxes=''
        )
        for name in _DOWNLOADS:
            empty[name] = [None] * len(self._site.models)
        return {self._shown: None, self._pixel: '', **self._update(empty)}

    def _draw(self, shown: Shown | None, *look: Any) -> dict:
        return self._update({} if shown is None else show(self._site, shown, *look))

    def _update(self, values: Mapping[str, Any]) -> dict:
        update = {}
        for name, value in values.items():
            if name not in _DOWNLOADS:
                update[self._parts[name]] = value
                continue
            for button, file in zip(self._parts[name], value, strict=True):
                update[button] = self._gr.update(value=file, interactive=file is not None)
        return update


def _header(models: Sequence[Model]) -> str:
    names = ' <small>against</small> '.join(escape(model.name) for model in models)
    notes = dict.fromkeys(model.note for model in models if model.note)
    classes = len(models[0].inferencer.classes)
    kind = 'detector' if models[0].finds_boxes else 'segmentation'
    text = ' · '.join([*map(escape, notes), f'{kind} of {classes} classes'])
    button = '<button title="light or dark">\u25d0</button>'
    return f'<header><div><h1>{names}</h1><p>{text}</p></div>{button}</header>'


def _forget(shown: Shown | None) -> None:
    """Remove the pictures of what is no longer looked at."""
    if shown is not None:
        shutil.rmtree(shown.folder, ignore_errors=True)
