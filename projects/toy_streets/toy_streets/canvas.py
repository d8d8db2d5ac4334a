"""Draws meshes into one buffer of part numbers, from which every output is looked up.

A part is one polygon. Colour, label, depth and texture coordinates of a pixel all follow from
the number of the part that it shows, so that each polygon is filled exactly once.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .camera import FAR_PIXEL, NEAR, Camera, clip
from .mesh import Mesh

SKY = 10
SKY_DEPTH = 1000.0  # metres
_SHIFT = 4  # fixed-point bits of OpenCV's coordinates
_VEIL = 16  # a veil's part number is stored in the bits above those of the part behind it


@dataclass
class Parts:
    """What is known of each part; row 0 is the sky. P parts, colours are linear in 0 to 255.

    Attributes:
        colour: (P, 3) float32.
        label: (P,) uint8 train ids.
        instance: (P,) int32: number of the placed mesh, from 1; 0 for the sky.
        glow: (P,) float32.
        veil: (P,) float32.
        normal: (P, 3) float32, world axes, towards the camera.
        inverse_depth: (P, 3) float32: 1 / depth = inverse_depth @ (right, up, 1) of a ray.
        texture: (P, 2, 3) float32: texture coordinate = depth * texture @ (right, up, 1) - offset.
        offset: (P, 2) float32 metres.
    """

    colour: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    glow: np.ndarray
    veil: np.ndarray
    normal: np.ndarray
    inverse_depth: np.ndarray
    texture: np.ndarray
    offset: np.ndarray


def front_part(ids: np.ndarray) -> np.ndarray:
    """The parts that are seen first: veils, and what no veil covers."""
    return np.where(ids >> _VEIL, ids >> _VEIL, ids)


def part_behind(ids: np.ndarray) -> np.ndarray:
    """The parts that are seen when veils are taken away."""
    return ids & ((1 << _VEIL) - 1)


class Canvas:
    """Collects placed meshes and draws them in the order of placing.

    Args:
        camera: The camera that looks at the scene, for the final image size.
        scale: Supersampling of the part buffer in both directions.
    """

    def __init__(self, camera: Camera, scale: int = 2) -> None:
        self.camera = camera
        self.scale = scale
        self._points: list[np.ndarray] = []
        self._meshes: list[Mesh] = []
        self._colours: list[np.ndarray] = []

    def place(
        self,
        mesh: Mesh,
        colours: np.ndarray,
        origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
        heading: float = 0.0,
        size: float | tuple[float, float, float] = 1.0,
    ) -> None:
        """Places a mesh.

        Args:
            mesh: The polygons.
            colours: Palette (K, 3), RGB 0 to 255.
            origin: Where the mesh's origin comes to lie, metres.
            heading: Rotation about the vertical in radians; positive turns z towards x.
            size: Scale, of all axes or of each.
        """
        c, s = np.cos(heading), np.sin(heading)
        turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        self._points.append((mesh.points * size) @ turn + np.asarray(origin))
        self._meshes.append(mesh)
        self._colours.append(np.asarray(colours, np.float32)[mesh.slots])

    def draw(self) -> tuple[np.ndarray, Parts]:
        """Draws everything.

        Returns:
            The part numbers (H * scale, W * scale) int32, see `front_part`, and the parts.
        """
        points = np.concatenate(self._points)
        sizes, labels, groups, solid, glow, veil = (
            np.concatenate([getattr(mesh, name) for mesh in self._meshes])
            for name in ('sizes', 'labels', 'groups', 'solid', 'glow', 'veil')
        )
        colours = np.concatenate(self._colours)
        counts = np.array([len(mesh.sizes) for mesh in self._meshes])
        item = np.repeat(np.arange(len(counts)), counts)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])

        view = self.camera.to_view(points)
        normal, plane = _planes(view, starts, sizes)
        facing = (normal * view[starts]).sum(1)
        normal[facing > 0] *= -1
        nearest = np.minimum.reduceat(view[:, 2], starts)
        farthest = np.maximum.reduceat(view[:, 2], starts)
        visible = (farthest > NEAR) & ~(solid & (facing >= 0))

        scale = self.scale
        pixels = np.zeros((len(view), 2))
        ahead = view[:, 2] >= NEAR
        pixels[ahead] = self.camera.to_pixels(view[ahead]) * scale + (scale - 1) / 2
        whole = nearest >= NEAR
        low = np.minimum.reduceat(pixels, starts)
        high = np.maximum.reduceat(pixels, starts)
        whole &= (low > -FAR_PIXEL).all(1) & (high < FAR_PIXEL).all(1)
        limits = (self.camera.width * scale, self.camera.height * scale)
        seen = ((high > 0) & (low < limits)).all(1) & ((high - low).max(1) > 0.7)
        visible &= ~whole | seen

        order = self._order(view, starts, sizes, item, groups)
        ids = np.zeros((limits[1], limits[0]), np.int32)
        fixed = np.round(np.clip(pixels, -FAR_PIXEL, FAR_PIXEL) * (1 << _SHIFT)).astype(np.int32)
        for k in order[visible[order]].tolist():
            start, size = starts[k], sizes[k]
            if whole[k]:
                polygon = fixed[start : start + size]
            else:
                polygon = self._clipped(view[start : start + size])
                if not len(polygon):
                    continue
            if veil[k] > 0:
                _fill_veil(ids, polygon, k + 1)
            elif size <= 4:
                cv2.fillConvexPoly(ids, polygon, k + 1, cv2.LINE_8, _SHIFT)
            else:
                cv2.fillPoly(ids, [polygon], k + 1, cv2.LINE_8, _SHIFT)
        return ids, self._parts(colours, labels, item, glow, veil, normal, plane, view, starts)

    def _clipped(self, view: np.ndarray) -> np.ndarray:
        """Clips a polygon (N, 3) in camera axes and returns fixed-point pixels (M, 2)."""
        pixels = self.camera.to_pixels(clip(view)) * self.scale + (self.scale - 1) / 2
        return np.round(pixels * (1 << _SHIFT)).astype(np.int32)

    @staticmethod
    def _order(
        view: np.ndarray,
        starts: np.ndarray,
        sizes: np.ndarray,
        item: np.ndarray,
        groups: np.ndarray,
    ) -> np.ndarray:
        """Orders polygons: by item, in it groups far to near, in those as they were added."""
        distance = np.sqrt((view**2).sum(1))
        distance = np.add.reduceat(distance, starts) / sizes
        key = item * 64 + groups
        total = np.bincount(key, distance)
        number = np.bincount(key)
        mean = total[key] / number[key]
        return np.lexsort((np.arange(len(key)), groups, -mean, item))

    def _parts(
        self,
        colours: np.ndarray,
        labels: np.ndarray,
        item: np.ndarray,
        glow: np.ndarray,
        veil: np.ndarray,
        normal: np.ndarray,
        plane: tuple[np.ndarray, np.ndarray],
        view: np.ndarray,
        starts: np.ndarray,
    ) -> Parts:
        """Builds the table of parts, with the sky in row 0."""
        along, up = plane
        first = view[starts]
        constant = (normal * first).sum(1, keepdims=True)
        constant = np.where(np.abs(constant) < 1e-6, -1e-6, constant)
        sky = np.array([[0, 0, 1 / SKY_DEPTH]])
        texture = np.stack([along, up], 1)
        offset = (texture * first[:, None]).sum(-1)

        def rows(top: np.ndarray, rest: np.ndarray, kind: type = np.float32) -> np.ndarray:
            return np.concatenate([np.asarray(top)[None], rest]).astype(kind)

        return Parts(
            colour=rows(np.zeros(3), colours),
            label=rows(np.array(SKY), labels, np.uint8),
            instance=rows(np.array(0), item + 1, np.int32),
            glow=rows(np.array(0.0), glow),
            veil=rows(np.array(0.0), veil),
            normal=rows(np.zeros(3), normal @ self.camera.rotation),
            inverse_depth=np.concatenate([sky, normal / constant]).astype(np.float32),
            texture=rows(np.zeros((2, 3)), texture),
            offset=rows(np.zeros(2), offset),
        )


def _planes(
    view: np.ndarray, starts: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Returns each polygon's unit normal (P, 3) and two unit tangents, in camera axes."""
    first = view[starts]
    along = view[starts + 1] - first
    normal = np.cross(along, view[starts + np.maximum(sizes * 2 // 3, 2)] - first)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    return normal, (along, np.cross(normal, along))


def _fill_veil(ids: np.ndarray, polygon: np.ndarray, part: int) -> None:
    """Lays a see-through part over what is there, keeping the number of the part behind."""
    low = np.maximum(polygon.min(0) >> _SHIFT, 0)
    high = np.minimum((polygon.max(0) >> _SHIFT) + 2, ids.shape[::-1])
    if (high <= low).any():
        return
    region = ids[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(region.shape, np.uint8)
    cv2.fillPoly(mask, [polygon - (low << _SHIFT).astype(np.int32)], 1, cv2.LINE_8, _SHIFT)
    np.copyto(region, part_behind(region) | (part << _VEIL), where=mask > 0)
