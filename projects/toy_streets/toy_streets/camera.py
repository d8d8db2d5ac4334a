"""A pinhole camera in a world measured in metres: x to the right, y up, z ahead."""

from dataclasses import dataclass, field

import numpy as np

NEAR = 0.3  # metres; nothing closer is drawn
FAR_PIXEL = 20000.0  # beyond it, polygons are clipped: OpenCV's coordinates are 32-bit
# (normal, limit): in camera axes, points with normal @ point >= limit are kept.
_CLIP_PLANES = [
    (np.array(normal), limit)
    for normal, limit in (
        ((0, 0, 1.0), NEAR),
        ((1.0, 0, 6), 0.0),
        ((-1.0, 0, 6), 0.0),
        ((0, 1.0, 6), 0.0),
        ((0, -1.0, 6), 0.0),
    )
]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Args:
        width: Image width in pixels.
        height: Image height in pixels.
        focal: Focal length in pixels.
        position: Where it stands, (x, y, z) in metres.
        pitch: Rotation in radians, positive looks up.
        yaw: Rotation in radians, positive looks right.
        roll: Rotation in radians, positive turns clockwise.
    """

    width: int
    height: int
    focal: float
    position: tuple[float, float, float]
    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0
    rotation: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cp, sp = np.cos(self.pitch), np.sin(self.pitch)
        cy, sy = np.cos(self.yaw), np.sin(self.yaw)
        cr, sr = np.cos(self.roll), np.sin(self.roll)
        yaw = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        object.__setattr__(self, 'rotation', roll @ pitch @ yaw)

    def to_view(self, points: np.ndarray) -> np.ndarray:
        """Turns world points (N, 3) into camera axes (N, 3): right, up, depth."""
        return (points - np.asarray(self.position)) @ self.rotation.T

    def to_pixels(self, view: np.ndarray) -> np.ndarray:
        """Projects points in camera axes (N, 3), depth > 0, to pixels (N, 2)."""
        scale = self.focal / view[:, 2:]
        centre = (self.width / 2 - 0.5, self.height / 2 - 0.5)
        return view[:, :2] * scale * (1, -1) + centre

    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns pixel rays with depth 1: right (1, W) and up (H, 1), float32."""
        right = (np.arange(self.width, dtype=np.float32) - (self.width / 2 - 0.5)) / self.focal
        up = ((self.height / 2 - 0.5) - np.arange(self.height, dtype=np.float32)) / self.focal
        return right[None], up[:, None]


def clip(view: np.ndarray) -> np.ndarray:
    """Cuts a polygon in camera axes (N, 3) to what is before the camera and not far aside.

    Returns:
        The polygon that is left (M, 3); M may be 0.
    """
    for plane, limit in _CLIP_PLANES:
        distance = view @ plane - limit
        kept = []
        for i, point in enumerate(view):
            if (distance[i] >= 0) != (distance[i - 1] >= 0):
                t = distance[i - 1] / (distance[i - 1] - distance[i])
                kept.append(view[i - 1] + t * (point - view[i - 1]))
            if distance[i] >= 0:
                kept.append(point)
        view = np.array(kept).reshape(-1, 3)
    return view
