"""The styles of the five domains that stand for Diverse Weather."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .domains import cityscapes, dark, dash_camera
from .style import Style


def _closer(
    style: Callable[[np.random.Generator], Style],
) -> Callable[[np.random.Generator], Style]:
    """A longer lens: of the few pixels of a toy image, more for what is to be detected."""

    def longer(rng: np.random.Generator) -> Style:
        drawn = style(rng)
        return replace(drawn, focal=1.5 * drawn.focal)

    return longer


def _rainy(rng: np.random.Generator) -> dict:
    return dict(wet=rng.uniform(0.5, 0.75), rain=rng.uniform(0.3, 0.8))


def _night_sunny(rng: np.random.Generator) -> Style:
    return replace(dash_camera(rng), **dark(rng, 0.85))


def _dusk_rainy(rng: np.random.Generator) -> Style:
    return replace(
        dash_camera(rng),
        **_rainy(rng),
        night=0.3,
        sun=0.0,
        clouds=0.8,
        sky=np.array([[86, 94, 112], [142, 146, 156.0]]) * rng.uniform(0.7, 1.1),
        ambient=np.array([0.42, 0.45, 0.52]) * rng.uniform(0.8, 1.15),
        haze=rng.uniform(0.004, 0.01),
        haze_colour=np.array([112, 118, 128.0]),
    )


def _night_rainy(rng: np.random.Generator) -> Style:
    return replace(dash_camera(rng), **{**dark(rng, 0.9), **_rainy(rng), 'haze': 0.006})


def _daytime_foggy(rng: np.random.Generator) -> Style:
    """Foggy Cityscapes: its images with fog laid over them."""
    grey = rng.uniform(180, 216) * np.array([0.98, 1.0, 1.02])
    return replace(
        cityscapes(rng), haze=rng.uniform(0.012, 0.04), haze_colour=grey, sky=np.stack([grey, grey])
    )


DIVERSE_WEATHER_STYLES: dict[str, Callable[[np.random.Generator], Style]] = {
    'daytime_clear': _closer(dash_camera),
    'Night-Sunny': _closer(_night_sunny),
    'dusk_rainy': _closer(_dusk_rainy),
    'night_rainy': _closer(_night_rainy),
    'daytime_foggy': _closer(_daytime_foggy),
}
