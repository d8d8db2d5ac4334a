"""The styles of the ten domains that the toy streets stand for."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .palettes import palette_of
from .style import Style


def sun_position(rng: np.random.Generator) -> dict:
    """Draws where the sun stands."""
    return dict(azimuth=rng.uniform(-np.pi, np.pi), elevation=rng.uniform(0.45, 1.1))


def _gta(rng: np.random.Generator) -> Style:
    """A clean rendering of a sunny Californian city."""
    return Style(
        palette_of('california', rng),
        pitched=0.15,
        trees=('round', 'palm', 'palm', 'tall'),
        signs=('stop', 'diamond', 'board', 'limit', 'ban'),
        height=rng.uniform(1.35, 1.7),
        focal=rng.uniform(0.82, 0.98),
        horizon=rng.uniform(0.44, 0.5),
        yaw=rng.normal(0, 0.02),
        clouds=rng.uniform(0, 0.35),
        sun=rng.uniform(0.6, 0.8),
        **sun_position(rng),
        sky=np.array([[84, 146, 222], [196, 220, 240.0]]),
        ambient=np.array([0.5, 0.54, 0.62]),
        gain=np.full(3, rng.uniform(0.97, 1.06)),
        saturation=1.12,
        contrast=1.05,
    )


def _synthia(rng: np.random.Generator) -> Style:
    """An older game engine: flat paints, cameras at any height, any season and hour."""
    hour = rng.random()
    style = Style(
        palette_of('brazil', rng),
        jitter=2.0,
        pitched=rng.uniform(0.1, 0.6),
        trees=tuple(rng.choice(['round', 'tall', 'conifer', 'bare'], 3)),
        height=rng.uniform(1.2, 3.2),
        focal=rng.uniform(0.6, 0.9),
        horizon=rng.uniform(0.4, 0.55),
        yaw=rng.normal(0, 0.15),
        clouds=rng.uniform(0, 0.8),
        sun=rng.uniform(0.2, 0.9),
        **sun_position(rng),
        ambient=np.array([0.62, 0.62, 0.66]),
        gain=np.full(3, rng.uniform(0.8, 1.1)),
        saturation=rng.uniform(0.8, 1.3),
        contrast=rng.uniform(0.85, 1.0),
        blur=0.5,
    )
    return replace(style, **{**dark(rng, 0.6), 'noise': 0.0}) if hour < 0.15 else style


def _urbansyn(rng: np.random.Generator) -> Style:
    """A path tracer's European city, with the camera of Cityscapes."""
    return Style(
        palette_of('germany', rng),
        jitter=8.0,
        pitched=0.5,
        height=rng.uniform(1.2, 1.4),
        focal=rng.uniform(0.95, 1.1),
        horizon=rng.uniform(0.42, 0.5),
        clouds=rng.uniform(0, 0.6),
        sun=rng.uniform(0.4, 0.9),
        **sun_position(rng),
        ambient=rng.normal([0.6, 0.61, 0.65], 0.02),
        gain=np.full(3, rng.uniform(0.9, 1.1)),
        saturation=0.95,
        noise=0.5,
        blur=0.4,
        haze=rng.uniform(0.0008, 0.003),
    )


def cityscapes(rng: np.random.Generator) -> Style:
    """German cities under a bright, mostly overcast sky; a greenish, soft image."""
    return Style(
        palette_of('germany', rng),
        pitched=0.7,
        height=rng.uniform(1.18, 1.3),
        focal=rng.uniform(1.05, 1.12),
        horizon=rng.uniform(0.42, 0.46),
        bonnet=rng.uniform(0.07, 0.1),
        sky=np.array([[196, 206, 212], [236, 238, 236.0]]),
        clouds=rng.uniform(0.2, 0.7),
        sun=float(rng.choice([0.0, 0.1, 0.3])),
        **sun_position(rng),
        ambient=np.array([0.86, 0.9, 0.88]) * rng.uniform(0.8, 1.05),
        gain=np.array([0.93, 0.98, 0.94]) * rng.uniform(0.9, 1.08),
        gamma=1.06,
        saturation=0.75,
        contrast=0.95,
        noise=rng.uniform(1.5, 3.0),
        blur=rng.uniform(0.7, 1.1),
        haze=0.0022,
        haze_colour=np.array([214, 220, 216.0]),
    )


def dash_camera(rng: np.random.Generator) -> Style:
    """A US dash camera by day: hard compression, glare and dirty glass."""
    return Style(
        palette_of('us', rng),
        pitched=0.3,
        trees=('round', 'tall', 'conifer'),
        signs=('stop', 'diamond', 'board', 'limit', 'ban'),
        height=rng.uniform(1.25, 1.6),
        focal=rng.uniform(0.75, 0.95),
        horizon=rng.uniform(0.46, 0.56),
        roll=rng.normal(0, 0.012),
        bonnet=float(rng.choice([0.0, 0.05, 0.12])),
        clouds=rng.uniform(0.1, 0.9),
        sun=rng.uniform(0.2, 0.8),
        **sun_position(rng),
        gain=rng.normal([0.98, 1.0, 1.04], 0.05) * rng.uniform(0.8, 1.2),
        contrast=rng.uniform(0.95, 1.25),
        saturation=rng.uniform(0.6, 1.0),
        noise=rng.uniform(2, 5),
        blur=rng.uniform(0.6, 1.4),
        jpeg=int(rng.integers(35, 60)),
        vignette=rng.uniform(0.1, 0.35),
        haze=rng.uniform(0.001, 0.004),
    )


