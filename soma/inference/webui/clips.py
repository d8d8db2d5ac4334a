"""Short videos on the page: each frame is predicted, and a video that browsers play is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...io.files import InputError, atomic_path
from ..video import Video, VideoWriter
from .models import Site, naming, too_large
from .views import Look, difference

SECONDS, FRAMES = 10, 100  # at most so much of a video is shown, with so many frames


class Clip(NamedTuple):
    """What models see in a video.

    Attributes:
        shares: Of each model, the mean of :meth:`Prediction.shares` over the frames.
        differ: The mean of :func:`difference` over the frames.
        text: Which part of the video it is.
    """

    shares: Sequence[Mapping[str, float]]
    differ: float | None
    text: str


def open_clip(file: Path, max_pixels: int) -> Video:
    """Open the part of a video that is shown: its first seconds, and not every frame of many.

    Raises:
        InputError: If it is none, or its frames are too large.
    """
    with naming(file):
        video = Video(file)
    height, width = video.size
    if width * height > max_pixels:
        raise too_large(file.name, width, height, max_pixels)
    frames = ceil(SECONDS * video.rate)
    frames = min(frames, video.count or frames)
    every = ceil(frames / FRAMES)
    return Video(file, every, ceil(frames / every))


def predict_clip(
    site: Site, file: Path, out: Path, look: Look, progress: Callable[[float], None]
) -> Clip:
    """Predict for a short video with each model, and write what they see beside each other.

    Args:
        site: Its models predict.
        file: The video.
        out: MP4 file to write.
        look: How it is drawn.
        progress: Told how much is done, 0 to 1.

    Raises:
        InputError: As for :func:`open_clip`; if a frame is damaged, or a model cannot take it.
    """
    video = open_clip(file, site.max_pixels)
    shares, differ, count = [Counter() for _ in site.models], [], 0
    with naming(file), ExitStack() as stack:
        temporary, writer = stack.enter_context(atomic_path(out)), None
        for count, frame in enumerate(video, 1):
            every = [m.inferencer.predict(frame.image, confidence=True) for m in site.models]
            predictions = look.select(every)
            drawn = np.hstack([look.draw(prediction) for prediction in predictions])
            if writer is None:
                film = VideoWriter(temporary, drawn.shape[:2], video.time_base, video.rate)
                writer = stack.enter_context(film)
            writer.write(drawn, frame.pts)
            for total, prediction in zip(shares, predictions, strict=True):
                total.update(prediction.shares())
            differ.append(difference(predictions))
            progress(min(1, count / video.count))
        if writer is None:
            raise InputError('it has no frames')
        writer.finish(video.end)
    means = [{name: total / count for name, total in of_one.items()} for of_one in shares]
    seconds = float(video.end * video.time_base)
    text = f'{file.name}, {count} frames of {seconds:.1f} s'
    return Clip(means, None if differ[0] is None else float(np.mean(differ)), text)
