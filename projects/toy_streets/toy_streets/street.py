"""Ground, buildings, walls and fences."""

import numpy as np

from .canvas import Canvas
from .mesh import MeshBuilder, grid, on_plane
from .scene import LENGTH, Item, Scene
from .style import Style

ROAD, SIDEWALK, BUILDING, WALL, FENCE, VEGETATION, TERRAIN = 0, 1, 2, 3, 4, 8, 9
KERB = 0.12  # metres above the road


def draw_ground(canvas: Canvas, scene: Scene, style: Style) -> None:
    """Draws everything that lies flat, and the distant backdrop."""
    rng = np.random.default_rng(scene.seed)
    _backdrop(canvas, style, rng)
    names = ('grass', 'road', 'sidewalk', 'kerb', 'mark', 'mark2', 'rail', 'patch')
    colours = [style.paint(name, rng.random(), rng) for name in names]
    grass, road, sidewalk, kerb, mark, mark2, rail, patch = range(len(names))
    mesh = MeshBuilder(ROAD)
    plain = np.array([[(-400, -0.02, -5), (400, -0.02, -5), (400, -0.02, 900), (-400, -0.02, 900)]])
    mesh.add_many(plain.astype(float), grass, label=TERRAIN)
    edges = np.array(scene.edges)
    mesh.add_many(_strips(scene, edges, -scene.kerb(-1), scene.kerb(1)), road)
    for k in scene.junctions:
        ends = edges[[k, k + 1]]
        wide = ends + np.array([-2, 2])
        mesh.add_many(_strips(scene, wide, -90, 90, KERB / 2), sidewalk, label=SIDEWALK)
        mesh.add_many(_strips(scene, ends, -90, 90, KERB / 2), road)
        mesh.add_many(_strips(scene, wide, -scene.kerb(-1), scene.kerb(1)), road)
    _patches(mesh, scene, patch, rng)
    if scene.median and not scene.tracks:
        half = scene.median / 2 - 0.3
        for k in set(range(len(edges) - 1)) - set(scene.junctions):
            strip = _strips(scene, edges[[k, k + 1]] + (1.5, -1.5), -half, half, KERB)
            mesh.add_many(strip, grass, label=TERRAIN)
    if scene.tracks:
        for d in (-2.32, -0.88, 0.88, 2.32):
            mesh.add_many(_strips(scene, edges, d - 0.06, d + 0.06), rail)
    if style.marks:
        _marks(mesh, scene, mark, mark2)
    for side in (-1, 1):
        inner, outer = side * scene.kerb(side), side * scene.front(side)
        for k in set(range(len(edges) - 1)) - set(scene.junctions):
            ends = edges[[k, k + 1]]
            flat = _strips(scene, ends, inner, outer + side * 0.3, KERB)
            mesh.add_many(flat, sidewalk, label=SIDEWALK)
            verge = scene.verge[int(side > 0)]
            if verge > 0.5:
                strip = _strips(scene, ends, inner, inner + side * verge, KERB)
                mesh.add_many(strip, grass, label=TERRAIN)
            edge = _strips(scene, ends, inner, inner + side * 0.2, KERB)
            mesh.add_many(edge, kerb, label=SIDEWALK)
            face = edge.copy()
            face[:, 2:] = face[:, 1::-1] - (0, KERB, 0)
            mesh.add_many(face, kerb, label=SIDEWALK)
    canvas.place(mesh.build(), np.array(colours))


def _strips(scene: Scene, s: np.ndarray, d0: float, d1: float, y: float = 0.0) -> np.ndarray:
    """Returns quads (len(s) - 1, 4, 3) between distances d0 and d1 from the axis."""
    x0, z0, _ = scene.at(s, d0)
    x1, z1, _ = scene.at(s, d1)
    level = np.full_like(x0, y)
    near, far = np.stack([x0, level, z0], 1), np.stack([x1, level, z1], 1)
    return np.stack([near[:-1], near[1:], far[1:], far[:-1]], 1)


def _dashes(
    scene: Scene, d: float, width: float, length: float, gap: float, stop: float
) -> np.ndarray:
    start = np.arange(1.0, stop, length + gap)
    ends = np.stack([start, start + length], 1).reshape(-1)
    return _strips(scene, ends, d - width / 2, d + width / 2)[::2]


