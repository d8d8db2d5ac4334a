"""Colours, patterns, shadows, snow and light on what the pixels show."""

import cv2
import numpy as np

from . import weather
from .camera import NEAR, Camera
from .canvas import SKY, Parts, front_part, part_behind
from .scene import Item, Scene
from .street import ROAD, SIDEWALK, TERRAIN, VEGETATION
from .style import CLASSES, Style
from .view import View

IGNORE = 255


def paint(
    ids: np.ndarray, parts: Parts, style: Style, scale: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Looks up the colours: the image in even light, and at night the lights by themselves."""
    # Even an overcast sky lights what faces up more, which lets shapes stand out.
    open_sky = 0.9 + parts.normal @ np.array([0.06, 0.14, 0.0])
    direct = style.sun * _towards_sun(parts.normal, style)
    lit = style.ambient * open_sky[:, None] + style.sunlight * direct[:, None]
    colour = parts.colour.copy()
    if style.snow:
        up = np.clip(parts.normal[:, 1:2] * 1.6 - 0.5, 0, 1)
        up *= ~np.isin(parts.label, (ROAD, SIDEWALK, TERRAIN))[:, None]
        colour += (235 - colour) * up * min(style.snow * 1.2, 1)
    table = np.zeros((len(colour), 4), np.uint8)
    table[:, :3] = np.clip(colour * lit, 0, 255)
    image = _shrink(_look_up(ids, table, parts.veil), scale)
    if not style.night:
        return image, None
    table[:, :3] = np.clip(parts.colour * parts.glow[:, None], 0, 255)
    return image, _shrink(_look_up(ids, table, parts.veil), scale)


def _towards_sun(normal: np.ndarray, style: Style) -> np.ndarray:
    """Cosine between the sun and each part (P,), 0 for what faces away."""
    flat = np.cos(style.elevation)
    sun = (np.sin(style.azimuth) * flat, np.sin(style.elevation), np.cos(style.azimuth) * flat)
    return np.clip(normal @ np.array(sun), 0, 1)


def _look_up(ids: np.ndarray, table: np.ndarray, veil: np.ndarray) -> np.ndarray:
    """Colours (H, W, 4) uint8 of the parts, mixed where a veil lies over another part."""
    packed = table.view(np.uint32)[:, 0]
    behind = part_behind(ids)
    colours = np.take(packed, behind).view(np.uint8).reshape(*ids.shape, 4)
    rows, columns = np.nonzero(ids != behind)
    if len(rows):
        veils = front_part(ids[rows, columns])
        share = veil[veils][:, None]
        colours[rows, columns] = colours[rows, columns] * (1 - share) + table[veils] * share
    return colours


def _shrink(colours: np.ndarray, scale: int) -> np.ndarray:
    size = (colours.shape[1] // scale, colours.shape[0] // scale)
    small = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
    return small[..., :3].astype(np.float32)


def texture(image: np.ndarray, view: View, style: Style) -> None:
    """Gives surfaces their grain, and pavements and walls their joints (in place)."""
    pattern = style.texture
    labels = np.where(view.labels < CLASSES, view.labels, 7)

    def by_label(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32)[labels]

    amplitude = pattern.amplitude.copy()
    amplitude[SKY] = 0
    grain = view.noise(by_label(pattern.cell))
    image *= np.clip(1 + grain[..., None] * by_label(amplitude), 0, 2)
    joint = by_label(pattern.joint)
    rows, columns = np.nonzero((joint > 0) & (view.depth < 60))
    if len(rows):
        joint, depth = joint[rows, columns], view.depth[rows, columns]
        s, t = (axis[rows, columns] / joint for axis in view.surface)
        s = s + 0.5 * (np.floor(t) % 2)
        line = (s - np.floor(s) < 0.07) | (t - np.floor(t) < 0.1)
        fade = np.clip(view.camera.focal * joint * 0.08 / depth, 0, 1)
        strength = line * fade * by_label(pattern.depth)[rows, columns]
        image[rows, columns] *= 1 - strength[:, None]


def shadows(image: np.ndarray, view: View, scene: Scene, style: Style) -> None:
    """Darkens (in place) the ground under and behind what stands on it."""
    size = (view.camera.width, view.camera.height)
    soft = np.zeros(size[::-1], np.uint8)
    hard = np.zeros(size[::-1], np.uint8)
    reach = min(1 / np.tan(style.elevation), 2.5)
    away = -reach * np.array([np.sin(style.azimuth), np.cos(style.azimuth)])
    for item in scene.items:
        if item.kind not in _FOOTPRINTS or item.s > 75:
            continue
        foot, tall = _footprint(scene, item)
        if item.kind != 'building':
            _fill_ground(soft, view.camera, foot, 255)
        if style.sun > 0.1:
            hull = cv2.convexHull(np.concatenate([foot, foot + away * tall]).astype(np.float32))
            _fill_ground(hard, view.camera, hull[:, 0].astype(np.float64), 255)
    radius = max(size[0] // 170, 1) * 2 + 1
    shade = cv2.blur(soft, (radius, radius)).astype(np.float32) * (0.5 / 255)
    direct = style.sun * np.sin(style.elevation)
    lost = direct / (direct + float(style.ambient.mean()))
    hard = cv2.blur(hard, (3, 3)).astype(np.float32) * (lost / 255)
    image *= (1 - np.maximum(shade, hard) * view.ground)[..., None]


# Half width, half length and height of what casts a shadow, metres.
_FOOTPRINTS = {
    'building': None, 'car': (0.9, 2.2, 1.4), 'truck': (1.25, 4.0, 3.2), 'bus': (1.25, 5.5, 3.0),
    'tram': (1.3, 4.5, 3.3), 'person': (0.2, 0.2, 1.7), 'cyclist': (0.25, 0.8, 1.7),
    'motorbike': (0.3, 0.9, 1.7), 'motorcycle': (0.3, 0.9, 1.1), 'bicycle': (0.2, 0.8, 1.0),
    'lamp': (0.08, 0.08, 7.0), 'sign': (0.05, 0.05, 2.6), 'signal': (0.1, 0.1, 3.3),
}  # fmt: skip


def _footprint(scene: Scene, item: Item) -> tuple[np.ndarray, float]:
    """Corners on the ground (4, 2) as x, z, and the height, of what casts a shadow."""
    if item.kind == 'building':
        length, tall, depth = item.extent
        s = np.array([item.s, item.s + length, item.s + length, item.s])
        d = item.d + np.sign(item.d) * np.array([0, 0, depth, depth])
        x, z, _ = scene.at(s, d)
        return np.stack([x, z], 1), tall
    half, length, tall = _FOOTPRINTS[item.kind]
    x, z, heading = scene.at(item.s, item.d)
    turn = heading + item.turn
    across, along = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = [
        half * i * across + length * j * along for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    return np.array([x, z]) + corners, tall


def _fill_ground(mask: np.ndarray, camera: Camera, corners: np.ndarray, value: int) -> None:
    """Fills a polygon (N, 2) that lies on the ground, x and z in metres."""
    points = np.stack([corners[:, 0], np.zeros(len(corners)), np.maximum(corners[:, 1], 0.8)], 1)
    view = camera.to_view(points)
    if view[:, 2].min() > NEAR:
        pixels = np.round(camera.to_pixels(view) * 16).astype(np.int32)
        cv2.fillConvexPoly(mask, pixels, value, cv2.LINE_8, 4)


def snow(image: np.ndarray, view: View, style: Style) -> None:
    """Covers (in place) the ground with snow, less where wheels and feet wore it off."""
    bare = np.full(256, 9.0, np.float32)
    bare[[ROAD, SIDEWALK, TERRAIN]] = 0.75, 0.35, -0.3
    bare[VEGETATION] = 0.6
    wear = bare[view.labels] - view.noise(0.25) * 0.5
    cover = np.clip((style.snow * 1.3 - wear) * 2.2, 0, 1) * np.where(
        view.labels == ROAD, 0.85, 0.95
    )
    light = 236 * np.clip(style.ambient + style.sun * 0.6, 0, 1.02)
    image += (light.astype(np.float32) - image) * cover[..., None].astype(np.float32)


def light(
    image: np.ndarray, emission: np.ndarray | None, view: View, scene: Scene, style: Style
) -> None:
    """Lights (in place) a night scene by street lamps and the own headlights."""
    if not style.night:
        return
    pools = [(view.camera.position[0], 9.0, 9.0, 4.0)]
    for item in scene.items:
        if item.kind == 'lamp' and item.s < 90:
            x, z, _ = scene.at(item.s, item.d - np.sign(item.d) * 1.5)
            pools.append((x, z, 8.0, 8.0))
    colour = np.clip(style.palette['lamp'][0], 0, 255)
    pools = np.array(pools) * (1, 1, 1, style.night)
    weather.add_lamp_light(image, view.world, pools, colour)


def bonnet(image: np.ndarray, labels: np.ndarray, style: Style, rng: np.random.Generator) -> None:
    """Draws (in place) the own car's bonnet, which the labels ignore."""
    height, width = labels.shape
    x = np.linspace(-1, 1, 40)
    edge = height * (1 - style.bonnet * (1 - 0.55 * np.abs(x) ** 2.5))
    points = np.stack([(x + 1) / 2 * width, edge], 1)
    points = np.concatenate([points, [(width, height + 2), (0, height + 2)]]).astype(np.int32)
    mask = np.zeros(labels.shape, np.uint8)
    cv2.fillPoly(mask, [points], 1)
    inside = mask > 0
    paint = style.paint('car', rng.random(), rng) * (style.ambient * 0.9)
    rows = np.linspace(2.2, 0.55, height, dtype=np.float32)[:, None, None]
    image[inside] = (paint.astype(np.float32) * rows * np.ones_like(image))[inside]
    labels[inside] = IGNORE
