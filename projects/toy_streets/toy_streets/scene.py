"""What stands where in a street, without any appearance."""

from dataclasses import dataclass, replace

import numpy as np

LENGTH = 170.0  # metres of street ahead of the camera


@dataclass(frozen=True)
class Item:
    """One thing in the street.

    Attributes:
        kind: What it is; names the function that draws it.
        s: Distance along the street in metres (of a building or fence: its near end).
        d: Distance to the right of the street's axis in metres.
        turn: Heading relative to the street in radians; 0 drives away from the camera.
        extent: Size in metres; its meaning depends on the kind.
        variant: A number that picks among shapes.
        tint: Numbers in [0, 1) that pick colours.
        seed: Seed of the details that only drawing needs.
    """

    kind: str
    s: float
    d: float
    turn: float = 0.0
    extent: tuple[float, ...] = (1.0,)
    variant: int = 0
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seed: int = 0


@dataclass(frozen=True)
class Scene:
    """The geometry of a street; traffic keeps to the right. Lengths in metres.

    Attributes:
        curvature: Of the street's axis, 1 / metres, positive turns right.
        lane_width: Width of a lane.
        lanes: Number of lanes (left, right).
        median: Width of the strip between the directions; 0 for none.
        tracks: Whether tram tracks lie on the median; else it is grass.
        parking: Width of the parking lane (left, right); 0 for none.
        pavement: Width of the pavement (left, right), its verge included.
        verge: Width of a strip of grass along the kerb (left, right); 0 for none.
        edges: Slabs of the street: distances (K + 1,) at which one ends and the next begins.
        junctions: Which slabs are crossings of another street.
        items: Everything that stands in it, in the order of drawing: back to front.
        camera_d: Where the camera drives.
        seed: Seed of the details that only drawing needs.
    """

    curvature: float
    lane_width: float
    lanes: tuple[int, int]
    median: float
    tracks: bool
    parking: tuple[float, float]
    pavement: tuple[float, float]
    verge: tuple[float, float]
    edges: tuple[float, ...]
    junctions: tuple[int, ...]
    items: tuple[Item, ...]
    camera_d: float
    seed: int

    def kerb(self, side: int) -> float:
        """Distance of the kerb from the axis on side -1 (left) or 1 (right)."""
        k = int(side > 0)
        return self.median / 2 + self.lanes[k] * self.lane_width + self.parking[k]

    def front(self, side: int) -> float:
        """Distance of the building line from the axis on side -1 (left) or 1 (right)."""
        return self.kerb(side) + self.pavement[int(side > 0)]

    def at(self, s: np.ndarray | float, d: np.ndarray | float) -> tuple:
        """Turns street coordinates into world x, z and the street's heading there."""
        heading = s * self.curvature
        half = heading / 2
        chord = s * (1 - half**2 / 6 + half**4 / 120)  # sin(half) / half, for mild curves
        x = chord * np.sin(half) + d * np.cos(heading)
        z = chord * np.cos(half) - d * np.sin(heading)
        return x, z, heading

    def mirrored(self) -> 'Scene':
        """Returns the scene with left and right exchanged."""
        items = tuple(replace(item, d=-item.d, turn=-item.turn) for item in self.items)
        return replace(
            self,
            curvature=-self.curvature,
            lanes=self.lanes[::-1],
            parking=self.parking[::-1],
            pavement=self.pavement[::-1],
            verge=self.verge[::-1],
            items=items,
            camera_d=-self.camera_d,
        )


def in_drawing_order(items: list[Item], scene: Scene) -> tuple[Item, ...]:
    """Sorts items back to front as seen from the camera.

    Slab after slab; within one, from the houses to the camera's lane, since a line of sight that
    leaves the street meets what is closer to the lane first. On a crossing, by distance alone.
    """

    def key(item: Item) -> tuple[float, float, float]:
        slab = int(np.searchsorted(scene.edges, item.s + 1e-6, 'right'))
        aside = 0.0 if slab - 1 in scene.junctions else abs(item.d - scene.camera_d)
        return -slab, -aside, -item.s

    return tuple(sorted(items, key=key))
