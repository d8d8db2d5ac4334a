"""Trees, lamps, signs, traffic lights and small things on the pavement."""

from functools import lru_cache

import numpy as np

from .mesh import Mesh, MeshBuilder, disc, limb

POLE, LIGHT, SIGN, VEGETATION, IGNORE = 5, 6, 7, 8, 255
TREES = ('round', 'tall', 'conifer', 'palm', 'bare')
SIGNS = ('warning', 'ban', 'order', 'stop', 'parking', 'diamond', 'board', 'limit')
# Slots of a tree's palette.
TRUNK, SHADE, LEAF, SUNLIT = range(4)
# Slots of a sign's or a traffic light's palette.
POST, RED, WHITE, BLUE, YELLOW, BLACK, GREEN = range(7)


@lru_cache
def tree(shape: str, seed: int) -> Mesh:
    """A tree 1 m tall (scale it) of one of `TREES`."""
    rng = np.random.default_rng(seed)
    mesh = MeshBuilder(VEGETATION)
    mesh.add(limb((0, 0), (rng.uniform(-0.02, 0.02), 0.5), 0.055, 0.035), TRUNK)
    if shape == 'bare':
        _branches(mesh, np.array([0, 0.4]), np.pi / 2, 0.24, 0.03, 3, rng)
    elif shape == 'palm':
        mesh.add(limb((0, 0), (0.02, 0.85), 0.05, 0.03), TRUNK)
        for angle in np.linspace(-0.5, np.pi + 0.5, 9):
            tip = np.array([0.02 + 0.3 * np.cos(angle), 0.8 + 0.2 * np.sin(angle)])
            across = 0.03 * np.array([-np.sin(angle), np.cos(angle)])
            bend = np.array([0.02 + 0.18 * np.cos(angle), 0.87 + 0.16 * np.sin(angle)])
            mesh.add(
                [(0.02, 0.84), bend + across, tip, bend - across],
                int(rng.choice([SHADE, LEAF, SUNLIT])),
            )
    elif shape == 'conifer':
        for k, y in enumerate(np.linspace(0.1, 0.72, 6)):
            half = 0.26 * (1 - y) + 0.02
            x = np.linspace(-half, half, 9)
            hem = np.stack([x, y + 0.02 * rng.standard_normal(9)], 1)
            mesh.add([*hem, (0, y + 0.3)], (SHADE, LEAF)[k % 2])
            mesh.add([(half * 0.2, y + 0.02), (half, y), (0, y + 0.28)], SUNLIT if k > 3 else LEAF)
    else:
        spread, centre = (0.3, 0.64) if shape == 'round' else (0.14, 0.56)
        reach = 0.22 if shape == 'round' else 0.34
        for slot, count, lift in ((SHADE, 5, -0.05), (LEAF, 6, 0.03), (SUNLIT, 4, 0.1)):
            for _ in range(count):
                angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
                x = spread * 0.75 * radius * np.cos(angle)
                y = centre + lift + reach * 0.75 * radius * np.sin(angle)
                mesh.add(_blob(x, y, rng.uniform(0.09, 0.17) * (spread + reach) / 0.5, rng), slot)
    return mesh.build()


def _blob(x: float, y: float, radius: float, rng: np.random.Generator) -> np.ndarray:
    """A clump of leaves: a circle with a ragged edge (22, 2)."""
    shape = disc(0, 0, radius, 22)
    return shape * (1 + 0.28 * (rng.random((22, 1)) - 0.5)) + (x, y)


def _branches(
    mesh: MeshBuilder, base: np.ndarray, angle: float, length: float, width: float, depth: int, rng
) -> None:
    """Bare branches that fork `depth` times."""
    tip = base + length * np.array([np.cos(angle), np.sin(angle)])
    mesh.add(limb(tuple(base), tuple(tip), width, width * 0.6), TRUNK)
    if depth:
        for turn in (-0.55, 0.0, 0.5):
            _branches(
                mesh,
                tip,
                angle + turn + rng.uniform(-0.15, 0.15),
                length * 0.72,
                width * 0.6,
                depth - 1,
                rng,
            )


@lru_cache
def bush(seed: int) -> Mesh:
    """A bush 1 m tall."""
    rng = np.random.default_rng(seed)
    mesh = MeshBuilder(VEGETATION)
    for slot, count in ((SHADE, 4), (LEAF, 4), (SUNLIT, 3)):
        for _ in range(count):
            x, y = rng.uniform(-0.5, 0.5), rng.uniform(0.25, 0.6) + 0.06 * slot
            mesh.add(_blob(x, y, rng.uniform(0.22, 0.34), rng), slot)
    return mesh.build()


@lru_cache
def lamp(shape: int) -> Mesh:
    """A street lamp whose arm reaches to the right (shape 0 and 1), or a lantern (shape 2)."""
    mesh = MeshBuilder(POLE)
    if shape == 2:
        mesh.add(limb((0, 0), (0, 3.9), 0.16, 0.11), 0)
        mesh.add([(-0.16, 3.9), (0.16, 3.9), (0.26, 4.5), (-0.26, 4.5)], 1, glow=1.0)
        mesh.add([(-0.3, 4.5), (0.3, 4.5), (0, 4.75)], 0)
        return mesh.build()
    top = (7.5, 6.2)[shape]
    mesh.add(limb((0, 0), (0, 1.2), 0.24), 0)
    mesh.add(limb((0, 0), (0, top), 0.2, 0.13), 0)
    mesh.add(limb((0, top), (1.5, top + 0.35), 0.11), 0)
    mesh.add(limb((1.4, top + 0.33), (2.2, top + 0.4), 0.2), 0)
    mesh.add(
        [(1.45, top + 0.27), (2.15, top + 0.34), (2.15, top + 0.24), (1.45, top + 0.17)],
        1,
        glow=1.0,
    )
    return mesh.build()