def _marks(mesh: MeshBuilder, scene: Scene, white: int, centre: int) -> None:
    """Lane marks, the line between the directions, zebra crossings and stop lines."""
    stop = min([scene.edges[k] for k in scene.junctions] + [110.0]) - 4
    for k, side in enumerate((-1, 1)):
        for lane in range(1, scene.lanes[k]):
            d = side * (scene.median / 2 + lane * scene.lane_width)
            mesh.add_many(_dashes(scene, d, 0.15, 3.0, 4.5, stop), white)
        d = side * (scene.kerb(side) - scene.parking[k])
        edges = np.array([-2, *np.arange(8, stop, 8.0)])
        d -= 0.0 if scene.parking[k] else side * 0.3
        mesh.add_many(_strips(scene, edges, d - 0.06, d + 0.06), white)
        if scene.median:
            d = side * scene.median / 2
            mesh.add_many(_strips(scene, edges, d - 0.07, d + 0.07), centre)
    if not scene.median:
        mesh.add_many(_dashes(scene, 0.0, 0.16, 3.0, 3.0, stop), centre)
    for k in scene.junctions[:2]:
        bars = np.arange(-scene.kerb(-1) + 0.4, scene.kerb(1) - 0.6, 1.0)
        for near in (scene.edges[k] - 3.2,):
            quads = [_strips(scene, np.array([near, near + 2.8]), d, d + 0.5) for d in bars]
            mesh.add_many(np.concatenate(quads), white)
            line = np.array([near - 1.4, near - 1.0])
            mesh.add_many(_strips(scene, line, scene.median / 2, scene.kerb(1)), white)


def _patches(mesh: MeshBuilder, scene: Scene, slot: int, rng: np.random.Generator) -> None:
    """Mended asphalt and manhole covers."""
    for _ in range(6):
        s, d = rng.uniform(4, 40), rng.uniform(-scene.kerb(-1) + 1, scene.kerb(1) - 2)
        length, width = rng.choice([0.6, rng.uniform(1, 6)]), rng.choice([0.6, 1.2])
        mesh.add_many(_strips(scene, np.array([s, s + length]), d, d + width), slot)


def _backdrop(canvas: Canvas, style: Style, rng: np.random.Generator) -> None:
    """A skyline and rows of trees that close the view."""
    colours = np.array(
        [style.paint(n, rng.random(), rng) for n in ('building', 'leaf', 'building')]
    )
    mesh = MeshBuilder(BUILDING)
    for _ in range(int(rng.integers(3, 12))):
        x, half, height = rng.uniform(-160, 160), rng.uniform(5, 14), rng.uniform(9, 34)
        z = LENGTH + rng.uniform(60, 120)
        block = [(x - half, 0, z), (x + half, 0, z), (x + half, height, z), (x - half, height, z)]
        mesh.add(block, int(rng.choice([0, 2])))
    top = rng.uniform(4, 10)
    for start, stop in (((-240, 170), (240, 170)), ((-48, -5), (-60, 220)), ((48, -5), (60, 220))):
        t = np.linspace(0, 1, 60)
        height = top * (0.7 + 0.35 * rng.random(60) + 0.2 * np.sin(t * rng.uniform(9, 40)))
        x, z = (start[i] + (stop[i] - start[i]) * t for i in (0, 1))
        upper = np.stack([x, height, z], 1)
        mesh.add([(x[0], 0, z[0]), (x[-1], 0, z[-1]), *upper[::-1]], 1, label=VEGETATION)
    canvas.place(mesh.build(), colours)


