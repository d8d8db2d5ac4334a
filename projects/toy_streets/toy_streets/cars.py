"""Cars, as solid meshes: x right, y up, z towards their front."""

from functools import lru_cache

import numpy as np

from .bodywork import BODY, DARK, GLASS, HEADLIGHT, PLATE, TAILLIGHT, TRIM, wheel
from .mesh import Mesh, MeshBuilder

CAR = 13
# Side outlines (z, y, half width), from the front bumper over the roof to the rear one, and what
# each strip between two of their points is: dark trim, body or glass.
_CARS = {
    'hatchback': dict(
        outline=[
            (2.05, 0.3, 0.80), (2.1, 0.62, 0.82), (1.25, 0.92, 0.82), (0.4, 1.42, 0.62),
            (-1.3, 1.46, 0.62), (-1.9, 0.95, 0.80), (-1.98, 0.55, 0.82), (-1.95, 0.3, 0.80),
        ],
        strips='dbgbgbd',
    ),
    'saloon': dict(
        outline=[
            (2.2, 0.28, 0.82), (2.25, 0.6, 0.84), (1.2, 0.9, 0.84), (0.3, 1.38, 0.62),
            (-0.9, 1.4, 0.62), (-1.6, 0.98, 0.82), (-2.2, 0.92, 0.84), (-2.28, 0.5, 0.84),
            (-2.2, 0.28, 0.82),
        ],
        strips='dbgbgbbd',
    ),
    'suv': dict(
        outline=[
            (2.15, 0.38, 0.88), (2.2, 0.8, 0.9), (1.3, 1.08, 0.9), (0.65, 1.68, 0.72),
            (-1.8, 1.72, 0.72), (-2.15, 1.1, 0.88), (-2.2, 0.6, 0.9), (-2.15, 0.38, 0.88),
        ],
        strips='dbgbgbd',
    ),
    'van': dict(
        outline=[
            (2.35, 0.38, 0.9), (2.4, 0.85, 0.92), (1.85, 1.2, 0.92), (1.15, 1.95, 0.8),
            (-2.3, 2.0, 0.8), (-2.45, 1.15, 0.9), (-2.45, 0.55, 0.92), (-2.4, 0.38, 0.9),
        ],
        strips='dbgbgbd',
    ),
}  # fmt: skip
CAR_KINDS = tuple(_CARS)


@lru_cache
def car(kind: str) -> Mesh:
    """A car of one of `CAR_KINDS`."""
    spec = _CARS[kind]
    outline = np.array(spec['outline'])
    mesh = MeshBuilder(CAR, centre=(0, 0.75, -0.1))
    z, y, half = outline.T
    for k, strip in enumerate(spec['strips']):
        quad = [
            (-half[k], y[k], z[k]), (half[k], y[k], z[k]),
            (half[k + 1], y[k + 1], z[k + 1]), (-half[k + 1], y[k + 1], z[k + 1]),
        ]  # fmt: skip
        mesh.add(quad, TRIM if strip == 'd' else BODY, group=k, solid=True)
        if strip == 'g':  # a rim of body colour is left around the glass
            mesh.add(_shrink(np.array(quad), 0.88, 0.84), GLASS, group=k, solid=True)
    belt = float(y[2])
    roof = [k for k in range(len(y)) if y[k] > belt + 0.3]
    for side in (-1, 1):
        group = 40 + side
        across = [half[1] if k in roof else h for k, h in enumerate(half)]
        lower = np.stack([side * np.array(across), np.minimum(y, belt), z], 1)
        mesh.add(lower, BODY, group=group, solid=True)
        posts = [roof[0] - 1, *roof, roof[-1] + 1]
        cabin = [(side * half[k], y[k], z[k]) for k in posts]
        mesh.add(cabin, BODY, group=group, solid=True)
        _side_windows(mesh, np.array(cabin), group)
        sill = [
            (side * half[1], h, d) for h, d in ((0.3, 1.5), (0.42, 1.5), (0.42, -1.5), (0.3, -1.5))
        ]
        mesh.add(sill, TRIM, group=group, solid=True)
        for axle in (1.35, -1.3):
            wheel(mesh, side * (half[1] + 0.01), 0.33, axle, 0.33, group)
    _lights(mesh, z[1], 1, half[1], y[1] - 0.08)
    _lights(mesh, z[-2], -1, half[-2], max(y[-2], 0.66))
    return mesh.build()


def _shrink(quad: np.ndarray, across: float, along: float) -> np.ndarray:
    """Shrinks a strip (4, 3) about its centre, in width (x) and along the outline."""
    centre = quad.mean(0)
    return centre + (quad - centre) * (across, along, along)


def _side_windows(mesh: MeshBuilder, cabin: np.ndarray, group: int) -> None:
    """Two panes on the side of the cabin, parted by a pillar."""
    inner = cabin.mean(0) + (cabin - cabin.mean(0)) * (1, 0.74, 0.86)
    inner[:, 0] = np.interp(inner[:, 1], *_slope(cabin))
    middle = 0.5 * (inner[0, 2] + inner[-1, 2]) + 0.1
    for sign in (1, -1):
        pane = inner.copy()
        if sign > 0:
            pane[:, 2] = np.maximum(pane[:, 2], middle + 0.05)
        else:
            pane[:, 2] = np.minimum(pane[:, 2], middle - 0.05)
        mesh.add(pane, GLASS, group=group, solid=True)


def _slope(cabin: np.ndarray) -> tuple[list[float], list[float]]:
    """Heights and x of the inward-leaning side of a cabin, for interpolation."""
    top = cabin[cabin[:, 1].argmax()]
    return [float(cabin[0, 1]), float(top[1])], [float(cabin[0, 0]), float(top[0])]


def _lights(mesh: MeshBuilder, z: float, end: int, half: float, y: float) -> None:
    """Lamps and number plate at the front (end = 1) or at the rear (end = -1)."""
    z += 0.012 * end
    slot, glow = (HEADLIGHT, 1.0) if end > 0 else (TAILLIGHT, 0.8)
    group = 50 + end
    for side in (-1, 1):
        x0, x1 = side * half * 0.55, side * half * 0.97
        lamp = [(x0, y - 0.07, z), (x1, y - 0.09, z), (x1, y + 0.1, z), (x0, y + 0.07, z)]
        mesh.add(lamp, slot, group=group, solid=True, glow=glow)
    plate = [(-0.26, y - 0.2, z), (0.26, y - 0.2, z), (0.26, y - 0.08, z), (-0.26, y - 0.08, z)]
    mesh.add(plate, PLATE, group=group, solid=True)
    if end > 0:
        grille = [
            (-0.4, y - 0.05, z),
            (0.4, y - 0.05, z),
            (0.38, y + 0.05, z),
            (-0.38, y + 0.05, z),
        ]
        mesh.add(grille, DARK, group=group, solid=True)
