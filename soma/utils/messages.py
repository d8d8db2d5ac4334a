"""Exceptions as lines for users."""

from __future__ import annotations

_LESS_MEMORY = (
    'take fewer images at once (--batch 1 of predict, else batch_size of the data loader), --amp, '
    "or smaller windows (model.test_cfg: mode='slide', crop_size, stride, batch_windows=1)"
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether it says that the memory of a GPU is full; torch need not be imported for it."""
    return type(error).__name__ == 'OutOfMemoryError'


def one_line(error: Exception) -> str:
    """The message of an exception in one line, of characters that a terminal only shows.

    One of a data loader's worker is its traceback, whose last line is the message. To one of a GPU
    whose memory is full belongs what needs less.
    """
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if 'Original Traceback' in text:
        text = text.rstrip().rpartition('\n')[2].partition(': ')[2]
    if is_out_of_memory(error):
        text = f"the GPU's memory is full ({'. '.join(text.split('. ')[:2])}): {_LESS_MEMORY}"
    return printable(' '.join(text.split())) or type(error).__name__


def printable(text: str) -> str:
    """A text whose control characters, such as a terminal's escape codes, are written out."""
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
