"""Predict for images, videos and cameras, and write files of what a model sees."""

from __future__ import annotations

import argparse
import csv
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..io.files import InputError, WriteError, atomic_path
from ..utils.config import load_config
from ..utils.progress import track
from .camera import Camera
from .inferencer import Inferencer
from .journal import SUMMARY, Journal, check_place, made_by, short
from .outputs import BOXES, COLUMNS, FRAMES, KINDS, Look, Outputs
from .prediction import Prediction
from .sources import Source, find_sources
from .stream import ahead, predict_each
from .video import Video, VideoWriter, import_av

WORKERS = 2  # threads that read, and as many that write


@dataclass(frozen=True)
class Pace:
    """How much is predicted, and how.

    Attributes:
        every: One of so many frames of videos and cameras.
        frames: So many of each at most.
        batch_size: Images of one size that go through the model at once.
        overwrite: Whether to predict anew what is there.
    """

    every: int = 1
    frames: int | None = None
    batch_size: int = 1
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ('every', 'frames', 'batch_size'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f'{name} must be 1 or more, got {value}')


@dataclass
class Done:
    """What a run has done.

    Attributes:
        folder: Where the files are.
        there: Sources that were predicted before.
        sources: Sources that were predicted.
        images: Images among them.
        frames: Frames of the others.
        seconds: How long it took.
        failures: Why each of the others was not.
    """

    folder: Path
    there: int = 0
    sources: int = 0
    images: int = 0
    frames: int = 0
    seconds: float = 0
    failures: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Number of sources."""
        return self.there + self.sources + len(self.failures)

    def __str__(self) -> str:
        counts = {n: c for n, c in (('images', self.images), ('frames', self.frames)) if c}
        parts = [f'{self.there} of {self.total} were there already'] if self.there else []
        if counts:
            rate = sum(counts.values()) / max(self.seconds, 1e-9)
            done = (f'{n} {name if n > 1 else name[:-1]}' for name, n in counts.items())
            rate = f'{rate:.3g} {" and ".join(counts)}/s'
            parts.append(f'{" and ".join(done)} in {self.seconds:.1f} s, {rate}')
        else:
            parts.append('nothing was predicted' if self.failures else 'nothing to do')
        return f'{", ".join(parts)}: {self.folder}'

    def check(self) -> None:
        """Name the sources that could not be predicted.

        Raises:
            InputError: If there are any.
        """
        if self.failures:
            failures = '; '.join(self.failures)
            raise InputError(f'{len(self.failures)} of {self.total} failed: {failures}')


def plan(words: Sequence[str], folder: Path, pace: Pace) -> list[Source]:
    """Find what is to be predicted, before a model loads.

    Args:
        words: As for :func:`~soma.inference.sources.find_sources`.
        folder: Where the files will be.
        pace: How much is wanted.

    Raises:
        InputError: If a word names no image, video or camera; if a video cannot be read; if the
            folder cannot be written to, or has files of something else.
    """
    kinds = [folder / kind for kind in (*KINDS, FRAMES)]
    sources = find_sources(words, kinds)
    moving = [source for source in sources if source.kind != 'image']
    if not moving and (pace.every > 1 or pace.frames):
        raise InputError('--every and --frames are for videos and cameras, there is none')
    if moving:
        import_av()
    check_place(folder, [*KINDS, FRAMES, SUMMARY, BOXES])
    return sources


def predict(
    model: Inferencer, sources: Sequence[Source], folder: Path, look: Look, pace: Pace
) -> Done:
    """Predict and write, with a progress bar.

    What was predicted before, whole and with the same model and settings, is left out.

    Args:
        model: The model.
        sources: As :func:`plan` gives them.
        folder: Where to write.
        look: What to write.
        pace: How much, and how.

    Returns:
        What was done. Sources that cannot be used stop no other.

    Raises:
        InputError: If the folder holds something of another model or other settings, if the model
            cannot give what is wanted, or a file cannot be written.
        KeyboardInterrupt: If the user interrupts; it tells what goes on.
    """
    run = _Run(model, folder, look, pace)
    try:
        return run.go(sources)
    except KeyboardInterrupt as error:
        done = f'{run.done.there + run.done.sources} of {len(sources)} are done'
        same = f'the same command{" without --overwrite" * pace.overwrite}'
        raise KeyboardInterrupt(f'{done}, {same} goes on where it stopped') from error


class _Run:
    """Goes through sources."""

    def __init__(self, model: Inferencer, folder: Path, look: Look, pace: Pace) -> None:
        self.model, self.pace, self.done = model, pace, Done(folder)
        self.outputs = Outputs(folder, look, model)
        settings = dict(ids=look.ids, score_thr=look.score_thr, opacity=look.opacity)
        settings |= dict(amp=model.amp, tta=model.tta, every=pace.every, frames=pace.frames)
        columns = ('frames', *COLUMNS, *model.classes)
        self.journal = Journal(folder, made_by(model, **settings), columns, pace.overwrite)
        # the random choices of views are not made for threads
        self.workers = 0 if model.tta else WORKERS

    def go(self, sources: Sequence[Source]) -> Done:
        self.journal.check_names(sources)
        todo = [s for s in sources if not self.journal.has(s, self.outputs.files(s))]
        self.done.there = len(sources) - len(todo)
        start, images = time.monotonic(), [s for s in todo if s.kind == 'image']
        moving = {s: opened for s in todo if s.kind != 'image' if (opened := self._open(s))}
        counts = [len(images), *(opened.count for opened in moving.values())]
        total = None if None in counts else sum(counts)
        self.journal.begin(todo)
        with closing(self._all(images, moving)) as steps:  # if interrupted, nothing half is left
            unit = 'frames' if moving and not images else 'images'
            for _ in track(steps, total, 'predicting', unit) if todo else ():
                pass
        self.done.seconds = time.monotonic() - start
        self.outputs.join_boxes(self.journal.finish())
        return self.done

    def _open(self, source: Source) -> Video | Camera | None:
        if source.kind == 'camera':
            table = self.outputs.table(source)
            if table.exists() and not self.pace.overwrite:
                raise InputError(f'{table} is there: name another folder, or give --overwrite')
            return Camera(source.path, self.pace.every, self.pace.frames)
        try:
            return Video(source.path, self.pace.every, self.pace.frames)
        except InputError as error:
            self.done.failures.append(str(error))
            return None

    def _each(self, images: Iterable) -> Iterator[Prediction | InputError]:
        batch, confidence = self.pace.batch_size, self.outputs.confidence
        return predict_each(self.model, images, batch, confidence, self.workers)

    def _all(self, images: Sequence[Source], moving: dict[Source, Video | Camera]) -> Iterator:
        """Predict for everything; yields after each image."""
        yield from self._images(images)
        for source, frames in moving.items():
            try:
                yield from self._frames(source, frames)
                self.done.sources += 1
            except WriteError:
                raise
            except (InputError, import_av().error.FFmpegError) as error:
                text = getattr(error, 'strerror', None) or str(error)
                named = text if str(source) in text else f'{source}: {text}'
                self.done.failures.append(named)

    def _images(self, sources: Sequence[Source]) -> Iterator:
        kinds = self.outputs.kinds()

        def write(pair: tuple[Source, Prediction | InputError]) -> tuple[Source, object]:
            source, outcome = pair
            if not isinstance(outcome, InputError):
                outcome = self.outputs.write(outcome, source.name, source.title, kinds)
            return source, outcome

        pairs = zip(sources, self._each(source.path for source in sources), strict=True)
        for source, numbers in ahead(write, pairs, WORKERS, WORKERS):
            if isinstance(numbers, InputError):
                self.done.failures.append(str(numbers))
            else:
                self.journal.add(source, [1, *numbers])
                self.done.sources += 1
                self.done.images += 1
            yield

    def _frames(self, source: Source, frames: Video | Camera) -> Iterator:
        """Predict for the frames of a video or a camera."""
        kinds = self.outputs.kinds(of_video=True)
        stills = [kind for kind in kinds if kind != 'overlays']
        times: deque[tuple[int, int]] = deque()  # of frames that are read but not predicted yet

        def images() -> Iterator[np.ndarray]:
            for index, pts, image in frames:
                times.append((index, pts))
                yield image

        count, total, writer = 0, 0, None
        self.outputs.clear_stills(source)
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.outputs.table(source)))
            table = csv.writer(stack.enter_context(temporary.open('w', newline='')))
            table.writerow(['frame', 'seconds', *COLUMNS, *self.model.classes])
            for outcome in self._each(images()):
                if isinstance(outcome, InputError):
                    raise outcome
                index, pts = times.popleft()
                if not count and 'overlays' in kinds:
                    temporary = stack.enter_context(atomic_path(self.outputs.film(source)))
                    sound = source.path if source.kind == 'video' else None
                    film = (frames.time_base, frames.rate, sound)
                    size = outcome.image.shape[:2]
                    writer = stack.enter_context(VideoWriter(temporary, size, *film))
                name = f'{source.title}/{index:06d}'
                numbers = self.outputs.write(outcome, name, name, stills)
                if writer is not None:
                    writer.write(self.outputs.overlay(outcome), pts)
                table.writerow([index, f'{float(pts * frames.time_base):.6g}', *short(numbers)])
                count, total = count + 1, total + np.array(numbers)
                yield
            if not count:
                raise InputError(f'{source} has no frames')
            if writer is not None:
                writer.finish(frames.end, cut=self.pace.frames is not None)
        self.journal.add(source, [count, *(total / count)])
        self.done.frames += count


def run_predict(args: argparse.Namespace) -> Done:
    """Do what the arguments of ``tools/predict.py`` ask for.

    Raises:
        FileNotFoundError: If a file does not exist.
        InputError: As for :func:`plan`, :func:`predict` and the model.
    """
    config = load_config(args.config) if args.config else None
    look = Look(args.save and tuple(args.save), args.ids, args.score_thr, args.opacity)
    pace = Pace(args.every, args.frames, args.batch, args.overwrite)
    sources = plan(args.source, Path(args.out), pace)
    options = dict(device=args.device, base=args.base, force=args.force)
    options |= dict(amp=args.amp, compile=args.compile, tta=args.tta)
    if config is None:
        model = Inferencer.from_pretrained(args.checkpoint, **options)
    else:
        model = Inferencer(config, args.checkpoint, **options)
    return predict(model, sources, Path(args.out), look, pace)
