"""Random numbers that depend on the seed and the place in the run, not on what came before.

Each training step draws from the seed, the process and the iteration, each sample from the seed,
the process and its position in the data. Seed and iteration are thus all the state there is, with
any number of workers, and a resumed run draws what an uninterrupted one does.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from mmengine.logging import print_log
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

_STEP, _SAMPLE, _START = range(3)


def seed_step(seed: int, rank: int, iteration: int) -> None:
    """Seed Python, numpy and torch for a training step."""
    torch.manual_seed(_seed(_STEP, seed, rank, iteration))


def seed_start(seed: int) -> None:
    """Seed Python, numpy and torch for what comes before the first step, alike on all processes."""
    torch.manual_seed(_seed(_START, seed))


def seed_samples(loader: DataLoader, seed: int, rank: int, consumed: Callable[[], int]) -> None:
    """Make a data loader seed Python, numpy and torch's CPU for each sample, in its worker.

    Exact when resumed with mmengine's ``InfiniteSampler``, and at the start of an epoch with any.

    Args:
        loader: Changed in place, before its first iteration.
        seed: Of the run.
        rank: Of this process.
        consumed: Function that returns the number of batches that training has seen.
    """
    batches = loader.batch_sampler
    if isinstance(loader.dataset, IterableDataset) or not hasattr(batches, 'sampler'):
        print_log(
            f'the samples of a {type(loader.dataset).__name__} have no position to be seeded by: a '
            'resumed run will draw other random numbers than an uninterrupted one',
            logger='current',
            level=logging.WARNING,
        )
        return
    batches.sampler = _Positions(batches.sampler, lambda: consumed() * batches.batch_size)
    # PyTorch asks for a whole batch where a dataset can give one.
    loader.dataset.__getitems__ = partial(_samples, loader.dataset, seed, rank)


class _Index(int):
    """An index with its position in the order of the samples."""

    position: int


class _Positions(Sampler):
    """A sampler whose indices have their position."""

    def __init__(self, sampler: Sampler, start: Callable[[], int]) -> None:
        self.sampler, self.start = sampler, start

    def __iter__(self) -> Iterator[_Index]:
        start = self.start()
        for offset, index in enumerate(self.sampler):
            index = _Index(index)
            index.position = start + offset
            yield index

    def __len__(self) -> int:
        return len(self.sampler)

    def __getattr__(self, name: str):
        """What batch samplers and hooks ask of a sampler: its dataset, its ``set_epoch``."""
        if name == 'sampler':  # not yet there, in a copy
            raise AttributeError(name)
        return getattr(self.sampler, name)


def _samples(dataset: Dataset, seed: int, rank: int, indices: Sequence[_Index]) -> list:
    samples = []
    for index in indices:
        # On the CPU alone: where no GPU is in use yet, torch.manual_seed takes milliseconds.
        torch.default_generator.manual_seed(_seed(_SAMPLE, seed, rank, index.position))
        samples.append(dataset[int(index)])
    return samples


def _seed(*place: int) -> int:
    """Seed Python and numpy; the seed for torch."""
    words = np.random.SeedSequence(place).generate_state(6)
    random.seed(int(words[0]))
    np.random.seed(words[1:5])
    return int(words[5])
