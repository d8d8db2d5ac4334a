"""Styles for domain randomisation."""

import numpy as np

from .domains import sun_position
from .palettes import random_palette
from .style import CLASSES, Style, Texture


def random_style(rng: np.random.Generator) -> Style:
    """Draws a style for domain randomisation: colours, patterns, light and camera at random."""
    dark = rng.uniform(0.3, 1.0) if rng.random() < 0.15 else 0.0
    amplitude = rng.uniform(0, 0.6) * rng.random((CLASSES, 1)) * rng.normal(1, 0.5, (CLASSES, 3))
    texture = Texture(
        amplitude=amplitude,
        cell=np.exp(rng.uniform(np.log(0.02), np.log(0.5), CLASSES)),
        joint=rng.uniform(0.1, 1.5, CLASSES) * (rng.random(CLASSES) < 0.3),
        depth=rng.uniform(-0.4, 0.4, CLASSES),
    )
    sky = rng.uniform(20, 250, (2, 3))
    if rng.random() < 0.5:
        sky = sky.mean(1, keepdims=True) * rng.normal(1, 0.08, (2, 3))
    light = rng.uniform(0.7, 1.25) * (1 - 0.8 * dark)
    foggy = rng.random() < 0.3
    haze = np.exp(rng.uniform(np.log(0.004), np.log(0.06))) if foggy else rng.uniform(0, 0.003)
    return Style(
        random_palette(rng),
        jitter=rng.uniform(0, 25),
        left_hand=bool(rng.random() < 0.5),
        marks=bool(rng.random() < 0.85),
        pitched=rng.uniform(0, 1),
        trees=tuple(rng.choice(['round', 'tall', 'conifer', 'palm', 'bare'], 3)),
        texture=texture,
        height=rng.uniform(1.0, 2.6),
        focal=rng.uniform(0.6, 1.2),
        horizon=rng.uniform(0.36, 0.6),
        yaw=rng.normal(0, 0.08),
        roll=rng.normal(0, 0.03),
        aside=rng.normal(0, 0.5),
        bonnet=float(rng.choice([0.0, 0.0, rng.uniform(0.03, 0.14)])),
        sky=np.clip(sky * (1 - 0.85 * dark), 0, 255),
        clouds=rng.uniform(0, 1),
        sun=float(rng.choice([0.0, rng.uniform(0.2, 0.9)])) * (1 - dark),
        **sun_position(rng),
        sunlight=rng.normal(1, 0.15, 3),
        ambient=light * rng.normal(0.75, 0.08, 3),
        haze=haze,
        haze_colour=rng.uniform(60, 230) * rng.normal(1, 0.06, 3) * (1 - 0.8 * dark),
        night=dark,
        wet=float(rng.choice([0.0, rng.uniform(0.2, 0.8)])),
        rain=float(rng.choice([0.0, 0.0, 0.0, rng.random()])),
        snow=float(rng.choice([0.0, 0.0, 0.0, rng.random()])),
        flakes=float(rng.choice([0.0, 0.0, 0.0, rng.random()])),
        gain=rng.normal(1, 0.1, 3) * rng.uniform(0.8, 1.3),
        gamma=rng.uniform(0.7, 1.25),
        contrast=rng.uniform(0.7, 1.3),
        saturation=rng.uniform(0.0, 1.5),
        noise=rng.uniform(0, 9),
        blur=rng.uniform(0, 1.6),
        jpeg=int(rng.choice([0, rng.integers(20, 90)])),
        vignette=rng.uniform(0, 0.4),
    )
