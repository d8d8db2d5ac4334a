"""Fractal images to mix into training images (PixMix, arXiv 2112.05135)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from soma.io.files import InputError, atomic_path, write_json
from soma.utils.parallel import run_parallel

GENERATOR_VERSION = 1  # raise it when the same request would give other images
MANIFEST = 'fractals.json'
_SETTLE, _STEPS = 20, 60  # moves of each point before it counts, and after
_POINTS = 0.3  # of a layer, for each pixel
_COVERED, _MAX_LAYERS = 0.85, 4


@dataclass(frozen=True)
class IteratedFunctions:
    """An iterated function system in colour: maps of the plane of which a point takes any.

    Attributes:
        affine: What each map does first, ``(n, 2, 3)``.
        bends: What it does then, an index of ``BENDS``, ``(n,)``.
        shares: How often it is taken, ``(n,)``, of sum 1.
        colours: Where it pulls a point's colour to, within a palette from 0 to 1, ``(n,)``.
    """

    affine: np.ndarray
    bends: np.ndarray
    shares: np.ndarray
    colours: np.ndarray


def _swirl(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    square = x**2 + y**2
    sine, cosine = np.sin(square), np.cos(square)
    return x * sine - y * cosine, x * cosine + y * sine


def _inverse(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    square = x**2 + y**2 + 0.1  # without the poles, whose neighbours fly off
    return x / square, y / square


def _horseshoe(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = np.hypot(x, y) + 1e-6
    return (x - y) * (x + y) / radius, 2 * x * y / radius


def _polar(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.arctan2(x, y) / np.pi, np.hypot(x, y) - 1


# Some of the variations of Draves and Reckase, The Fractal Flame Algorithm (2003), section 4.
BENDS: tuple[Callable, ...] = (
    lambda x, y: (x, y),
    lambda x, y: (np.sin(x), np.sin(y)),
    _swirl,
    _inverse,
    _horseshoe,
    _polar,
)


def sample_functions(rng: np.random.Generator) -> IteratedFunctions:
    """Draw 3 to 6 maps: turned, squeezed, shifted, some bent; larger ones are taken more often."""
    count = rng.integers(3, 7)
    first, second = (_rotations(rng.uniform(0, 2 * np.pi, count)) for _ in range(2))
    squeeze = rng.uniform(0.25, 0.85, (count, 2))
    linear = first * squeeze[:, None] @ second
    shift = rng.uniform(-1, 1, (count, 2, 1))
    shares = squeeze.prod(1) + 0.05
    return IteratedFunctions(
        affine=np.concatenate([linear, shift], axis=2),
        bends=rng.integers(len(BENDS), size=count) * rng.integers(2, size=count),
        shares=shares / shares.sum(),
        colours=rng.permutation(np.linspace(0, 1, count)),
    )


def render_functions(
    functions: IteratedFunctions, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Let points jump from map to map and count where they come by.

    Args:
        functions: The maps.
        size: Width and height in pixels.
        rng: Which map each point takes, and where it starts.

    Returns:
        Density from 0 to 1, on a logarithmic scale, and mean colour within a palette, both
        ``(size, size)``.
    """
    number = int(_POINTS * size * size)
    x, y = rng.uniform(-1, 1, (2, number))
    colour = np.full(number, 0.5)
    margin = rng.uniform(0.01, 0.1)
    counts, colours = np.zeros(size * size), np.zeros(size * size)
    for step in range(_SETTLE + _STEPS):
        taken = rng.choice(len(functions.shares), number, p=functions.shares)
        for index, (a, b) in enumerate(functions.affine):
            points = np.flatnonzero(taken == index)
            u, v = x[points], y[points]
            bend = BENDS[functions.bends[index]]
            x[points], y[points] = bend(a[0] * u + a[1] * v + a[2], b[0] * u + b[1] * v + b[2])
        colour = (colour + functions.colours[taken]) / 2
        if step == _SETTLE:  # the view: a square without the outermost points
            (left, right), (top, bottom) = (np.quantile(v, (margin, 1 - margin)) for v in (x, y))
            scale = size / max(right - left, bottom - top, 1e-6)
        if step >= _SETTLE:
            column, row = (scale * (x - left)).astype(int), (scale * (y - top)).astype(int)
            seen = (column >= 0) & (column < size) & (row >= 0) & (row < size)
            place = row[seen] * size + column[seen]
            counts += np.bincount(place, minlength=size * size)
            colours += np.bincount(place, colour[seen], size * size)
    density = np.log1p(counts) / np.log1p(max(np.quantile(counts, 0.999), 1))
    means = colours / np.maximum(counts, 1)
    return density.clip(0, 1).reshape(size, size), means.reshape(size, size)


