"""What a folder of one's own images holds, as a config says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...io.files import InputError
from .counts import Counts


@dataclass(frozen=True)
class OwnData:
    """Images with masks or boxes.

    Attributes:
        options: Arguments of the dataset that all splits have.
        splits: Arguments of each split's, ``train``, ``val`` and perhaps ``test``, besides.
        classes: Names of the classes.
        counts: How often each occurs, by split.
        sizes: How many images have which width and height.
        files: What has to be written for it, by the file.
        remarks: What was assumed, and what is unusual.
    """

    options: dict
    splits: dict[str, dict]
    classes: Sequence[str]
    counts: dict[str, Counts]
    sizes: Counter[tuple[int, int]]
    files: Mapping[Path, Callable[[Path], None]]
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Move what all splits say alike to what they have in common."""
        first, *others = self.splits.values()
        for key, value in [*first.items()]:
            if all(other.get(key) == value for other in others):
                self.options[key] = value
                for split in self.splits.values():
                    del split[key]

    def lines(self) -> list[str]:
        """What there is to say of it beside the counts."""
        images = ', '.join(f'{split.total} {name}' for name, split in self.counts.items())
        sizes = [f'{w} x {h} ({count})' for (w, h), count in self.sizes.most_common(4)]
        more = ', ...' if len(self.sizes) > 4 else ''
        return [f'images: {images}; sizes: {", ".join(sizes)}{more}', *self.remarks]


def assign_splits(
    rows: Mapping[str, np.ndarray], share: float
) -> dict[str, tuple[str, np.ndarray]]:
    """Say which images to train on, and which to validate and test on.

    Args:
        rows: Pixels or boxes of each class, shape ``(images, classes)``, by the split that the
            folder has: ``train``, ``val``, ``test`` or ''.
        share: What part to validate on where there is no ``val``.

    Returns:
        Where the images of each split come from, and which they are.

    Raises:
        InputError: If there is nothing to train on, or too little to split.
    """
    source = 'train' if 'train' in rows else ''
    if source not in rows:
        raise InputError(f'there is {" and ".join(rows)}, and nothing to train on')
    if source and '' in rows:
        raise InputError('there is train, and more beside it: put that into train, val or test')
    splits = {name: (name, np.arange(len(rows[name]))) for name in ('val', 'test') if name in rows}
    if 'val' in rows:
        return {'train': (source, np.arange(len(rows[source]))), **splits}
    chosen = draw_split(rows[source], share)
    drawn = {'train': np.flatnonzero(~chosen), 'val': np.flatnonzero(chosen)}
    return {**{name: (source, indices) for name, indices in drawn.items()}, **splits}


def draw_split(rows: np.ndarray, share: float) -> np.ndarray:
    """Choose images to validate on.

    Of 100 draws the one is taken in which the most classes are on both sides, and then the one in
    which their amounts differ least.

    Args:
        rows: Pixels or boxes of each class, shape ``(images, classes)``.
        share: What part of the images to choose, at least one and not all.

    Returns:
        Whether each image was chosen, shape ``(images,)``.

    Raises:
        InputError: If there is one image only.
    """
    if len(rows) < 2:
        raise InputError('there is one image: add another, to validate on')
    count = min(max(1, round(len(rows) * share)), len(rows) - 1)
    rng, best = np.random.default_rng(0), None
    total = np.maximum(rows.sum(0), 1)
    for _ in range(100):
        chosen = np.zeros(len(rows), bool)
        chosen[rng.choice(len(rows), count, replace=False)] = True
        part = rows[chosen].sum(0)
        both = ((part > 0) & (part < rows.sum(0))).sum()
        score = both, -np.abs(part / total - count / len(rows)).sum()
        if best is None or score > best[0]:
            best = score, chosen
    return best[1]
