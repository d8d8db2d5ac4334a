"""Writes the toy streets to disk as if they were the real datasets."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from soma.datasets.lists import write_names
from soma.io.files import write_json
from soma.utils.parallel import run_parallel

from .diverse import DIVERSE_WEATHER_STYLES
from .domains import DOMAIN_STYLES
from .layout import sample_scene
from .raw import RAW_LAYOUTS, SPLITS, save_sample
from .render import render

GENERATOR_VERSION = 2  # raise it when the same request would give other images
MANIFEST = 'toy_streets.json'
_STYLES = {**DOMAIN_STYLES, **DIVERSE_WEATHER_STYLES}


@dataclass(frozen=True)
class Report:
    """What `write_toy_streets` did.

    Attributes:
        images: Number of images written; 0 if all were there.
        render_ms: Mean time to render one, milliseconds of one core.
        write_ms: Mean time to encode and write one.
    """

    images: int
    render_ms: float = 0.0
    write_ms: float = 0.0

    def __str__(self) -> str:
        if not self.images:
            return 'nothing to do: these images are there already'
        return (
            f'{self.images} images written; mean time of one on one core: '
            f'{self.render_ms:.0f} ms to render, {self.write_ms:.0f} ms to write'
        )


@dataclass(frozen=True)
class _Job:
    out: Path
    domain: str
    split: str
    index: int
    size: tuple[int, int]
    seed: int


def _write_one(job: _Job) -> tuple[float, float]:
    """Renders and writes one sample; returns the seconds that each took."""
    layout = RAW_LAYOUTS[job.domain]
    # Each image has its own seed: neither order, number nor company of others changes it.
    rng = np.random.default_rng(
        [job.seed, crc32(job.domain.encode()), SPLITS.index(job.split), job.index]
    )
    start = time.perf_counter()
    scene = sample_scene(rng)
    width, height = (n * layout.scale for n in job.size)
    rendering = render(scene, _STYLES[job.domain](rng), (width, height), rng)
    middle = time.perf_counter()
    save_sample(job.out, layout.files(job.split, job.index), rendering)
    return middle - start, time.perf_counter() - middle


def write_toy_streets(
    out: str | Path,
    images: int,
    size: tuple[int, int],
    seed: int = 0,
    domains: Sequence[str] | None = None,
    nproc: int = 1,
    val_images: int | None = None,
    sources: Sequence[str] | None = None,
    test_images: int = 0,
) -> Report:
    """Writes toy streets below `out` in the raw layout of each domain's dataset.

    Args:
        out: The data folder; `out/toy_streets.json` says what was asked for.
        images: Number of training images of each domain that has a training split.
        size: Width and height of the images in pixels; Mapillary's are twice as large, since
            its conversion halves them.
        seed: Seed of all randomness.
        domains: Names out of `DOMAIN_STYLES`, all of them by default, and
            `DIVERSE_WEATHER_STYLES`, which have boxes.
        nproc: Number of processes; the images do not depend on it.
        val_images: Number of validation images of each domain that has a validation split;
            `images` by default.
        sources: Which of the domains get their training split; all by default.
        test_images: Number of images without labels of each domain that has a test split.

    Returns:
        How many images were written, and the mean times.

    Raises:
        ValueError: An argument makes no sense.
        FileExistsError: `out` holds other toy streets, or other data where these would go.
    """
    out = Path(out)
    val_images = images if val_images is None else val_images
    domains = list(DOMAIN_STYLES) if domains is None else list(dict.fromkeys(domains))
    sources = list(domains if sources is None else dict.fromkeys(sources))
    _check(images, val_images, test_images, size, seed, domains, nproc)
    if not set(sources) <= set(domains):
        raise ValueError(f'sources {sources} must be among the domains {domains}')
    request = {
        'generator_version': GENERATOR_VERSION,
        'images': images,
        'val_images': val_images,
        'test_images': test_images,
        'size': list(size),
        'seed': seed,
        'domains': domains,
        'sources': sources,
    }
    if _is_complete(out, request):
        return Report(0)
    _write_manifest(out, {**request, 'complete': False})
    counts = {'train': images, 'val': val_images, 'test': test_images}
    splits = [
        (domain, split)
        for domain in domains
        for split in RAW_LAYOUTS[domain].splits
        if split != 'train' or domain in sources
    ]
    jobs = [
        _Job(out, domain, split, index, tuple(size), seed)
        for domain, split in splits
        for index in range(counts[split])
    ]
    seconds = np.array(run_parallel(_write_one, jobs, nproc, 'toy streets'))
    for domain, split in splits:
        layout = RAW_LAYOUTS[domain]
        if split in layout.lists:
            names = [layout.files(split, index)[0].stem for index in range(counts[split])]
            write_names(out / layout.lists[split], names)
    _write_manifest(out, {**request, 'complete': True})
    return Report(len(jobs), *(1000 * seconds.mean(0)))


def _check(
    images: int,
    val_images: int,
    test_images: int,
    size: tuple[int, int],
    seed: int,
    domains: list[str],
    nproc: int,
) -> None:
    if images < 1 or val_images < 1:
        raise ValueError(f'need at least 1 image per split, got {images} and {val_images}')
    if test_images < 0:
        raise ValueError(f'test_images must not be negative, got {test_images}')
    if len(size) != 2 or min(size) < 32:
        raise ValueError(f'size must be width and height of at least 32 pixels, got {size}')
    if nproc < 1:
        raise ValueError(f'nproc must be at least 1, got {nproc}')
    if seed < 0:
        raise ValueError(f'seed must not be negative, got {seed}')
    unknown = [name for name in domains if name not in _STYLES]
    if unknown or not domains:
        raise ValueError(f'unknown domains {unknown}; choose from {", ".join(_STYLES)}')


def _is_complete(out: Path, request: dict) -> bool:
    """Whether `out` holds exactly what is asked for.

    Raises:
        FileExistsError: It holds something else.
    """
    manifest = out / MANIFEST
    if not manifest.exists():
        for domain in request['domains']:
            layout = RAW_LAYOUTS[domain]
            folder = out / layout.files(layout.splits[0], 0)[0].parts[0]
            if folder.exists():
                raise FileExistsError(
                    f'{folder} is there, but not from this tool ({manifest} is missing); '
                    'choose another folder'
                )
        return False
    recorded = json.loads(manifest.read_text())
    complete = recorded.pop('complete')
    if recorded != request:
        raise FileExistsError(
            f'{out} holds toy streets made with other arguments: {recorded}, asked for {request}; '
            'choose another folder or delete this one'
        )
    return complete


def _write_manifest(out: Path, content: dict) -> None:
    write_json(content, out / MANIFEST)
