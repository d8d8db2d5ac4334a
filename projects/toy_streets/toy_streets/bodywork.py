"""Parts that cars, lorries, buses and trams share."""

from itertools import pairwise

import numpy as np

from .mesh import MeshBuilder, disc, on_plane

# Slots of a vehicle's palette.
BODY, GLASS, TYRE, RIM, TRIM, HEADLIGHT, TAILLIGHT, PLATE, LOAD, DARK = range(10)


def wheel(mesh: MeshBuilder, x: float, y: float, z: float, radius: float, group: int) -> None:
    """Tyre and rim in a side plane."""
    along = (0, 0, 1)
    mesh.add(
        on_plane(disc(0, 0, radius * 1.15, 14), (x, y, z), along), DARK, group=group, solid=True
    )
    mesh.add(on_plane(disc(0, 0, radius, 14), (x, y, z), along), TYRE, group=group, solid=True)
    mesh.add(on_plane(disc(0, 0, radius * 0.6, 10), (x, y, z), along), RIM, group=group, solid=True)


def panes(
    mesh: MeshBuilder,
    x: float,
    ends: tuple[float, float],
    y: tuple[float, float],
    count: int,
    group: int,
) -> None:
    """A row of window panes on a side plane."""
    edges = np.linspace(*ends, count + 1)
    for a, b in pairwise(edges):
        gap = 0.06 * np.sign(b - a)
        quad = [(x, y[0], a + gap), (x, y[0], b - gap), (x, y[1], b - gap), (x, y[1], a + gap)]
        mesh.add(quad, GLASS, group=group, solid=True, glow=0.3)


def face(mesh: MeshBuilder, x: tuple, y: tuple, z: float, slot: int, group: int, **kwargs) -> None:
    """A rectangle that looks ahead or back."""
    quad = [(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)]
    mesh.add(quad, slot, group=group, solid=True, **kwargs)
