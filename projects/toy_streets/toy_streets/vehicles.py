"""Lorries, buses and trams, as solid meshes: x right, y up, z towards their front."""

from functools import lru_cache

import numpy as np

from .bodywork import BODY, DARK, GLASS, HEADLIGHT, LOAD, PLATE, TAILLIGHT, TRIM, face, panes, wheel
from .mesh import Mesh, MeshBuilder, limb, on_plane

TRUCK, BUS, TRAIN = 14, 15, 16


@lru_cache
def bus(decks: int = 1) -> Mesh:
    """A city bus, 11 m long, with one deck or two."""
    top = 3.0 if decks == 1 else 4.2
    mesh = MeshBuilder(BUS, centre=(0, 1.4, 0))
    mesh.box((-1.25, 0.32, -5.5), (1.25, top, 5.5), BODY)
    for side, group in ((-1, 0), (1, 1)):
        x = side * 1.255
        mesh.centre = (0, 1.4, 0)
        panes(mesh, x, (-5.2, 5.2), (1.3, 2.35), 8, group)
        if decks == 2:
            panes(mesh, x, (-5.2, 5.2), (2.9, 3.8), 8, group)
        stripe = [(x, 0.75, -5.5), (x, 0.75, 5.5), (x, 1.0, 5.5), (x, 1.0, -5.5)]
        mesh.add(stripe, LOAD, group=group, solid=True)
        for door in (3.9, -0.6):
            quad = [(x, 0.42, door), (x, 0.42, door + 1.1), (x, 2.4, door + 1.1), (x, 2.4, door)]
            mesh.add(quad, DARK, group=group, solid=True)
            for k in (0.06, 0.58):
                pane = [(x, 0.6, door + k), (x, 0.6, door + k + 0.45),
                        (x, 2.3, door + k + 0.45), (x, 2.3, door + k)]  # fmt: skip
                mesh.add(pane, GLASS, group=group, solid=True, glow=0.3)
        for axle in (2.9, -3.2):
            wheel(mesh, x * 1.002, 0.48, axle, 0.48, group)
    for end, group in ((-1, 2), (1, 3)):
        z = 5.51 * end
        face(
            mesh, (-1.12, 1.12), (1.1, 2.45) if end > 0 else (1.5, 2.4), z, GLASS, group, glow=0.25
        )
        if decks == 2:
            face(mesh, (-1.12, 1.12), (2.95, 3.9), z, GLASS, group, glow=0.3)
        face(mesh, (-0.8, 0.8), (2.55, 2.85), z, DARK, group)
        face(mesh, (-0.6, 0.6), (2.62, 2.78), z, HEADLIGHT, group, glow=0.5)
        slot = HEADLIGHT if end > 0 else TAILLIGHT
        for side in (-1, 1):
            face(
                mesh, tuple(sorted((side * 0.8, side * 1.12))), (0.62, 0.82), z, slot, group, glow=1
            )
        face(mesh, (-0.3, 0.3), (0.45, 0.58), z, PLATE, group)
        face(mesh, (-1.25, 1.25), (0.32, 0.42), z, TRIM, group)
    return mesh.build()


@lru_cache
def truck(load: str = 'box') -> Mesh:
    """A lorry, 8 m long, that carries a box, a tarpaulin-covered load or a tipper's skip."""
    mesh = MeshBuilder(TRUCK, centre=(0, 1.3, 0))
    mesh.box((-1.0, 0.5, -4.0), (1.0, 0.95, 3.6), DARK, group=10)
    top = {'box': 3.5, 'tarpaulin': 3.2, 'skip': 2.2}[load]
    mesh.box((-1.25, 0.95, -4.0), (1.25, top, 2.0), LOAD, group=0)
    mesh.box((-1.2, 0.45, 2.15), (1.2, 2.75, 4.0), BODY, group=20)
    for side, rear, front in ((-1, 0, 20), (1, 1, 21)):
        x = side * 1.256
        mesh.centre = (0, 1.3, 0)
        for k, z in enumerate(np.linspace(-3.9, 1.9, 7)):
            if load != 'box' or k in (0, 6):
                rib = [
                    (x, 0.95, z - 0.05),
                    (x, 0.95, z + 0.05),
                    (x, top, z + 0.05),
                    (x, top, z - 0.05),
                ]
                mesh.add(rib, TRIM, group=rear, solid=True)
        if load == 'box':
            sign = [(x, 1.7, -3.0), (x, 1.7, 1.0), (x, 2.6, 1.0), (x, 2.6, -3.0)]
            mesh.add(sign, BODY, group=rear, solid=True)
        x = side * 1.206
        pane = [(x, 1.6, 2.6), (x, 1.6, 3.85), (x, 2.45, 3.75), (x, 2.45, 2.6)]
        mesh.add(pane, GLASS, group=front, solid=True)
        wheel(mesh, x, 0.5, 3.1, 0.5, front)
        for axle in (-3.1, -1.9):
            wheel(mesh, side * 1.26, 0.5, axle, 0.5, rear)
    z = 4.01
    face(mesh, (-1.08, 1.08), (1.55, 2.5), z, GLASS, 23)
    face(mesh, (-0.8, 0.8), (0.95, 1.4), z, DARK, 23)
    face(mesh, (-1.2, 1.2), (0.45, 0.6), z, TRIM, 23)
    z = -4.01
    if load != 'skip':
        for x in (-0.02, 1.1, -1.2):
            face(mesh, (x, x + 0.08), (1.0, top - 0.1), z, TRIM, 2)
    face(mesh, (-1.2, 1.2), (0.62, 0.78), z, TRIM, 2)
    for side in (-1, 1):
        lamp = tuple(sorted((side * 0.75, side * 1.1)))
        face(mesh, lamp, (0.68, 0.86), 4.02, HEADLIGHT, 23, glow=1.0)
        face(mesh, lamp, (0.72, 0.92), -4.02, TAILLIGHT, 2, glow=0.8)
    face(mesh, (-0.28, 0.28), (0.64, 0.76), z - 0.01, PLATE, 2)
    return mesh.build()


