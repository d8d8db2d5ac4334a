"""Frames of a camera."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import cv2

from ..io.files import InputError
from .video import Frame


class Camera:
    """The frames of a camera, until the user interrupts or a limit is reached.

    Args:
        number: 0 for the first one.
        every: Take one of so many frames.
        limit: Take so many at most.

    Raises:
        InputError: When frames are read, if there is no such camera.

    Attributes:
        time_base, rate, count, end: As those of a :class:`~soma.inference.video.Video`.
    """

    def __init__(self, number: int, every: int = 1, limit: int | None = None) -> None:
        self.number, self.every, self.count = number, every, limit
        self.time_base, self.rate, self.end = Fraction(1, 1000), Fraction(30), 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as they come, with the times at which they came."""
        camera = cv2.VideoCapture(self.number)
        try:
            if not camera.isOpened():
                raise InputError(f'there is no camera {self.number}, or it is in use')
            first, index, taken = time.monotonic(), 0, 0
            with _interrupted() as stopped:
                while not stopped and taken != self.count:
                    whole, image = camera.read()
                    if not whole:
                        raise InputError(f'camera {self.number} gives no more images')
                    now = round((time.monotonic() - first) * 1000)
                    self.end = now + 40
                    if index % self.every == 0:
                        taken += 1
                        yield Frame(index, now, image)
                    index += 1
        finally:
            camera.release()


@contextmanager
def _interrupted() -> Iterator[list]:
    """Give a list that is empty until the user interrupts, which raises nothing meanwhile."""
    stopped: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: stopped.append(number))
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
