"""Draws each kind of item of a scene in the paints of a style."""

import numpy as np

from . import cars, people, props, vehicles
from .canvas import Canvas
from .scene import Item, Scene
from .street import KERB, draw_building, draw_fence, draw_hedge, draw_wall
from .style import Style

_LAMPS_OFF = 0.32  # how bright an unlit lamp of a traffic light is


def draw_items(canvas: Canvas, scene: Scene, style: Style) -> None:
    """Draws all items, in their order: back to front."""
    for item in scene.items:
        _DRAW[item.kind](canvas, scene, item, style)


def _stand(scene: Scene, item: Item) -> tuple[np.ndarray, float]:
    """Where an item stands (3,) and its heading; on the pavement, it stands higher."""
    x, z, heading = scene.at(item.s, item.d)
    side = 1 if item.d > 0 else -1
    height = KERB if abs(item.d) > scene.kerb(side) else 0.0
    return np.array([x, height, z]), float(heading + item.turn)


def _towards(canvas: Canvas, origin: np.ndarray) -> float:
    """The heading of a flat figure at `origin` that faces the camera."""
    offset = origin - np.asarray(canvas.camera.position)
    return float(np.arctan2(offset[0], offset[2]))


def _vehicle_paints(style: Style, item: Item, body: str, load: str) -> np.ndarray:
    rng = np.random.default_rng(item.seed)
    first, second, third = item.tint
    white, red = np.array([250, 246, 226.0]), np.array([190, 24, 22.0])
    tyre = np.array([30, 30, 32.0])
    return np.array([
        style.paint(body, first, rng), style.paint('glass', second, rng), tyre,
        np.array([150, 152, 156.0]), np.array([52, 53, 56.0]), white, red,
        style.paint('plate', third, rng), style.paint(load, second, rng), np.array([38, 39, 43.0]),
    ])  # fmt: skip


