"""Videos, frame by frame: read them, and write them with the sound of another one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from ..io.files import InputError

_COPIED = ('aac', 'mp3')  # sound that every player of MP4 plays


class Frame(NamedTuple):
    """A frame of a video.

    Attributes:
        index: Its place among the frames of the video.
        pts: When it is shown, in units of the video's ``time_base``.
        image: Shape ``(h, w, 3)``, uint8, BGR, upright.
    """

    index: int
    pts: int
    image: np.ndarray


def import_av() -> ModuleType:
    """Import PyAV.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise InputError('videos need PyAV: pip install "av>=15"') from error
    return av


@contextmanager
def _reading(path: str | os.PathLike) -> Iterator:
    """Open a file of PyAV; what goes wrong with it is said in one line."""
    av = import_av()
    try:
        with av.open(os.fspath(path)) as container:
            yield container
    except av.error.FFmpegError as error:
        raise InputError(f'{path} cannot be read as a video: {error.strerror}') from error


def _start(container) -> Fraction:
    """When a file begins, in seconds; its streams tell times from then on."""
    return Fraction(max(0, container.start_time or 0), 1_000_000)


class Video:
    """The frames of a video file; one at a time is in memory.

    Args:
        path: The file.
        every: Take one of so many frames.
        limit: Take so many at most.

    Raises:
        InputError: If it is none, or PyAV is not installed; likewise while it is read.

    Attributes:
        time_base: Unit of times, in seconds.
        rate: Frames a second, on average.
        size: Height and width as they are stored.
        count: About how many frames will be taken; None if that is unknown.
        end: When the last frame that was read ends, in units of ``time_base``.
    """

    def __init__(self, path: str | os.PathLike, every: int = 1, limit: int | None = None) -> None:
        self.path, self.every, self.limit, self.end = Path(path), every, limit, 0
        with _reading(path) as container:
            if not container.streams.video:
                raise InputError(f'{path} has no pictures, it is no video')
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate or 25
            self.time_base, self.rate = Fraction(stream.time_base), Fraction(rate) / every
            self.size = stream.height, stream.width
            frames = stream.frames or round((container.duration or 0) / 1e6 * rate)
        self.count = -(-frames // every) or None
        if limit is not None:
            self.count = min(limit, self.count or limit)

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames in order of time."""
        with _reading(self.path) as container:
            stream = container.streams.video[0]
            stream.thread_type = 'AUTO'  # decodes ahead, too
            start = round(_start(container) / self.time_base)
            for index, frame in enumerate(container.decode(stream)):
                if self.limit is not None and index >= self.limit * self.every:
                    return
                usual = max(1, round(1 / (self.rate * self.every * self.time_base)))
                pts = self.end if frame.pts is None else frame.pts - start
                self.end = max(self.end, pts + (frame.duration or usual))
                if index % self.every == 0:
                    image = np.rot90(frame.to_ndarray(format='bgr24'), frame.rotation // 90)
                    yield Frame(index, pts, np.ascontiguousarray(image))


class VideoWriter:
    """Writes an MP4 file that browsers play: H.264, 8 bits, even sizes.

    Args:
        path: The file.
        size: Height and width; an odd one gets another row or column, a copy of the last.
        time_base: Unit of times, in seconds.
        rate: Frames a second, on average.
        sound: Video whose sound is put into the file, at the same times; none if None.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        size: tuple[int, int],
        time_base: Fraction,
        rate: Fraction,
        sound: str | os.PathLike | None = None,
    ) -> None:
        self.time_base, self._size, self._held, self._last = time_base, size, None, None
        with ExitStack() as stack:
            # its table at the front, so that a browser need not load all of it first
            options = {'movflags': '+faststart'}
            writer = import_av().open(os.fspath(path), 'w', format='mp4', options=options)
            self._file = stack.enter_context(writer)
            # without frames out of order: each one ends when the next begins
            quality = {'crf': '20', 'preset': 'veryfast', 'bf': '0'}
            self._stream = self._file.add_stream('libx264', rate=rate, options=quality)
            self._stream.height, self._stream.width = (length + length % 2 for length in size)
            self._stream.pix_fmt, self._stream.time_base = 'yuv420p', time_base
            context = self._stream.codec_context
            context.time_base = time_base
            # BT.709, which players take for granted
            context.colorspace = context.color_primaries = context.color_trc = 1
            context.color_range = 1
            self._sound = None
            if sound is not None:
                self._sound = _Sound(stack.enter_context(_reading(sound)), self._file)
            self._stack = stack.pop_all()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()

    def write(self, image: np.ndarray, pts: int) -> None:
        """Add a frame.

        Args:
            image: Shape ``(h, w, 3)``, uint8, RGB.
            pts: When it is shown; later than the one before.

        Raises:
            InputError: If its size is another one.
        """
        if image.shape[:2] != self._size:
            sizes = f'{self._size} and {image.shape[:2]}'
            raise InputError(f'the frames of a video must have one size, they have {sizes}')
        height, width = self._size
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), 'edge')
        av = import_av()
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), 'rgb24')
        frame = frame.reformat(format='yuv420p', dst_colorspace='ITU709')
        pts = pts if self._last is None else max(pts, self._last + 1)
        frame.pts, frame.time_base, self._last = pts, self.time_base, pts
        self._add(self._stream.encode(frame))

    def finish(self, end: int, cut: bool = False) -> None:
        """Complete the file: the last frame is shown until ``end``, where the sound can be cut."""
        self._add(self._stream.encode(None))
        if self._held is not None:
            self._held.duration = max(1, end - self._held.pts)
            self._file.mux(self._held)
        if self._sound is not None:
            self._sound.write(end * self.time_base if cut else None)

    def _add(self, packets: list) -> None:
        """Write packets; the newest is held back until it is known when it ends."""
        for packet in packets:
            if self._held is not None:
                self._held.duration = packet.pts - self._held.pts
                if self._sound is not None:
                    self._sound.write(self._held.pts * self.time_base)
                self._file.mux(self._held)
            self._held = packet


class _Sound:
    """Puts the first sound of a file into another one, copied if it is of a kind for MP4."""

    def __init__(self, source, target) -> None:
        self._packets, self._target, self._next = iter(()), target, None
        if not source.streams.audio:
            return
        stream = source.streams.audio[0]
        if stream.codec_context.name in _COPIED:
            self._packets = self._copied(source, stream, target.add_stream_from_template(stream))
        else:
            layout = stream.layout.name
            made = target.add_stream('aac', rate=stream.rate, layout=layout)
            self._packets = self._encoded(source, stream, made)

    def write(self, until: Fraction | None) -> None:
        """Write what is heard before a time in seconds, or all that is left if None."""
        while (packet := self._next or next(self._packets, None)) is not None:
            self._next = packet
            if until is not None and packet.pts * packet.time_base >= until:
                return
            self._next = None
            self._target.mux(packet)

    @staticmethod
    def _copied(source, stream, made) -> Iterator:
        start = round(_start(source) / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:  # the last one only says that it is the last
                packet.pts, packet.dts = packet.pts - start, packet.dts - start
                packet.stream = made
                yield packet

    @staticmethod
    def _encoded(source, stream, made) -> Iterator:
        start = round(_start(source) / stream.time_base)
        for frame in source.decode(stream):
            frame.pts -= start
            yield from made.encode(frame)
        yield from made.encode(None)