def draw_fractal(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a fractal: layers of iterated functions until little of the background shows.

    Args:
        size: Width and height in pixels.
        rng: Of all randomness.

    Returns:
        An RGB image, uint8, ``(size, size, 3)``.
    """
    palette = _sample_palette(rng)
    # a background in one direction, in the colours of the rest
    rows, columns = np.mgrid[:size, :size] / size
    angle = rng.uniform(0, 2 * np.pi)
    image = palette(rng.uniform() + 0.3 * (np.cos(angle) * rows + np.sin(angle) * columns))
    bare = np.ones((size, size))
    for _ in range(_MAX_LAYERS):
        density, colour = render_functions(sample_functions(rng), size, rng)
        opacity = (1 - (1 - density) ** 3)[..., None]
        image = image * (1 - opacity) + opacity * palette(colour) * (0.2 + 0.8 * opacity)
        bare *= density == 0
        if bare.mean() < 1 - _COVERED:
            break
        palette = _sample_palette(rng)
    return (255 * image.clip(0, 1)).round().astype(np.uint8)


def write_fractals(
    out: str | Path, images: int, size: int = 512, seed: int = 0, nproc: int = 1
) -> int:
    """Write fractal images, ``out/00000.jpg`` and so on.

    Each has its own seed, so that neither order nor number changes it; whole ones that are there
    stay.

    Args:
        out: Folder to write to; ``out/fractals.json`` says how they were made.
        images: Number of images.
        size: Width and height in pixels.
        seed: Seed of all randomness.
        nproc: Number of processes.

    Returns:
        How many images were written.

    Raises:
        InputError: An argument makes no sense.
        FileExistsError: ``out`` holds fractals of another size or seed, or other files.
    """
    if images < 1 or size < 32 or seed < 0:
        raise InputError(
            'need at least 1 image of at least 32 pixels and a seed of at least 0, got '
            f'{images} of {size} and {seed}'
        )
    out = Path(out)
    request = {'generator_version': GENERATOR_VERSION, 'size': size, 'seed': seed}
    manifest = out / MANIFEST
    if manifest.exists():
        try:
            recorded = json.loads(manifest.read_text())
        except ValueError as error:
            raise InputError(f'{manifest} is damaged: delete the folder') from error
        if recorded != request:
            raise FileExistsError(
                f'{out} holds fractals made with other arguments: {recorded}, asked for {request}; '
                'choose another folder or delete this one'
            )
    elif out.exists() and any(out.iterdir()):
        raise FileExistsError(
            f'{out} is there, but not from this tool ({manifest} is missing); choose another folder'
        )
    write_json(request, manifest)
    if folders := [path for index in range(images) if (path := _path(out, index)).is_dir()]:
        raise InputError(f'{folders[0]} is a directory where an image belongs: remove it')
    missing = [index for index in range(images) if not _is_whole(_path(out, index), size)]
    run_parallel(partial(_write_one, out, size, seed), missing, nproc, 'fractals')
    return len(missing)


def _path(out: Path, index: int) -> Path:
    return out / f'{index:05d}.jpg'


def _write_one(out: Path, size: int, seed: int, index: int) -> None:
    image = draw_fractal(size, np.random.default_rng([seed, index]))
    with atomic_path(_path(out, index)) as temporary:
        Image.fromarray(image).save(temporary, quality=90)


def _is_whole(path: Path, size: int) -> bool:
    """Whether an image of the size is there and can be read to its end."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size == (size, size)
    except Exception:  # missing or cut off: broken bytes can raise anything
        return False


def _rotations(angles: np.ndarray) -> np.ndarray:
    """Matrices ``(n, 2, 2)`` that turn by angles in radians."""
    cosine, sine = np.cos(angles), np.sin(angles)
    return np.stack([cosine, -sine, sine, cosine], axis=1).reshape(-1, 2, 2)


def _sample_palette(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """A function to colours 0..1, in waves of each channel's own length, height and phase."""
    waves, phases = rng.uniform(0.5, 2, 3), rng.uniform(0, 1, 3)
    middle, height = rng.uniform(0.35, 0.65, 3), rng.uniform(0.25, 0.5, 3)
    return lambda t: middle + height * np.cos(2 * np.pi * (waves * t[..., None] + phases))
