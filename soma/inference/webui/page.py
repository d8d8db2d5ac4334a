"""The page: its parts, and what happens when a visitor does something."""

# No annotations as text in this file: gradio reads those of functions that it calls.
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from ...io.files import InputError
from ..prediction import Prediction
from ..sources import VIDEOS
from .clips import Clip, predict_clip
from .models import Model, Site, predict_image
from .style import ON_CLICK, SWITCH_COLOURS
from .views import (
    VIEWS,
    Look,
    boxes_html,
    caption_html,
    difference,
    legend,
    legend_html,
    pixel_html,
    scale_html,
)

_START = '<p class="hint">Drop an image or a video, or choose one.</p>'
_CLIP = '<p class="hint">Open the video again for another view.</p>'
_HINT = '<p class="hint">Click into the picture: class and confidence there.</p>'
_EMPTY = dict(
    dict.fromkeys(('caption', 'scale', 'boxes'), ''),
    legend=_START,
    **dict.fromkeys(('picture', 'clip', 'labels', 'views')),
)


@dataclass(frozen=True)
class Shown:
    """What a visitor looks at: predictions for a file, and a folder for pictures of them.

    There are no predictions of a video, which is drawn once.
    """

    file: str
    folder: Path
    predictions: Sequence[Prediction] = ()


def show(site: Site, shown: Shown, look: Look) -> dict[str, Any]:
    """Make what a page shows of the predictions for an image.

    Returns:
        Files of ``picture`` (two to compare), ``views`` and ``labels`` (to download), and HTML of
        ``caption``, ``legend``, ``scale`` and ``boxes``.
    """
    predictions, views, labels = look.select(shown.predictions), [], []
    first = predictions[0]
    for title, prediction, whole in zip(site.titles, predictions, shown.predictions, strict=True):
        name = Path(shown.file).stem
        if len(site.models) > 1:
            name = f'{name}_{title.replace("/", "_")}'
        suffix, view = ('png', look.view) if first.boxes is None else ('json', 'boxes')
        views.append(str(shown.folder / f'{name}_{view}.png'))
        # hardly compressed: it must be quick
        Image.fromarray(look.draw(prediction)).save(views[-1], compress_level=1)
        labels.append(str(shown.folder / f'{name}.{suffix}'))
        if not os.path.exists(labels[-1]):
            whole.save(labels[-1], Path(shown.file).name)
    height, width = first.image.shape[:2]
    shares = [prediction.shares() for prediction in predictions]
    text, differ = f'{shown.file}, {width} x {height}', difference(predictions)
    entries, is_boxes = legend(shares, first.classes, first.palette), first.boxes is not None
    return dict(
        picture=tuple(views) if len(views) > 1 else views[0],
        views=views,
        labels=labels,
        caption=caption_html(text, site.titles, differ),
        legend=legend_html(entries, site.titles, is_boxes),
        scale='' if is_boxes else scale_html(look.view),
        boxes=boxes_html(predictions, site.titles) if is_boxes else '',
    )


