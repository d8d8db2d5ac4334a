"""Renders a scene in a style: image, labels and depth."""

from dataclasses import dataclass

import cv2
import numpy as np

from . import shading, weather
from .camera import Camera
from .canvas import Canvas
from .furnish import draw_items
from .scene import Scene
from .street import draw_ground
from .style import Style
from .view import View


@dataclass(frozen=True)
class Rendering:
    """A rendered scene.

    Attributes:
        image: Image (H, W, 3) uint8 RGB.
        labels: Cityscapes train ids (H, W) uint8, 255 where none applies.
        instances: Which of the things placed in the street is seen (H, W) int32, 0 for the sky.
        depth: Distance along the camera's axis (H, W) float32 in metres; 1000 for the sky.
    """

    image: np.ndarray
    labels: np.ndarray
    instances: np.ndarray
    depth: np.ndarray


def render(
    scene: Scene, style: Style, size: tuple[int, int], rng: np.random.Generator
) -> Rendering:
    """Renders a scene.

    Args:
        scene: The geometry.
        style: The appearance.
        size: Image width and height in pixels, at least 32 each.
        rng: Source of what is random in a single exposure: noise, rain, clouds.

    Raises:
        ValueError: The size is too small.
    """
    if min(size) < 32:
        raise ValueError(f'size must be at least 32 x 32 pixels, got {size[0]} x {size[1]}')
    if style.left_hand:
        scene = scene.mirrored()
    camera = _camera(scene, style, size)
    canvas = Canvas(camera)
    draw_ground(canvas, scene, style)
    draw_items(canvas, scene, style)
    ids, parts = canvas.draw()

    view = View(ids, parts, camera, canvas.scale)
    image, emission = shading.paint(ids, parts, style, canvas.scale)
    shading.texture(image, view, style)
    shading.shadows(image, view, scene, style)
    if style.snow:
        shading.snow(image, view, style)
    shading.light(image, emission, view, scene, style)
    _add_sky(image, ids, view, style, rng)
    if style.wet:
        ripple = view.noise(0.35)
        weather.add_reflections(image, view.ground, style.wet, ripple)
    if style.night:
        weather.add_glow(image, emission, style.night)
    weather.add_fog(image, view.depth, style.haze, style.haze_colour)
    if style.rain:
        weather.add_rain(image, style.rain, rng)
    if style.flakes:
        weather.add_flakes(image, style.flakes, rng)
    labels = view.labels
    if style.bonnet:
        shading.bonnet(image, labels, style, rng)
    image = weather.develop(image, style, rng)
    return Rendering(image, labels, view.instances, view.depth)


def _add_sky(
    image: np.ndarray, ids: np.ndarray, view: View, style: Style, rng: np.random.Generator
) -> None:
    """Adds (in place) the sky, as far down as it is seen."""
    height, width = image.shape[:2]
    coverage = (ids == 0).astype(np.float32)
    coverage = cv2.resize(coverage, (width, height), interpolation=cv2.INTER_AREA)
    rows = int(np.flatnonzero(coverage.any(1)).max(initial=0)) + 1
    right, up = view.directions()
    sky = weather.sky_image(style, right[:rows], up[:rows], rng)
    image[:rows] += coverage[:rows, :, None] * sky


def _camera(scene: Scene, style: Style, size: tuple[int, int]) -> Camera:
    """Places the camera in its lane, in a height and direction that the style gives."""
    width, height = size
    focal = float(style.focal * width)
    pitch = float(np.arctan((style.horizon - 0.5) * height / focal))
    aside = style.aside * (-1 if style.left_hand else 1)
    x = scene.camera_d + float(np.clip(aside, -1.0, 1.0))
    return Camera(width, height, focal, (x, style.height, 0.0), pitch, style.yaw, style.roll)
