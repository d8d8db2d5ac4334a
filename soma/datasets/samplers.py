"""Samplers, in mmengine's root registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import ConcatDataset

from ..io.files import InputError


@DATA_SAMPLERS.register_module()
class RatioSampler(InfiniteSampler):
    """Draws from the parts of a ``ConcatDataset`` by ratio, whatever their sizes, without end.

    Each part is gone through once before any of its samples comes again.

    Args:
        dataset: The parts.
        ratio: How often to draw from each part, relative.
        shuffle: Whether to go through each part in random order.
        seed: Seed of the draws; a random one, the same in all processes, if None.

    Raises:
        TypeError: If the dataset has no parts.
        InputError: If there is not one ratio above zero for each part.
    """

    def __init__(
        self,
        dataset: ConcatDataset,
        ratio: Sequence[float],
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        if not isinstance(dataset, ConcatDataset):
            raise TypeError(f'ratio needs a ConcatDataset, got a {type(dataset).__name__}')
        numbers = isinstance(ratio, Sequence) and all(isinstance(x, int | float) for x in ratio)
        if not numbers or len(ratio) != len(dataset.datasets) or min(ratio) <= 0:
            raise InputError(
                f'ratio must be {len(dataset.datasets)} numbers above 0, one a dataset, got {ratio}'
            )
        super().__init__(dataset, shuffle, seed)
        self.ratio = torch.tensor(ratio, dtype=torch.float64)

    def _infinite_indices(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self.seed)
        ends = self.dataset.cumulative_sizes
        parts = [
            self._part(start, end, generator) for start, end in zip([0, *ends], ends, strict=False)
        ]
        while True:
            drawn = torch.multinomial(self.ratio, 256, replacement=True, generator=generator)
            for part in drawn.tolist():
                yield next(parts[part])

    def _part(self, start: int, end: int, generator: torch.Generator) -> Iterator[int]:
        size = end - start
        while True:
            order = torch.randperm(size, generator=generator) if self.shuffle else range(size)
            yield from (start + int(index) for index in order)
