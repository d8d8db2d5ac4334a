"""Light, weather and sensor effects on a float32 image (H, W, 3) in 0 to 255."""

from functools import lru_cache

import cv2
import numpy as np

from .style import Style

_NOISE_SIZE = 512


@lru_cache
def _noise_texture() -> np.ndarray:
    """Tileable noise (512, 512) float32 in about -1 to 1: fine grain plus larger blotches."""
    rng = np.random.default_rng(7)
    total = np.zeros((_NOISE_SIZE, _NOISE_SIZE), np.float32)
    for sigma, weight in ((0.0, 0.35), (1.2, 0.5), (4.0, 0.7), (14.0, 0.9)):
        layer = rng.standard_normal(total.shape).astype(np.float32)
        if sigma:
            pad = int(4 * sigma)
            layer = cv2.GaussianBlur(np.pad(layer, pad, 'wrap'), (0, 0), sigma)[pad:-pad, pad:-pad]
        total += weight * layer / layer.std()
    return total / np.abs(total).max() * 1.6


def noise_at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Noise (H, W) float32 in about -1 to 1 at float32 coordinates (H, W), smooth between cells."""
    # OpenCV's coordinates are 16-bit, so they are wrapped here.
    x, y = (k - _NOISE_SIZE * np.floor(k * np.float32(1 / _NOISE_SIZE)) for k in (x, y))
    return cv2.remap(_noise_texture(), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def sky_image(
    style: Style, right: np.ndarray, up: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A sky (H, W, 3) float32 with clouds, for rays of the given directions (H, W) each."""
    zenith, horizon = style.sky.astype(np.float32)
    sky = horizon + (zenith - horizon) * np.clip(up * np.float32(2.2), 0, 1)[..., None]
    if style.clouds > 0:
        shift = rng.integers(0, _NOISE_SIZE, 2).astype(np.float32)
        height = np.maximum(up, 0.02) + 0.16
        cover = noise_at(right / height * 70 + shift[0], 36 / height + shift[1])
        cover = np.clip((cover + style.clouds * 1.1 - 0.5) * 1.6, 0, 1)[..., None]
        white = (style.sky[1] * 0.6 + 0.4 * style.sky.max()).astype(np.float32)
        sky += (white - sky) * cover * 0.75
    if style.night and rng.random() < 0.3:
        spot = np.exp(-((right - 0.2) ** 2 + (up - 0.3) ** 2) / 0.0004)
        sky += 200 * spot[..., None].astype(np.float32)
    return sky


def add_lamp_light(
    image: np.ndarray, ground: np.ndarray, pools: np.ndarray, colour: np.ndarray
) -> None:
    """Brightens (in place) what stands in the light of lamps.

    Args:
        image: Image (H, W, 3), lit by the sky alone.
        ground: World x and z of each pixel (2, H, W).
        pools: Lamps (K, 4): x, z, radius in metres, strength.
        colour: Colour of the light (3,), 0 to 255.
    """
    light = np.zeros(image.shape[:2], np.float32)
    for x, z, radius, strength in pools.astype(np.float32):
        light += strength / (1 + ((ground[0] - x) ** 2 + (ground[1] - z) ** 2) / radius**2) ** 2
    image *= 1 + light[..., None] * (colour / 255).astype(np.float32)