def _car(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    origin, heading = _stand(scene, item)
    mesh = cars.car(cars.CAR_KINDS[item.variant % 4])
    canvas.place(mesh, _vehicle_paints(style, item, 'car', 'load'), origin, heading)


def _truck(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    origin, heading = _stand(scene, item)
    mesh = vehicles.truck(('box', 'tarpaulin', 'skip')[item.variant % 3])
    canvas.place(mesh, _vehicle_paints(style, item, 'truck', 'load'), origin, heading)


def _bus(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    origin, heading = _stand(scene, item)
    mesh = vehicles.bus(2 if item.variant % 5 == 0 else 1)
    canvas.place(mesh, _vehicle_paints(style, item, 'bus', 'busstripe'), origin, heading)


def _tram(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    origin, heading = _stand(scene, item)
    mesh = vehicles.tram(item.variant)
    canvas.place(mesh, _vehicle_paints(style, item, 'tram', 'tramskirt'), origin, heading)


def _person_paints(style: Style, item: Item) -> list[np.ndarray]:
    rng = np.random.default_rng(item.seed)
    names = ('skin', 'top', 'trousers', 'trousers', 'hair', 'bag')
    return [style.paint(name, t, rng) for name, t in zip(names, rng.random(6), strict=True)]


def _person(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    origin, heading = _stand(scene, item)
    facing = _towards(canvas, origin)
    sideways = np.sin(heading - facing)
    rng = np.random.default_rng(item.seed)
    walking = abs(sideways) > 0.5
    pose = people.POSES[int(rng.integers(3)) + 3 * (not walking)]
    mesh = people.person(pose, bool(rng.random() < 0.35), bool(rng.random() < 0.2))
    height = float(np.clip(rng.normal(1, 0.06), 0.6, 1.12))
    if rng.random() < 0.08:
        height *= 0.68  # a child
    size = (height * (1 if sideways > 0 else -1), height, height)
    canvas.place(mesh, np.array(_person_paints(style, item)), origin, facing, size)


def _two_wheeler(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    origin, heading = _stand(scene, item)
    facing = _towards(canvas, origin)
    sideways = np.sin(heading - facing)
    view = 'side' if abs(sideways) > 0.32 else 'end'
    rng = np.random.default_rng(item.seed)
    ridden = item.kind in ('cyclist', 'motorbike')
    if item.kind in ('cyclist', 'bicycle'):
        mesh = people.bicycle(view, ridden)
    else:
        mesh = people.motorcycle(view, ridden, item.variant % 3 == 0)
    paints = _person_paints(style, item)
    away = np.cos(heading - facing) > 0
    lights = [np.array([250, 246, 226.0]), np.array([200, 28, 24.0])]
    if view == 'end' and not away:  # its lamp is the headlight then
        lights[1] = lights[0]
    grey = np.array([132, 134, 138.0])
    paints += [style.paint('machine', item.tint[0], rng), np.array([30, 30, 32.0]), grey]
    paints += [np.array([36, 34, 34.0]), *lights]
    width = max(abs(sideways), 0.72) if view == 'side' else 1.0
    size = (width * (1 if sideways > 0 else -1), 1.0, 1.0)
    canvas.place(mesh, np.array(paints), origin, facing, size)


def _plant(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    origin, _ = _stand(scene, item)
    rng = np.random.default_rng(item.seed)
    if item.kind == 'bush':
        mesh = props.bush(item.variant % 8)
    else:
        mesh = props.tree(style.trees[item.variant % len(style.trees)], item.variant % 11)
    leaf = style.paint('leaf', item.tint[0], rng)
    paints = np.array([style.paint('trunk', item.tint[1], rng), leaf * 0.68, leaf, leaf * 1.25])
    mirror = 1 if item.tint[2] < 0.5 else -1
    size = item.extent[0]
    canvas.place(mesh, paints, origin, _towards(canvas, origin), (size * mirror, size, size))


def _lamp(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    origin, _ = _stand(scene, item)
    rng = np.random.default_rng(scene.seed)  # the lamps of a street are alike
    pole, light = style.paint('pole', rng.random(), rng), style.paint('lamp', 0.0, rng)
    heading = float(scene.at(item.s, item.d)[2])
    size = (-1 if item.d > 0 else 1, 1, 1)  # the arm reaches over the road
    canvas.place(props.lamp(scene.seed % 3), np.array([pole, light]), origin, heading, size)


def _sign_paints(style: Style, item: Item) -> np.ndarray:
    rng = np.random.default_rng(item.seed)
    bright = np.array([
        style.paint('pole', item.tint[0], rng), (200, 26, 30), (240, 240, 236),
        style.palette['board'][0], (240, 190, 30), (26, 27, 29), (40, 200, 120),
    ])  # fmt: skip
    return np.concatenate([bright, bright * _LAMPS_OFF])


def _sign(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    origin, _ = _stand(scene, item)
    heading = float(scene.at(item.s, item.d)[2])
    mesh = props.sign(style.signs[item.variant % len(style.signs)])
    canvas.place(mesh, _sign_paints(style, item), origin, heading)


def _signal(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    origin, _ = _stand(scene, item)
    heading = float(scene.at(item.s, item.d)[2])
    mesh = props.signal(item.variant, item.extent[0])
    size = (-1 if item.d > 0 else 1, 1, 1)
    canvas.place(mesh, _sign_paints(style, item), origin, heading, size)


def _small(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    origin, _ = _stand(scene, item)
    rng = np.random.default_rng(item.seed)
    paint = style.paint('bin' if item.kind == 'bin' else 'pole', item.tint[0], rng)
    second = paint * 0.6 if item.kind == 'bin' else np.array([225, 225, 220.0])
    canvas.place(
        props.small(item.kind), np.array([paint, second]), origin, _towards(canvas, origin)
    )


_DRAW = {
    'building': draw_building,
    'wall': draw_wall,
    'fence': draw_fence,
    'hedge': draw_hedge,
    'car': _car,
    'truck': _truck,
    'bus': _bus,
    'tram': _tram,
    'person': _person,
    'cyclist': _two_wheeler,
    'bicycle': _two_wheeler,
    'motorbike': _two_wheeler,
    'motorcycle': _two_wheeler,
    'tree': _plant,
    'bush': _plant,
    'lamp': _lamp,
    'sign': _sign,
    'signal': _signal,
    'bin': _small,
    'bollard': _small,
}
