"""How a street looks: paints, light, weather, camera and sensor, one `Style` an image."""

from dataclasses import dataclass, field

import numpy as np

from .palettes import Palette

CLASSES = 19


@dataclass(frozen=True)
class Texture:
    """Surface patterns by train id, in the plane of each polygon.

    Attributes:
        amplitude: Change of each colour channel at the extremes of the noise (19, 3), relative.
        cell: Size of the noise's grain in metres (19,).
        joint: Distance of the joints of slabs and bricks in metres (19,); 0 for none.
        depth: How much darker joints are (19,), relative.
    """

    amplitude: np.ndarray
    cell: np.ndarray
    joint: np.ndarray
    depth: np.ndarray


def plain_texture() -> Texture:
    """Asphalt, flagstones, bricks, leaves and grass."""
    amplitude, cell = np.full(CLASSES, 0.02), np.full(CLASSES, 0.05)
    amplitude[[0, 1, 2, 3, 8, 9]] = 0.13, 0.1, 0.07, 0.16, 0.5, 0.35
    cell[[0, 1, 2, 3, 8, 9]] = 0.04, 0.05, 0.1, 0.06, 0.09, 0.06
    joint, depth = np.zeros(CLASSES), np.zeros(CLASSES)
    joint[[1, 3]] = 0.5, 0.3
    depth[[1, 3]] = 0.22, 0.25
    return Texture(np.repeat(amplitude[:, None], 3, 1), cell, joint, depth)


@dataclass(frozen=True)
class Style:
    """Everything about an image that the scene leaves open. Colours are RGB, 0 to 255.

    Attributes:
        palette: Paints by the name of the material.
        jitter: Standard deviation of the paints' colour.
        left_hand: Whether traffic keeps to the left.
        marks: Whether the road has marks.
        pitched: Share of houses with a pitched roof.
        trees: Kinds of trees.
        signs: Kinds of traffic signs.
        texture: Surface patterns.
        height: Camera height in metres.
        focal: Focal length in image widths.
        horizon: Height of the horizon in the image, from the top, relative.
        yaw: Camera direction in radians.
        roll: Camera tilt in radians.
        aside: Camera offset from the middle of its lane in metres.
        bonnet: Height of the visible part of the own car's bonnet in image heights.
        sky: Colours at the zenith and at the horizon (2, 3).
        clouds: Share of clouds.
        sun: Strength of direct light, 0 for overcast.
        azimuth: Where the sun stands, radians to the right of the view.
        elevation: How high it stands, radians.
        sunlight: Colour of direct light, relative (3,).
        ambient: Colour and strength of the light in shade, relative (3,).
        haze: Extinction of fog, 1 / metres.
        haze_colour: Colour of fog (3,).
        night: 0 by day to 1 at night, when lamps and windows light the scene.
        wet: Strength of reflections on the ground.
        rain: Amount of rain.
        snow: Cover of snow, 0 to 1.
        flakes: Amount of falling snow.
        gain: White balance and exposure (3,).
        gamma: Exponent of the tone curve.
        contrast: Contrast about mid grey.
        saturation: Colourfulness.
        noise: Standard deviation of sensor noise.
        blur: Standard deviation of blur in pixels of an image 1000 pixels wide.
        jpeg: Quality of the JPEG-like blur, 0 for none.
        vignette: Darkening of the corners.
    """

    palette: Palette
    jitter: float = 6.0
    left_hand: bool = False
    marks: bool = True
    pitched: float = 0.5
    trees: tuple[str, ...] = ('round', 'round', 'tall')
    signs: tuple[str, ...] = ('warning', 'ban', 'order', 'stop', 'parking', 'limit', 'board')
    texture: Texture = field(default_factory=plain_texture)
    height: float = 1.4
    focal: float = 0.95
    horizon: float = 0.47
    yaw: float = 0.0
    roll: float = 0.0
    aside: float = 0.0
    bonnet: float = 0.0
    sky: np.ndarray = field(default_factory=lambda: np.array([[96, 150, 215], [200, 220, 235.0]]))
    clouds: float = 0.3
    sun: float = 0.6
    azimuth: float = 0.8
    elevation: float = 0.8
    sunlight: np.ndarray = field(default_factory=lambda: np.array([1.05, 1.0, 0.9]))
    ambient: np.ndarray = field(default_factory=lambda: np.array([0.55, 0.58, 0.64]))
    haze: float = 0.0008
    haze_colour: np.ndarray = field(default_factory=lambda: np.array([200, 212, 225.0]))
    night: float = 0.0
    wet: float = 0.0
    rain: float = 0.0
    snow: float = 0.0
    flakes: float = 0.0
    gain: np.ndarray = field(default_factory=lambda: np.ones(3))
    gamma: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    noise: float = 0.0
    blur: float = 0.0
    jpeg: int = 0
    vignette: float = 0.0

    def paint(self, material: str, tint: float, rng: np.random.Generator) -> np.ndarray:
        """Picks a colour (3,) of `material` by `tint` in [0, 1), with a little variation."""
        colours = self.palette[material]
        colour = colours[int(tint * len(colours))]
        # Brightness varies more than hue.
        change = rng.standard_normal(4)
        colour = colour + self.jitter * (0.8 * change[0] + 0.45 * change[1:])
        return np.minimum(np.maximum(colour, 3), 252)