def show_clip(site: Site, clip: Clip, file: Path, look: Look) -> dict[str, Any]:
    """Make what a page shows of a video: ``clip``, ``caption``, ``legend`` and ``scale``."""
    model = site.models[0].inferencer
    entries = legend(clip.shares, model.classes, model.palette)
    return dict(
        clip=str(file),
        caption=caption_html(clip.text, site.titles, clip.differ),
        legend=legend_html(entries, site.titles, site.detects),
        scale='' if site.detects else scale_html(look.view),
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
        self._detects = site.detects
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
                    legends, boxes = gr.HTML(_START), gr.HTML(visible=self._detects)
            self._parts = dict(**downloads, **pictures, legend=legends, boxes=boxes)
            self._connect()

    def _add_inputs(self) -> None:
        gr, site = self._gr, self._site
        label = f'Image or short video, {site.max_mb} MB'
        options = dict(label=label, height=130, elem_id='upload')
        self._upload = gr.File(file_types=['image', 'video'], **options)
        options = dict(label='Or one of the folder', visible=bool(site.media), elem_id='choice')
        self._choice = gr.Dropdown([*site.media], value=None, **options)
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
        options = dict(interactive=False, show_label=False, visible=False, elem_id='clip')
        clip = gr.Video(buttons=['download'], autoplay=True, loop=True, **options)
        self._canvas, scale, self._pixel = canvas, gr.HTML(), gr.HTML()
        return dict(caption=caption, picture=picture, clip=clip, scale=scale)

    def _connect(self) -> None:
        gr, state = self._gr, [self._shown, *self._look]
        parts = [p for g in self._parts.values() for p in (g if isinstance(g, list) else [g])]
        outputs = [*parts, self._canvas, self._shown, self._pixel, self._upload, self._choice]
        # one prediction at a time; what is drawn of another one need not wait
        predicting = dict(concurrency_id='model', show_progress_on=self._parts['picture'])
        uploads = [self._upload.upload, self._upload.clear]
        gr.on(uploads, self._open_upload, [self._upload, *state], outputs, **predicting)
        self._choice.select(self._open_choice, [self._choice, *state], outputs, **predicting)
        drawing = dict(concurrency_id='drawing', trigger_mode='always_last')
        changes = [part.input for part in self._look]
        gr.on(changes, self._draw, state, parts, show_progress='hidden', **drawing)

        def tell(shown: Any, view: str, opacity: float, score: float, event: gr.EventData) -> str:
            if shown is None:
                return ''
            predictions = Look(view, opacity, score).select(shown.predictions)
            return pixel_html(predictions, self._site.titles, event.x, event.y)

        telling = dict(show_progress='hidden', concurrency_limit=None)
        self._canvas.select(tell, state, self._pixel, **telling)

    def _open_upload(self, file: str | None, before: Shown | None, *look: Any) -> dict:
        path = Path(file) if file else None
        return self._open(path, path and path.name, before, look) | {self._choice: None}

    def _open_choice(self, name: str | None, before: Shown | None, *look: Any) -> dict:
        return self._open(self._site.media.get(name), name, before, look) | {self._upload: None}

    def _open(self, path: Path | None, name: str | None, before: Shown | None, look: Any) -> dict:
        _forget(before)
        if path is None:
            return self._nothing()
        folder, look = Path(tempfile.mkdtemp(dir=self._work)), Look(*look)
        try:
            if path.suffix.lower() in VIDEOS:
                out = folder / f'{path.stem}_{"boxes" if self._site.detects else look.view}.mp4'
                progress = partial(self._gr.Progress(), desc='predicting')
                clip = predict_clip(self._site, path, out, look, progress)
                shown, values = Shown(name, folder), show_clip(self._site, clip, out, look)
            else:
                shown = Shown(name, folder, predict_image(self._site, path))
                values = show(self._site, shown, look)
        except InputError as error:
            shutil.rmtree(folder)
            self._gr.Warning(escape(str(error)), title='This cannot be shown')
            return self._nothing() | {self._upload: None}
        hint = _HINT if shown.predictions else _CLIP
        return {self._shown: shown, self._pixel: hint, **self._update(_EMPTY | values)}

    def _nothing(self) -> dict:
        return {self._shown: None, self._pixel: '', **self._update(_EMPTY)}

    def _draw(self, shown: Shown | None, *look: Any) -> dict:
        # meanwhile another file may have been opened
        is_image = shown is not None and shown.predictions and shown.folder.is_dir()
        return self._update(show(self._site, shown, Look(*look)) if is_image else {})

    def _update(self, values: Mapping[str, Any]) -> dict:
        """The values of parts, as gradio takes them; a part without one is left as it is."""
        update, gr = {}, self._gr
        for name, value in values.items():
            part = self._parts[name]
            if isinstance(part, list):
                files = value or [None] * len(part)
                for button, file in zip(part, files, strict=True):
                    update[button] = gr.update(value=file, interactive=file is not None)
            elif name == 'clip':
                update[part] = gr.update(value=value, visible=value is not None)
                update[self._canvas] = gr.update(visible=value is None)
            else:
                update[part] = value
        return update


def _header(models: Sequence[Model]) -> str:
    names = ' <small>against</small> '.join(escape(model.name) for model in models)
    notes = dict.fromkeys(model.note for model in models if model.note)
    classes = len(models[0].inferencer.classes)
    kind = 'detector' if models[0].inferencer.detects else 'segmentation'
    text = ' · '.join([*map(escape, notes), f'{kind} of {classes} classes'])
    button = '<button title="light or dark">\u25d0</button>'
    return f'<header><div><h1>{names}</h1><p>{text}</p></div>{button}</header>'


def _forget(shown: Shown | None) -> None:
    """Remove the pictures of what is no longer looked at."""
    if shown is not None:
        shutil.rmtree(shown.folder, ignore_errors=True)