def _side_frame(scene: Scene, item: Item) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Origin, unit vectors along the street and away from it, and length, of a frontage."""
    x, z, _ = scene.at(np.array([item.s, item.s + item.extent[0]]), item.d)
    start, stop = np.array([x[0], 0, z[0]]), np.array([x[1], 0, z[1]])
    length = float(np.linalg.norm(stop - start))
    along = (stop - start) / length
    away = np.array([along[2], 0, -along[0]]) * np.sign(item.d)
    return start, along, away, length


def draw_building(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    """A house with windows, maybe a shop, under a flat or a pitched roof."""
    start, along, away, length = _side_frame(scene, item)
    height, depth = item.extent[1:]
    rng = np.random.default_rng(item.seed)
    names = ('building', 'roof', 'window', 'window', 'lit', 'trim', 'sign', 'door')
    colours = [style.paint(name, t, rng) for name, t in zip(names, rng.random(8), strict=True)]
    colours[0] = style.paint('building', item.tint[0], rng)
    wall, roof, window, _, lit, trim, shop, door = range(8)

    def face(points: np.ndarray, back: float = 0.0) -> np.ndarray:
        return on_plane(points, start + away * back, along)

    mesh = MeshBuilder(BUILDING)
    mesh.centre = tuple(start + along * length / 2 + away * depth / 2 + (0, height / 2, 0))
    pitched = rng.random() < style.pitched
    rise = rng.uniform(2, 3.5) if pitched else 0.4
    for x, group in ((0.0, 1), (length, 2)):
        middle = (depth / 2, height + rise) if pitched else (depth / 2, height)
        gable = [(0, 0), (depth, 0), (depth, height), middle, (0, height)]
        mesh.add(on_plane(gable, start + along * x, away), wall, group=group, solid=True)
        if x == 0.0 and item.s < 60:
            rows = np.arange(3.9, height - 1.8, 3.1)
            panes = grid(np.arange(1.5, depth - 1.5, 2.7), rows, 1.0, 1.4)
            seen = (np.asarray(canvas.camera.position) - start) @ -along > 0
            if len(panes) and seen:
                mesh.add_many(on_plane(panes, start - along * 0.01, away), window, group=group)
    if (np.asarray(canvas.camera.position) - start) @ away < 0:
        front = np.array([[(0, 0), (length, 0), (length, height), (0, height)]])
        mesh.add_many(face(front), wall)
        _facade(mesh, face, length, height, item.s, rng, (window, lit, trim, shop, door))
    if pitched:
        slope = [(0, height, 0), (length, height, 0), (length, height + rise, depth / 2),
                 (0, height + rise, depth / 2)]  # fmt: skip
        slope = np.array(slope)
        quad = start + slope[:, :1] * along + slope[:, 1:2] * (0, 1, 0) + slope[:, 2:] * away
        mesh.add(quad, roof, group=3, solid=True)
    canvas.place(mesh.build(), np.array(colours))


def _facade(
    mesh: MeshBuilder, face, length: float, height: float, s: float, rng, slots: tuple
) -> None:
    """Windows, floor bands, and a shop or a door on the ground floor."""
    window, lit, trim, shop, door = slots
    floor, pitch = rng.uniform(2.9, 3.5), rng.uniform(1.9, 3.2)
    width, tall = pitch * rng.uniform(0.4, 0.68), floor * rng.uniform(0.45, 0.62)
    count = max(int((length - 0.8) / pitch), 1)
    columns = (length - (count - 1) * pitch - width) / 2 + pitch * np.arange(count)
    shops = height > 9 and rng.random() < 0.5
    rows = np.arange(3.6 if shops else 0.2, height - floor * 0.8, floor) + floor * 0.28
    panes = grid(columns, rows, width, tall)
    if s < 45 and rng.random() < 0.7:
        rim = 0.12
        mesh.add_many(face(grid(columns - rim, rows - rim, width + 2 * rim, tall + 2 * rim)), trim)
    glows = rng.random(len(panes)) < 0.35
    mesh.add_many(
        face(panes),
        np.where(glows, lit, window + (rng.random(len(panes)) < 0.3)),
        glow=0.45 * glows,
    )
    if s < 30 and rng.random() < 0.6:  # the bar that divides a window
        bars = grid(columns + width / 2 - 0.04, rows, 0.08, tall)
        mesh.add_many(face(bars), trim)
    bands = [(-0.05, height - 0.35, 0.35)]
    if rng.random() < 0.5:
        bands += [(0, y - floor * 0.28, 0.15) for y in rows]
    for _, y, thick in bands:
        band = np.array([[(0, y), (length, y), (length, y + thick), (0, y + thick)]])
        mesh.add_many(face(band), trim)
    if shops:
        panes = grid(np.arange(0.5, length - 2, 2.6), np.array([0.4]), 2.2, 2.2)
        rims = grid(np.arange(0.4, length - 2, 2.6), np.array([0.3]), 2.4, 2.4)
        mesh.add_many(face(rims), trim)
        shown = rng.random(len(panes)) < 0.5
        mesh.add_many(face(panes), np.where(shown, lit, window), glow=0.5 * shown)
        band = np.array([[(0.2, 2.8), (length - 0.2, 2.8), (length - 0.2, 3.5), (0.2, 3.5)]])
        mesh.add_many(face(band), shop, glow=0.3)
    else:
        x = rng.uniform(0.1, 0.8) * length
        mesh.add_many(face(np.array([[(x, 0), (x + 1.1, 0), (x + 1.1, 2.3), (x, 2.3)]])), door)


def draw_wall(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    """A free-standing wall with a cap and pillars."""
    start, along, away, length = _side_frame(scene, item)
    height = item.extent[1]
    rng = np.random.default_rng(item.seed)
    colours = [style.paint('wall', item.tint[0], rng), style.paint('trim', item.tint[1], rng)]
    mesh = MeshBuilder(WALL)
    front = [(0, 0), (length, 0), (length, height), (0, height)]
    ends = [(0, 0), (0.35, 0), (0.35, height), (0, height)]
    mesh.add(on_plane(ends, start, away), 0)
    mesh.add(on_plane(front, start, along), 0)
    cap = [(0, height), (length, height), (length, height + 0.14), (0, height + 0.14)]
    mesh.add(on_plane(cap, start - away * 0.05, along), 1)
    if item.variant % 2:
        pillars = grid(np.arange(0, length - 0.4, 3.2), np.array([0.0]), 0.4, height + 0.25)
        mesh.add_many(on_plane(pillars, start - away * 0.08, along), 1)
    else:  # courses of stone
        courses = grid(np.array([0.0]), np.arange(0.4, height - 0.1, 0.45), length, 0.04)
        mesh.add_many(on_plane(courses, start - away * 0.01, along), 1)
    canvas.place(mesh.build(), np.array(colours))


def draw_fence(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    """A picket fence, a railing or wire mesh; what shows between the bars is fence too."""
    start, along, away, length = _side_frame(scene, item)
    height = item.extent[1]
    rng = np.random.default_rng(item.seed)
    colours = np.array([style.paint('fence', item.tint[0], rng)])
    mesh = MeshBuilder(FENCE)
    kind = item.variant % 3

    def bars(x: np.ndarray, y: np.ndarray, width: float, tall: float) -> None:
        mesh.add_many(on_plane(grid(x, y, width, tall), start - away * 0.02, along), 0)

    whole = [(0, 0), (length, 0), (length, height), (0, height)]
    mesh.add(on_plane(whole, start, along), 0, veil=(0.3, 0.25, 0.4)[kind])
    bars(np.arange(0, length, 2.5), np.array([0.0]), 0.12, height + 0.1)
    bars(np.array([0.0]), np.array([height * 0.2, height * 0.85]), length, 0.08)
    if kind < 2 and item.s < 40:
        pitch, width = ((0.24, 0.13), (0.2, 0.05))[kind]
        bars(np.arange(0, length, pitch), np.array([0.05]), width, height)
    elif kind == 2 and item.s < 25:  # wire mesh
        bars(np.arange(0, length, 0.3), np.array([0.05]), 0.025, height)
        bars(np.array([0.0]), np.arange(0.3, height, 0.3), length, 0.025)
    canvas.place(mesh.build(), colours)


def draw_hedge(canvas: Canvas, scene: Scene, item: Item, style: Style) -> None:
    """A clipped hedge."""
    start, along, away, length = _side_frame(scene, item)
    height = min(item.extent[1], 1.7)
    rng = np.random.default_rng(item.seed)
    colours = [
        style.paint('leaf', item.tint[0], rng),
        style.paint('leaf', item.tint[1], rng) * 1.15,
    ]
    x = np.linspace(0, length, 24)
    top = height * (1 + 0.06 * rng.standard_normal(24))
    front = np.concatenate([[(0, 0), (length, 0)], np.stack([x, top], 1)[::-1]])
    mesh = MeshBuilder(VEGETATION)
    mesh.add(on_plane(front, start + away * 0.6, along), 1)
    mesh.add(on_plane(front * (1, 0.86), start, along), 0)
    ends = [(0, 0), (0.6, 0), (0.6, height), (0, height * 0.86)]
    mesh.add(on_plane(ends, start, away), 0)
    canvas.place(mesh.build(), np.array(colours))