@lru_cache
def sign(kind: str) -> Mesh:
    """A traffic sign of one of `SIGNS` that faces -z."""
    mesh = MeshBuilder(SIGN)
    if kind == 'board':
        for x in (-0.9, 0.9):
            mesh.add(limb((x, 0), (x, 2.6), 0.11), POST, label=POLE)
        for shrink, slot in ((1, WHITE), (0.94, BLUE)):
            half, tall = 1.2 * shrink, 0.5 * shrink
            mesh.add(
                [(-half, 2.4 - tall), (half, 2.4 - tall), (half, 2.4 + tall), (-half, 2.4 + tall)],
                slot,
            )
        for y, right in ((2.6, 0.7), (2.35, 0.4), (2.1, 0.6)):
            mesh.add(
                [(-0.9, y - 0.06), (right, y - 0.06), (right, y + 0.06), (-0.9, y + 0.06)], WHITE
            )
        return mesh.build()
    y, r = 2.45, 0.4
    mesh.add(limb((0, 0), (0, y), 0.1), POST, label=POLE)
    if kind == 'warning':
        for k, slot in ((1.25, RED), (0.78, WHITE)):
            mesh.add([(-r * k, y - r * 0.62 * k), (r * k, y - r * 0.62 * k), (0, y + r * k)], slot)
        mesh.add(limb((0, y - 0.1), (0, y + 0.12), 0.09), BLACK)
    elif kind in ('ban', 'limit'):
        mesh.add(disc(0, y, r, 18), RED)
        mesh.add(disc(0, y, r * 0.72, 16), WHITE)
        if kind == 'ban':
            mesh.add(limb((-0.2, y - 0.2), (0.2, y + 0.2), 0.1), RED)
        else:
            for x in (-0.11, 0.11):
                mesh.add(disc(x, y, 0.14, 10, 0.6), BLACK)
                mesh.add(disc(x, y, 0.075, 8, 0.5), WHITE)
    elif kind == 'order':
        mesh.add(disc(0, y, r, 18), BLUE)
        mesh.add(limb((0, y - 0.22), (0, y + 0.1), 0.1), WHITE)
        mesh.add([(-0.18, y + 0.06), (0.18, y + 0.06), (0, y + 0.27)], WHITE)
    elif kind == 'stop':
        turn = disc(0, 0, 1.0, 8) @ np.array([[0.924, 0.383], [-0.383, 0.924]])
        mesh.add(turn * r * 1.08 + (0, y), WHITE)
        mesh.add(turn * r + (0, y), RED)
        mesh.add([(-0.24, y - 0.07), (0.24, y - 0.07), (0.24, y + 0.07), (-0.24, y + 0.07)], WHITE)
    elif kind == 'diamond':
        for k, slot in ((1.15, WHITE), (0.95, YELLOW)):
            mesh.add([(-r * k, y), (0, y - r * k), (r * k, y), (0, y + r * k)], slot)
    else:
        mesh.add([(-r, y - r), (r, y - r), (r, y + r), (-r, y + r)], BLUE)
        mesh.add(limb((-0.12, y - 0.25), (-0.12, y + 0.25), 0.1), WHITE)
        mesh.add(disc(-0.01, y + 0.1, 0.17, 10), WHITE)
        mesh.add(disc(-0.01, y + 0.1, 0.08, 8), BLUE)
    return mesh.build()


@lru_cache
def signal(state: int, reach: float) -> Mesh:
    """A traffic light showing red (state 0), yellow or green; `reach` m of arm to the right."""
    mesh = MeshBuilder(LIGHT)
    top = 5.6 if reach else 3.3
    mesh.add(limb((0, 0), (0, top), 0.17, 0.14), POST, label=POLE)
    heads = [(0.0, 2.6)]
    if reach:
        mesh.add(limb((0, top - 0.1), (reach, top), 0.12), POST, label=POLE)
        heads.append((reach, top - 0.75))
    for x, y in heads:
        mesh.add(
            [(x - 0.24, y - 0.1), (x + 0.24, y - 0.1), (x + 0.24, y + 1.1), (x - 0.24, y + 1.1)],
            BLACK,
        )
        for k, slot in enumerate((RED, YELLOW, GREEN)):
            on = k == state
            mesh.add(
                disc(x, y + 0.85 - 0.35 * k, 0.15, 12), slot if on else slot + 7, glow=1.0 * on
            )
    return mesh.build()


@lru_cache
def small(kind: str) -> Mesh:
    """A litter bin (ignored by the labels) or a bollard."""
    if kind == 'bollard':
        mesh = MeshBuilder(POLE)
        mesh.add(limb((0, 0), (0, 0.95), 0.17), 0)
        mesh.add(limb((0, 0.72), (0, 0.82), 0.175), 1)
        return mesh.build()
    mesh = MeshBuilder(IGNORE)
    mesh.add([(-0.26, 0.1), (0.26, 0.1), (0.31, 0.95), (-0.31, 0.95)], 0)
    mesh.add([(-0.34, 0.92), (0.34, 0.92), (0.3, 1.06), (-0.3, 1.06)], 1)
    return mesh.build()
