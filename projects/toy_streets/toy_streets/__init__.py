"""Procedural street scenes with the 19 Cityscapes classes, in fifteen domains."""

from .diverse import DIVERSE_WEATHER_STYLES
from .domains import DOMAIN_STYLES
from .layout import sample_scene
from .randomised import random_style
from .render import Rendering, render
from .scene import Scene
from .style import Style
from .write import write_toy_streets

__all__ = [
    'DIVERSE_WEATHER_STYLES',
    'DOMAIN_STYLES',
    'Rendering',
    'Scene',
    'Style',
    'random_style',
    'render',
    'sample_scene',
    'write_toy_streets',
]
