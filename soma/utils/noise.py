"""Lines of other packages that every run would show and no user can do anything about."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_PRINTED = 'Could not import OneDL'  # an optional package of mmseg and mmdet
_WARNED = (
    'faster_coco_eval is not installed',
    'torch.meshgrid: in an upcoming release',
    'The shape of value will convert',  # of PixelData
    'Default ``avg_non_ignore`` is False',
    'The draw is False',  # of mmseg's visualization hook
    'For binary segmentation, we suggest',
    "'pin_memory' argument is set as true but no accelerator",
)
_LOGGED = (
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'Distributed training is not used, all SyncBatchNorm',
    'The prefix is not set in metric class Domain',
    'The prefix is not set in metric class Episode',
    'resumed key: loop_stage is not defined',  # of a training that stopped early
)
# For whoever looks into the file of the log.
_DETAILS = ('Hooks will be executed', 'optimizer group ')


@contextmanager
def without_prints() -> Iterator[None]:
    """Keep such lines off the console while OpenMMLab's packages are imported."""
    with redirect_stdout(_Filtered(sys.stdout)):
        yield


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore such warnings while a script works."""
    with warnings.catch_warnings():
        for start in _WARNED:
            warnings.filterwarnings('ignore', start)
        yield


def is_not_noise(record: logging.LogRecord) -> bool:
    """Filter for a logger that drops such lines."""
    return not record.getMessage().startswith(_LOGGED)


def is_no_detail(record: logging.LogRecord) -> bool:
    """Filter for a console, which drops what most do not need to know."""
    return not record.getMessage().startswith(_DETAILS)


class _Filtered:
    """A stream that passes text on, but for the lines to be dropped."""

    def __init__(self, stream) -> None:
        self.stream, self.dropped = stream, False

    def write(self, text: str) -> int:
        if text.startswith(_PRINTED):
            self.dropped = not text.endswith('\n')  # print() writes the end of a line by itself
        elif self.dropped and text == '\n':
            self.dropped = False
        else:
            self.stream.write(text)
        return len(text)

    def __getattr__(self, name: str):
        return getattr(self.stream, name)
