"""Predict for images one after the other, while the next ones are read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
import torch

from ..io.files import InputError
from .images import AnyImage
from .prediction import Prediction

T, R = TypeVar('T'), TypeVar('R')
_ERRORS = (ArithmeticError, RuntimeError, ValueError, cv2.error)
_PIXELS = 16_000_000  # of a batch, at most: the scores of all classes at each are in memory


class Prepared(NamedTuple):
    """An image, and what the pipeline has made of it.

    Attributes:
        image: Shape ``(h, w, 3)``, uint8, BGR.
        sample: For the model.
        name: Of its file, if it was one.
    """

    image: np.ndarray
    sample: dict
    name: str = ''

    def fits(self, batch: Sequence[Prepared]) -> bool:
        """Whether it can go through the model with others; one of several views cannot."""
        inputs, first = self.sample['inputs'], batch[0].sample['inputs']
        pixels = sum(image.shape[0] * image.shape[1] for image, *_ in (*batch, self))
        return (
            isinstance(inputs, torch.Tensor) and inputs.shape == first.shape and pixels <= _PIXELS
        )


class Predictor(Protocol):
    """What :class:`~soma.inference.Inferencer`, which imports from here, does in two steps."""

    def prepare(self, image: AnyImage) -> Prepared:
        """Read an image and put it through the pipeline; runs in several threads."""

    def run(self, batch: Sequence[Prepared], confidence: bool = False) -> list[Prediction]:
        """Predict for images of one size at once."""


def predict_each(
    model: Predictor,
    images: Iterable[AnyImage],
    batch_size: int = 1,
    confidence: bool = False,
    workers: int = 0,
) -> Iterator[Prediction | InputError]:
    """Predict for each image, in bounded memory; one that cannot be used stops no other.

    Args:
        model: It prepares and runs.
        images: As for :meth:`Inferencer.predict`.
        batch_size: How many of one size, one after the other, go through the model at once;
            fewer if they have more than 16 million pixels together.
        confidence: Whether a segmentor says how sure it is of each pixel.
        workers: Threads that read images while the model works; 0 for none.

    Yields:
        In order, a prediction or why there is none.
    """
    batch: list[Prepared] = []
    ready = ahead(partial(_prepare, model), images, workers, workers + batch_size)
    for prepared in ready:
        failed = isinstance(prepared, InputError)
        if batch and (failed or len(batch) == batch_size or not prepared.fits(batch)):
            yield from _run(model, batch, confidence)
            batch = []
        if failed:
            yield prepared
        else:
            batch.append(prepared)
    if batch:
        yield from _run(model, batch, confidence)


def ahead(function: Callable[[T], R], items: Iterable[T], workers: int, depth: int) -> Iterator[R]:
    """Map in threads, at most ``depth`` items before the one that is yielded; in order."""
    if not workers:
        yield from map(function, items)
        return
    pending: deque = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > depth:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _prepare(model: Predictor, image: AnyImage) -> Prepared | InputError:
    name = os.fspath(image) if isinstance(image, str | os.PathLike) else ''
    try:
        return model.prepare(image)._replace(name=name)
    except InputError as error:  # which names the file
        return error
    except _ERRORS as error:
        return _of_image(error, name)


def _run(
    model: Predictor, batch: Sequence[Prepared], confidence: bool
) -> list[Prediction | InputError]:
    try:
        return model.run(batch, confidence)
    except _ERRORS as error:
        failure = _of_image(error, batch[0].name)
    if len(batch) == 1:
        return [failure]
    return [result for one in batch for result in _run(model, [one], confidence)]


def _of_image(error: Exception, name: str) -> InputError:
    """Say that an image cannot be used; what no image is to blame for is raised."""
    is_plain = type(error) is RuntimeError and 'CUD' not in str(error)  # CUDA, CUDNN
    if isinstance(error, RuntimeError) and not is_plain:
        raise error  # of the program, the GPU or its memory
    return InputError(f'{name}: '.lstrip(': ') + ' '.join(str(error).split()))