def _bdd100k(rng: np.random.Generator) -> Style:
    """US dash cameras at any hour."""
    hour = rng.random()
    style = dash_camera(rng)
    if hour < 0.2:
        return replace(style, **dark(rng, 0.85))
    if hour < 0.35:
        low = np.array([[120, 130, 170], [250, 196, 140.0]])
        sunlight = np.array([1.25, 0.9, 0.6])
        return replace(style, sky=low, elevation=rng.uniform(0.15, 0.3), sunlight=sunlight)
    return style


def _mapillary(rng: np.random.Generator) -> Style:
    """Any country, any camera."""
    country = str(rng.choice(['germany', 'us', 'japan', 'brazil', 'california']))
    grey = rng.uniform(0.0, 1.0)
    blue = np.array([[100, 150, 210], [200, 220, 235.0]])
    return Style(
        palette_of(country, rng),
        left_hand=country == 'japan' or rng.random() < 0.15,
        pitched=rng.uniform(0.2, 0.8),
        trees=tuple(rng.choice(['round', 'tall', 'conifer', 'palm', 'bare'], 3)),
        height=rng.uniform(1.1, 2.4),
        focal=rng.uniform(0.65, 1.1),
        horizon=rng.uniform(0.38, 0.58),
        yaw=rng.normal(0, 0.1),
        roll=rng.normal(0, 0.025),
        aside=rng.normal(0, 0.5),
        bonnet=float(rng.choice([0.0, 0.0, 0.06])),
        sky=blue * (1 - grey) + np.array([[205, 210, 216], [236, 238, 240.0]]) * grey,
        clouds=rng.uniform(0, 1),
        sun=rng.uniform(0.3, 0.8) * (1 - 0.8 * grey),
        **sun_position(rng),
        ambient=rng.normal([0.6, 0.61, 0.64], 0.02) * (1 + 0.45 * grey),
        gain=rng.normal([1.01, 1.0, 0.98], 0.04) * rng.uniform(0.8, 1.15),
        gamma=rng.uniform(0.85, 1.2),
        contrast=rng.uniform(0.85, 1.2),
        saturation=rng.uniform(0.6, 1.25),
        noise=rng.uniform(0.5, 4),
        blur=rng.uniform(0.2, 1.2),
        jpeg=int(rng.integers(45, 90)),
        vignette=rng.uniform(0, 0.3),
    )


def _acdc(rng: np.random.Generator, **weather) -> Style:
    """A Swiss road with a dash camera, in the weather given."""
    common = dict(
        pitched=0.75,
        trees=('round', 'conifer', 'tall'),
        height=rng.uniform(1.2, 1.45),
        focal=rng.uniform(0.85, 1.0),
        horizon=rng.uniform(0.42, 0.52),
        roll=rng.normal(0, 0.006),
        sky=np.array([[178, 184, 190], [214, 217, 219.0]]),
        clouds=0.5,
        sun=0.0,
        ambient=np.array([0.86, 0.89, 0.93]) * rng.uniform(0.85, 1.05),
        saturation=rng.uniform(0.6, 0.8),
        noise=rng.uniform(1.5, 3.5),
        blur=rng.uniform(0.6, 1.1),
        jpeg=70,
    )
    return Style(palette_of('switzerland', rng), **{**common, **weather})


def dark(rng: np.random.Generator, night: float = 1.0) -> dict:
    """The settings of a night under sodium and LED lamps."""
    return dict(
        night=night,
        sun=0.0,
        clouds=0.2,
        sky=np.array([[8, 10, 20], [34, 30, 36.0]]) * rng.uniform(0.6, 1.3),
        ambient=np.array([0.105, 0.11, 0.15]) * rng.uniform(0.7, 1.3),
        noise=rng.uniform(5, 9),
        haze=0.003,
        haze_colour=np.array([26, 24, 30.0]),
    )


def _fog(rng: np.random.Generator) -> Style:
    grey = rng.uniform(168, 214)
    return _acdc(
        rng,
        haze=1 / rng.uniform(18, 55),
        haze_colour=grey * np.array([0.98, 1.0, 1.03]),
        sky=np.full((2, 3), grey) * np.array([0.98, 1.0, 1.03]),
        clouds=0.0,
        wet=0.12,
        contrast=0.92,
        saturation=0.55,
    )


def _night(rng: np.random.Generator) -> Style:
    return _acdc(rng, **dark(rng), wet=float(rng.choice([0.0, 0.0, 0.3])), saturation=0.9)


def _rain(rng: np.random.Generator) -> Style:
    return _acdc(
        rng,
        wet=rng.uniform(0.5, 0.75),
        rain=rng.uniform(0.5, 1.0),
        haze=rng.uniform(0.004, 0.01),
        haze_colour=np.array([158, 165, 172.0]),
        sky=np.array([[128, 136, 146], [176, 181, 186.0]]),
        ambient=np.array([0.68, 0.71, 0.76]) * rng.uniform(0.8, 1.1),
        clouds=0.8,
    )


def _snow(rng: np.random.Generator) -> Style:
    return _acdc(
        rng,
        snow=rng.uniform(0.7, 1.1),
        flakes=float(rng.choice([0.15, 0.6, 1.0])),
        trees=('bare', 'conifer', 'bare', 'round'),
        haze=rng.uniform(0.003, 0.012),
        haze_colour=np.array([212, 216, 222.0]),
        sky=np.array([[192, 198, 206], [224, 227, 230.0]]),
        wet=0.15,
    )


DOMAIN_STYLES: dict[str, Callable[[np.random.Generator], Style]] = {
    'gta': _gta,
    'synthia': _synthia,
    'urbansyn': _urbansyn,
    'cityscapes': cityscapes,
    'bdd100k': _bdd100k,
    'mapillary': _mapillary,
    'fog': _fog,
    'night': _night,
    'rain': _rain,
    'snow': _snow,
}
