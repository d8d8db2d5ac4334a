"""Coloured polygons in local coordinates, and the helpers that build them."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """P planar polygons over M vertices.

    Attributes:
        points: Vertices (M, 3) in metres, polygon after polygon.
        sizes: Vertices of each polygon (P,).
        slots: Which colour of the instance's palette each polygon takes (P,).
        labels: Train ids (P,).
        groups: Polygons of one group keep their order; groups are drawn back to front (P,).
        solid: Whether a polygon is seen from its outer side only (P,).
        glow: Light that the polygon gives off by itself, 0 to 1 (P,).
        veil: 0 for opaque; else the share of colour over what lies behind (P,).
    """

    points: np.ndarray
    sizes: np.ndarray
    slots: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    solid: np.ndarray
    glow: np.ndarray
    veil: np.ndarray


@dataclass
class MeshBuilder:
    """Collects polygons and makes a `Mesh` of them.

    Args:
        label: Train id of the polygons that do not name their own.
        centre: Solid polygons face away from this point.
    """

    label: int
    centre: tuple[float, float, float] = (0.0, 0.7, 0.0)
    _points: list = field(default_factory=list)
    _rows: list = field(default_factory=list)

    def add(self, points: np.ndarray, slot: int, **kwargs) -> None:
        """Adds one polygon of (N, 3) points, or (N, 2) in the plane z = 0; see `add_many`."""
        self.add_many(np.asarray(points, np.float64)[None], slot, **kwargs)

    def add_many(
        self,
        polygons: np.ndarray,
        slot: int | np.ndarray,
        *,
        label: int | None = None,
        group: int = 0,
        solid: bool = False,
        glow: float | np.ndarray = 0.0,
        veil: float = 0.0,
    ) -> None:
        """Adds polygons of equal size.

        Args:
            polygons: Vertices (K, N, 3), or (K, N, 2) in the plane z = 0.
            slot: Palette entry of all or of each.
            label: Train id, the builder's own by default.
            group: Polygons of one group are drawn in the order of adding.
            solid: Drawn only if seen from the side that faces away from the builder's centre.
            glow: Light given off, of all or of each.
            veil: Opacity of see-through polygons.
        """
        if polygons.shape[2] == 2:
            polygons = np.concatenate([polygons, np.zeros((*polygons.shape[:2], 1))], 2)
        if solid:
            first, second, third = polygons[:, 0], polygons[:, 1], polygons[:, 2]
            normal = np.cross(second - first, third - second)
            inward = (normal * (polygons.mean(1) - self.centre)).sum(1) < 0
            polygons = np.where(inward[:, None, None], polygons[:, ::-1], polygons)
        count, size = polygons.shape[:2]
        self._points.append(polygons.reshape(-1, 3))
        row = np.empty((count, 7))
        label = self.label if label is None else label
        for k, value in enumerate((size, slot, label, group, solid, glow, veil)):
            row[:, k] = value
        self._rows.append(row)

    def box(
        self,
        low: tuple[float, float, float],
        high: tuple[float, float, float],
        slot: int,
        *,
        group: int = 0,
        **kwargs,
    ) -> None:
        """Adds the faces of an upright box (no floor), solid, groups from `group` on."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        outer, self.centre = self.centre, tuple((np.array(low) + high) / 2)
        faces = (
            [(x0, y0, z0), (x0, y0, z1), (x0, y1, z1), (x0, y1, z0)],
            [(x1, y0, z0), (x1, y0, z1), (x1, y1, z1), (x1, y1, z0)],
            [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)],
            [(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)],
            [(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)],
        )
        for k, face in enumerate(faces):
            self.add(face, slot, group=group + k, solid=True, **kwargs)
        self.centre = outer

    def build(self) -> Mesh:
        """Returns the mesh."""
        rows = np.concatenate(self._rows)
        sizes, slots, labels, groups = rows[:, :4].T.astype(np.int64)
        solid, glow, veil = rows[:, 4:].T
        points = np.concatenate(self._points)
        return Mesh(points, sizes, slots, labels, groups, solid > 0, glow, veil)


def disc(x: float, y: float, radius: float, points: int = 12, squeeze: float = 1.0) -> np.ndarray:
    """Returns a circle (or an ellipse, `squeeze` times as wide) as a polygon (points, 2)."""
    angle = np.arange(points) * 2 * np.pi / points
    return np.stack([x + radius * squeeze * np.cos(angle), y + radius * np.sin(angle)], 1)


def limb(start: tuple, end: tuple, width0: float, width1: float | None = None) -> np.ndarray:
    """Returns a rounded bar from `start` to `end` (both 2-D) as a convex polygon (8, 2)."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    width1 = width0 if width1 is None else width1
    along = (end - start) / max(np.linalg.norm(end - start), 1e-6)
    across = np.array([-along[1], along[0]])
    shape = ((-0.35, 0.25), (-0.1, 0.45), (0.1, 0.5))
    left0 = [start + along * a * width0 + across * b * width0 for a, b in shape]
    right0 = [start + along * a * width0 - across * b * width0 for a, b in shape]
    left1 = [end - along * a * width1 + across * b * width1 for a, b in shape]
    right1 = [end - along * a * width1 - across * b * width1 for a, b in shape]
    return np.array(left0 + left1[::-1] + right1 + right0[::-1])


def on_plane(points: np.ndarray, origin: tuple, along: tuple, up: tuple = (0, 1, 0)) -> np.ndarray:
    """Places 2-D points (..., 2) on the plane through `origin` spanned by `along` and `up`."""
    points = np.asarray(points, float)
    return np.asarray(origin) + points[..., :1] * along + points[..., 1:] * np.asarray(up)


def grid(columns: np.ndarray, rows: np.ndarray, width: float, height: float) -> np.ndarray:
    """Returns rectangles (C * R, 4, 2) with lower left corners at `columns` x `rows`."""
    corner = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 1, 2)
    return corner + np.array([[0, 0], [width, 0], [width, height], [0, height]])