def add_glow(image: np.ndarray, emission: np.ndarray, strength: float) -> None:
    """Adds (in place) lights and the halos around them."""
    width = image.shape[1]
    # Squared, since lamps shine and windows only gleam.
    bright = emission * emission / 255
    small = cv2.resize(bright, (width // 4, image.shape[0] // 4), interpolation=cv2.INTER_AREA)
    halo = cv2.GaussianBlur(small, (0, 0), width / 512 * 1.2) * 1.2
    halo += cv2.GaussianBlur(small, (0, 0), width / 512 * 5) * 2.2
    image += strength * (emission + cv2.resize(halo, (width, image.shape[0])))


def add_reflections(
    image: np.ndarray, ground: np.ndarray, strength: float, ripple: np.ndarray
) -> None:
    """Mirrors (in place) what stands on wet ground.

    Args:
        image: Image (H, W, 3).
        ground: Whether a pixel shows flat ground (H, W).
        strength: Share of the mirror image.
        ripple: Unevenness of the ground (H, W), about -1 to 1.
    """
    height, width = ground.shape
    rows = np.arange(height, dtype=np.int32)[:, None]
    contact = np.maximum.accumulate(np.where(ground, -1, rows), axis=0)
    # What touches the ground `k` rows above is seen mirrored `k` rows below that edge.
    source = np.clip(2 * contact - rows + (ripple * height * 0.012).astype(np.int32), 0, height - 1)
    smooth = cv2.blur(image, (3, max(height // 24, 3)))
    mirrored = smooth[source, np.arange(width)[None]]
    share = strength * np.clip(0.75 + 0.5 * ripple, 0.15, 1) * (ground & (contact >= 0))
    image += (mirrored - image) * share[..., None].astype(np.float32)


def add_fog(image: np.ndarray, depth: np.ndarray, haze: float, colour: np.ndarray) -> None:
    """Fades (in place) towards the colour of the fog with distance."""
    through = np.exp(-haze * depth)[..., None]
    image *= through
    image += (1 - through) * colour.astype(np.float32)


def add_rain(image: np.ndarray, amount: float, rng: np.random.Generator) -> None:
    """Draws (in place) streaks of falling rain, and drops on the windscreen that bend the view."""
    height, width = image.shape[:2]
    streaks = np.zeros((height, width), np.uint8)
    count = int(amount * 260)
    x, y = rng.uniform(0, width, count), rng.uniform(-0.1, 1, count) * height
    length, slant = rng.uniform(0.03, 0.11, count) * height, rng.normal(0.12, 0.05, count)
    ends = np.stack([x, y, x + slant * length, y + length], 1)
    bright = rng.integers(30, 110, count)
    for (x0, y0, x1, y1), value in zip(
        (ends * 16).astype(int).tolist(), bright.tolist(), strict=True
    ):
        cv2.line(streaks, (x0, y0), (x1, y1), value, max(width // 900, 1), cv2.LINE_AA, 4)
    share = streaks.astype(np.float32)[..., None] / 255
    image += (215 - image) * share
    blurred = cv2.GaussianBlur(image, (0, 0), 0.008 * width)
    drops = np.zeros((height, width), np.uint8)
    for _ in range(int(amount * 26)):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        radius = int(max(rng.uniform(0.004, 0.013) * width, 1))
        cv2.ellipse(drops, centre, (radius, int(radius * 1.25)), 0, 0, 360, 255, -1, cv2.LINE_AA)
    share = cv2.blur(drops, (3, 3)).astype(np.float32)[..., None] / 255 * 0.85
    image += (blurred * 1.12 - image) * share


def add_flakes(image: np.ndarray, amount: float, rng: np.random.Generator) -> None:
    """Draws (in place) falling snow, near flakes large and blurred."""
    height, width = image.shape[:2]
    for count, size, softness in ((420, 0.0012, 0.0), (70, 0.0035, 0.0015), (10, 0.009, 0.005)):
        layer = np.zeros((height, width), np.uint8)
        for x, y, k in zip(*rng.random((3, int(count * amount))), strict=True):
            centre = (int(x * width * 16), int(y * height * 16))
            radius = int(max(size * width * (0.6 + 0.8 * k), 0.5) * 16)
            cv2.circle(layer, centre, radius, 215, -1, cv2.LINE_AA, 4)
        if softness:
            layer = cv2.GaussianBlur(layer, (0, 0), softness * width)
        share = layer.astype(np.float32)[..., None] / 255 * 0.85
        image += (244 - image) * share


def develop(image: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    """Turns the light that reaches the camera into its image (H, W, 3) uint8."""
    height, width = image.shape[:2]
    if style.blur > 0:
        image = cv2.GaussianBlur(image, (0, 0), max(style.blur * width / 1000, 0.2))
    image *= style.gain.astype(np.float32)
    if style.saturation != 1:
        grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
        image = grey[..., None] + (image - grey[..., None]) * np.float32(style.saturation)
    if style.contrast != 1:
        image = (image - 110) * np.float32(style.contrast) + 110
    if style.vignette:
        x = np.linspace(-1, 1, width, dtype=np.float32)[None]
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        image *= (1 - np.float32(style.vignette) * (x**2 + y**2) / 2)[..., None]
    if style.noise:
        # One table of noise, read from a random place: drawing 3 H W normals would take longer.
        table = _sensor_noise()
        start = int(rng.integers(len(table)))
        image += np.float32(style.noise) * np.take(
            table, np.arange(start, start + image.size), mode='wrap'
        ).reshape(image.shape)
    image = np.clip(image, 0, 255).astype(np.uint8)
    if style.gamma != 1:
        curve = 255 * (np.arange(256) / 255) ** style.gamma
        image = cv2.LUT(image, curve.astype(np.uint8))
    if style.jpeg:
        packed = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, style.jpeg])[1]
        image = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return image


@lru_cache
def _sensor_noise() -> np.ndarray:
    """Normal noise in a table whose prime length hides the repetition."""
    return np.random.default_rng(11).standard_normal(1_000_003).astype(np.float32)
