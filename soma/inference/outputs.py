"""The files that are written of predictions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmseg.datasets import CityscapesDataset
from PIL import Image

from ..evaluation.domain_iou import write_classes
from ..io.files import InputError, atomic_path
from .drawing import check_score
from .inferencer import Inferencer
from .prediction import Prediction
from .sources import Source

_CITYSCAPES = tuple(CityscapesDataset.METAINFO['classes'])
_OF_PIXELS = ('masks', 'confidence', 'entropy')
_SUFFIXES = {'overlays': '.jpg', 'boxes': '.json'}  # of the others: .png
COLUMNS = ('height', 'width')  # before the numbers of the classes
KINDS = (*_OF_PIXELS, 'overlays', 'boxes')
FRAMES, BOXES = 'frames', 'boxes.json'


@dataclass(frozen=True)
class Look:
    """What is written, and how it looks.

    Attributes:
        kinds: Of ``KINDS``; by default overlays, and masks or boxes of images.
        ids: ``'cityscapes'`` for masks of Cityscapes ids.
        score_thr: Boxes with lower scores are neither drawn nor counted.
        opacity: Share of the classes' colours in overlays.
    """

    kinds: tuple[str, ...] | None = None
    ids: str | None = None
    score_thr: float = 0.3
    opacity: float = 0.6

    def __post_init__(self) -> None:
        check_score(self.score_thr)
        if not 0 <= self.opacity <= 1:
            raise InputError(f'opacity must be from 0 to 1, got {self.opacity}')


class Outputs:
    """Writes what is asked for of each prediction, below one folder.

    Args:
        folder: Where.
        look: What.
        model: Its predictions are to be written.

    Raises:
        InputError: If its predictions have no such thing.
    """

    def __init__(self, folder: Path, look: Look, model: Inferencer) -> None:
        self.folder, self.look, self.classes = folder, look, model.classes
        wrong = _OF_PIXELS if model.detects else ('boxes',)
        if names := [kind for kind in look.kinds or () if kind in wrong]:
            what = 'finds boxes' if model.detects else 'segments'
            raise InputError(f'the model {what}: it has no {names[0]} to save')
        if look.ids and (model.detects or tuple(model.classes) != _CITYSCAPES):
            raise InputError("Cityscapes ids are for a segmentor of Cityscapes' 19 classes")
        self.confidence = bool({'confidence', 'entropy'} & {*(look.kinds or ())})
        if self.confidence and model.tta:
            raise InputError('confidence and entropy are of one view: leave out either them or tta')
        self._default = ('boxes' if model.detects else 'masks', 'overlays')

    def kinds(self, of_video: bool = False) -> tuple[str, ...]:
        """What is written of an image, or of a video."""
        return self.look.kinds or (self._default[1:] if of_video else self._default)

    def place(self, kind: str, name: str) -> Path:
        """The file of an image."""
        return self.folder / kind / f'{name}{_SUFFIXES.get(kind, ".png")}'

    def film(self, source: Source) -> Path:
        """The overlays of a video."""
        return self.folder / 'overlays' / f'{source.name}.mp4'

    def table(self, source: Source) -> Path:
        """The numbers of each frame of a video."""
        return self.folder / FRAMES / f'{source.name}.csv'

    def files(self, source: Source) -> list[Path]:
        """What shows that a source is done; of the stills of a video the first."""
        if source.kind == 'image':
            return [self.place(kind, source.name) for kind in self.kinds()]
        kinds, first = self.kinds(of_video=True), f'{source.title}/000000'
        stills = [self.place(kind, first) for kind in kinds if kind != 'overlays']
        return [self.table(source), *stills, *([self.film(source)] * ('overlays' in kinds))]

    def clear_stills(self, source: Source) -> None:
        """Delete the files of single frames: those to come may be of others."""
        for kind in {*self.kinds(of_video=True)} - {'overlays'}:
            shutil.rmtree(self.folder / kind / source.title, ignore_errors=True)

    def write(
        self, prediction: Prediction, name: str, title: str, kinds: Iterable[str]
    ) -> list[float]:
        """Write files of an image.

        Args:
            prediction: What to write.
            name: What the files are called.
            title: What boxes call the image.
            kinds: Which files.

        Returns:
            Height, width and a number of each class, the share of the pixels or of boxes.

        Raises:
            WriteError: If one cannot be written.
        """
        for kind in kinds:
            place = self.place(kind, name)
            if kind == 'masks' and self.look.ids:
                write_classes(prediction.labels, self.classes, place)
            elif kind in ('masks', 'boxes'):
                prediction.save(place, title, name)
            else:
                with atomic_path(place) as temporary:
                    Image.fromarray(self._picture(kind, prediction)).save(temporary, quality=95)
        return self.count(prediction)

    def _picture(self, kind: str, prediction: Prediction) -> np.ndarray:
        if kind == 'overlays':
            return self.overlay(prediction)
        values = prediction.scores if kind == 'confidence' else prediction.entropy
        return (values * 255).round().astype(np.uint8)

    def overlay(self, prediction: Prediction) -> np.ndarray:
        """Draw a prediction, ``(h, w, 3)``, uint8, RGB."""
        return prediction.overlay(self.look.opacity, self.look.score_thr)

    def count(self, prediction: Prediction) -> list[float]:
        """Height, width and a number of each class, as :meth:`write` returns them."""
        counts = prediction.shares(self.look.score_thr)
        return [*prediction.image.shape[:2], *counts.values()]

    def join_boxes(self, sources: Iterable[Source]) -> None:
        """Put the boxes of images and frames into one file, if there are any.

        Raises:
            WriteError: If it cannot be written.
        """
        files = []
        for source in sources:
            if (file := self.place('boxes', source.name)).is_file() and source.kind == 'image':
                files.append(file)
            elif source.kind != 'image':
                files += sorted((self.folder / 'boxes' / source.title).glob('*.json'))
        if not files:
            return
        with atomic_path(self.folder / BOXES) as temporary, temporary.open('w') as target:
            comma = '['
            for file in files:
                for box in json.loads(file.read_text()):
                    target.write(f'{comma}\n{json.dumps(box)}')
                    comma = ','
            target.write('\n]\n' if comma == ',' else '[]\n')