@lru_cache
def tram(end: int = 0) -> Mesh:
    """One section of a tram, 9 m long; `end` 1 has the cab in front, -1 behind, 0 none."""
    mesh = MeshBuilder(TRAIN, centre=(0, 1.6, 0))
    low, high = -4.5 + 0.5 * (end < 0), 4.5 - 0.5 * (end > 0)
    mesh.box((-1.3, 0.2, low), (1.3, 3.35, high), BODY)
    for side, group in ((-1, 0), (1, 1)):
        x = side * 1.305
        mesh.centre = (0, 1.6, 0)
        band = [(x, 1.35, low), (x, 1.35, high), (x, 2.75, high), (x, 2.75, low)]
        mesh.add(band, DARK, group=group, solid=True)
        panes(mesh, x, (low + 0.15, high - 0.15), (1.45, 2.65), 6, group)
        skirt = [(x, 0.2, low), (x, 0.2, high), (x, 0.75, high), (x, 0.75, low)]
        mesh.add(skirt, LOAD, group=group, solid=True)
        for door in (-2.4, 1.4):
            quad = [(x, 0.4, door), (x, 0.4, door + 1.3), (x, 2.8, door + 1.3), (x, 2.8, door)]
            mesh.add(quad, LOAD, group=group, solid=True)
            for k in (0.1, 0.7):
                pane = [(x, 0.9, door + k), (x, 0.9, door + k + 0.5),
                        (x, 2.6, door + k + 0.5), (x, 2.6, door + k)]  # fmt: skip
                mesh.add(pane, GLASS, group=group, solid=True, glow=0.3)
    roof = [
        (-0.9, 3.35, low + 0.8),
        (0.9, 3.35, low + 0.8),
        (0.9, 3.65, low + 0.8),
        (-0.9, 3.65, low + 0.8),
    ]
    mesh.add(roof, TRIM, group=30)
    roof = [
        (-0.9, 3.35, high - 0.8),
        (0.9, 3.35, high - 0.8),
        (0.9, 3.65, high - 0.8),
        (-0.9, 3.65, high - 0.8),
    ]
    mesh.add(roof, TRIM, group=31)
    if end == 0:
        arm = [((0, 3.6), (0.9, 4.4)), ((0.9, 4.4), (-0.1, 5.2)), ((-0.8, 5.2), (0.8, 5.2))]
        for start, stop in arm:
            mesh.add(on_plane(limb(start, stop, 0.1), (0, 0, 0), (0, 0, 1)), TRIM, group=32)
        mesh.add(limb((-0.8, 5.2), (0.8, 5.2), 0.1), TRIM, group=32)
    if end:
        _tram_cab(mesh, end)
    return mesh.build()


def _tram_cab(mesh: MeshBuilder, end: int) -> None:
    """A cab whose windscreen leans back, in front of the section's flat end."""
    z0, z1, z2 = 4.0 * end, 4.75 * end, 4.25 * end
    mesh.centre = (0, 1.6, 0)
    x = 1.3

    def strip(y: tuple, z: tuple, half: float, slot: int, **kwargs) -> None:
        quad = [(-half, y[0], z[0]), (half, y[0], z[0]), (half, y[1], z[1]), (-half, y[1], z[1])]
        mesh.add(quad, slot, group=40, solid=True, **kwargs)

    for side in (-1, 1):
        cheek = [(side * x, 0.2, z0), (side * x, 0.3, z1), (side * x, 1.3, z1),
                 (side * x, 3.0, z2), (side * x, 3.35, z0)]  # fmt: skip
        mesh.add(cheek, BODY, group=38 + side, solid=True)
    strip((3.0, 3.35), (z2, z0), x, BODY)
    strip((0.3, 1.3), (z1, z1), x, BODY)
    strip((1.3, 3.0), (z1, z2), x, DARK)
    strip((1.4, 2.6), (z1 - 0.01 * end, z2 + 0.1 * end), 1.1, GLASS)
    strip((2.68, 2.92), (z2 + 0.1 * end, z2 + 0.04 * end), 0.7, HEADLIGHT, glow=0.6)
    strip((0.3, 0.6), (z1, z1), x, LOAD)
    slot = HEADLIGHT if end > 0 else TAILLIGHT
    for side in (-1, 1):
        lamp = tuple(sorted((side * 0.75, side * 1.1)))
        face(mesh, lamp, (0.8, 1.02), z1 + 0.01 * end, slot, 40, glow=1.0)
