"""Cameras that look at the normalised object.

World: Blender's axes (Z up, -Y front), object inside the unit ball. Azimuth 0 looks at the front from
-Y and grows towards +X (the viewer's right); elevation is positive above the horizon. Camera space is
right-handed: x right, y up, looking along -z. Pixels: x to the right, y down, row 0 at the top,
pixel (row, column) has its centre at (column + 0.5, row + 0.5). Angles in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

# Degrees from one point of a golden spiral to the next.
_GOLDEN_ANGLE = 180 * (3 - 5**0.5)


@dataclass(frozen=True)
class View:
    """One perspective camera.

    azimuth, elevation: degrees. distance: from ``target``, in unit-ball units. fov: full vertical and
    horizontal angle in degrees (images are square). target: the point in the middle of the image.
    """

    azimuth: float
    elevation: float
    distance: float
    fov: float
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def direction(self) -> np.ndarray:
        """Unit vector (3,) float64 from the target to the camera."""
        return direction(self.azimuth, self.elevation)

    @property
    def position(self) -> np.ndarray:
        """Camera position (3,) float64 in unit-ball space."""
        return np.asarray(self.target) + self.distance * self.direction

    def world_to_camera(self) -> np.ndarray:
        """(4, 4) float64 rigid matrix from unit-ball space to camera space."""
        backward = self.direction
        azimuth = np.radians(self.azimuth)
        right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        rotation = np.stack([right, np.cross(backward, right), backward])
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = -rotation @ self.position
        return matrix

    def project(self, points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Project (N, 3) unit-ball ``points`` into a ``size`` x ``size`` image.

        Returns pixel coordinates (N, 2) float64 and the distance along the view axis (N,) float64;
        points behind the camera have a distance <= 0 and meaningless pixel coordinates.
        """
        matrix = self.world_to_camera()
        camera = points.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
        depth = -camera[:, 2]
        focal = 1 / np.tan(np.radians(self.fov) / 2)
        safe = np.where(depth > 0, depth, 1.0)
        x = (0.5 + 0.5 * focal * camera[:, 0] / safe) * size
        y = (0.5 - 0.5 * focal * camera[:, 1] / safe) * size
        return np.stack([x, y], axis=1), depth


def framing_distance(fov: float, fill: float) -> float:
    """Distance at which the unit ball spans the share ``fill`` of the image's width for ``fov`` degrees."""
    return float(1 / np.sin(np.arctan(fill * np.tan(np.radians(fov) / 2))))


def direction(azimuth: ArrayLike, elevation: ArrayLike) -> np.ndarray:
    """Unit vectors (..., 3) float64 from the target to cameras at ``azimuth`` and ``elevation`` (...) in degrees."""
    a, e = np.radians(azimuth), np.radians(elevation)
    return np.stack([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)], axis=-1)


def even_directions(count: int) -> np.ndarray:
    """(count, 2) azimuths and elevations in degrees, even over the sphere along a golden spiral, the highest first."""
    number = np.arange(count)
    heights = 1 - (2 * number + 1) / count
    return np.stack([number * _GOLDEN_ANGLE, np.degrees(np.arcsin(heights))], axis=-1)
