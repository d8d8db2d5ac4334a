"""What each pixel of an image shows."""

import numpy as np

from . import weather
from .camera import Camera
from .canvas import SKY_DEPTH, Parts, front_part
from .street import ROAD, SIDEWALK, TERRAIN


class View:
    """What each pixel of the final image shows.

    Args:
        ids: Supersampled part numbers.
        parts: What is known of each part.
        camera: The camera.
        scale: The supersampling.
    """

    def __init__(self, ids: np.ndarray, parts: Parts, camera: Camera, scale: int) -> None:
        self.camera = camera
        self.part = front_part(ids[scale // 2 :: scale, scale // 2 :: scale])
        self.labels = parts.label[self.part]
        self.instances = parts.instance[self.part]
        self._right, self._up = camera.rays()
        right, up = self._right, self._up
        inverse = parts.inverse_depth.T[:, self.part]
        depth = 1 / np.maximum(inverse[0] * right + inverse[1] * up + inverse[2], 1 / SKY_DEPTH)
        self.depth = np.where(self.part == 0, SKY_DEPTH, np.maximum(depth, 0.1)).astype(np.float32)
        rotation = camera.rotation.astype(np.float32)
        self._ray = [
            rotation[0, k] * right + rotation[1, k] * up + rotation[2, k] for k in range(3)
        ]
        self.world = np.stack(
            [self._ray[k] * self.depth + np.float32(camera.position[k]) for k in (0, 2)]
        )
        flat = np.abs(parts.normal[:, 1]) > 0.95
        flat &= np.isin(parts.label, (ROAD, SIDEWALK, TERRAIN))
        self.ground = flat[self.part]
        texture = parts.texture.reshape(-1, 6).T
        offset = parts.offset.T
        self.surface = [
            self.depth * (texture[k][self.part] * right + texture[k + 1][self.part] * up
                          + texture[k + 2][self.part]) - offset[k // 3][self.part]
            for k in (0, 3)
        ]  # fmt: skip
        # On the ground, the grain runs on across the edges of polygons.
        for k in (0, 1):
            np.copyto(self.surface[k], self.world[k], where=self.ground)

    def directions(self) -> tuple[np.ndarray, np.ndarray]:
        """Horizontal and vertical direction of each pixel's ray in the world (H, W)."""
        return self._ray[0] / np.maximum(self._ray[2], 0.1), self._ray[1] / np.maximum(
            self._ray[2], 0.1
        )

    def noise(self, cell: np.ndarray | float) -> np.ndarray:
        """Noise (H, W) of a grain of `cell` metres (or one each) in the planes of the polygons.

        It fades where the grain is finer than a pixel.
        """
        s, t = self.surface
        fade = np.clip(self.camera.focal * cell * 2.5 / self.depth, 0, 1)
        return weather.noise_at(s / cell, t / cell) * fade
