"""Work on many files in several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import cv2

from ..io.files import InputError
from .progress import track

T = TypeVar('T')
R = TypeVar('R')


def run_parallel(
    function: Callable[[T], R], jobs: Sequence[T], nproc: int = 1, title: str = 'working'
) -> list[R]:
    """Calls `function` on every job and shows a progress bar with the time left.

    Args:
        function: A picklable function of one job.
        jobs: The jobs.
        nproc: Number of processes; 1 works in this one.
        title: Of the progress bar.

    Returns:
        The results in the order of the jobs.

    Raises:
        InputError: `nproc` is less than 1, or a process was killed.
        Exception: Whatever the function raises; the jobs not yet begun are dropped.
    """
    if nproc < 1:
        raise InputError(f'nproc must be at least 1, got {nproc}')
    with _one_thread():  # forked workers would wait for ever for OpenCV's threads, which they lack
        if nproc == 1 or len(jobs) < 2:
            return list(track(map(function, jobs), len(jobs), title))
        # Forked workers need not import torch again. They start before the progress bar's thread.
        method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None
        context = multiprocessing.get_context(method)
        pool = ProcessPoolExecutor(nproc, mp_context=context, initializer=_prepare)
        try:
            chunk = max(1, min(16, len(jobs) // (nproc * 4)))
            return list(track(pool.map(function, jobs, chunksize=chunk), len(jobs), title))
        except BrokenProcessPool as error:
            text = f'one of the {nproc} processes was killed, as for want of memory: try --nproc 1'
            raise InputError(text) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    """Sets up a worker: one thread; when the user interrupts, the parent decides."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Lets OpenCV use one thread, as in a worker process."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
