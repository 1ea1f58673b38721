"""The triangles of one job.

Object space, Blender's axes (Z up, -Y front), units as in the file. A *corner* is one of the three
ends of a triangle: normals and UVs live on corners, so hard edges and UV seams need no split vertices.
UV origin is bottom left. ``Normalization`` maps object space into the unit ball and back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import load_arrays

# Bytes of a mesh file: room for about ten million triangles.
_LARGEST = 2**31
# Types of the arrays in it, and of one that only some meshes have.
_KINDS = {"positions": np.float32, "triangles": np.int32, "corner_normals": np.float32, "corner_uvs": np.float32}
_IMAGE = "image"
# As many materials as an object of Blender's may have.
_MOST_IMAGES = 2**15


@dataclass(frozen=True)
class MeshData:
    """Evaluated triangles of one object.

    positions: (V, 3) float32, object space.
    triangles: (T, 3) int32, vertex indices, counter-clockwise seen from outside.
    corner_normals: (T, 3, 3) float32, unit length, object space.
    corner_uvs: (T, 3, 2) float32, UV origin bottom left.
    image: (T,) int32, which image each triangle shows where materials have images of their own, -1 for none; None where
    one image serves all (``images``).
    """

    positions: np.ndarray
    triangles: np.ndarray
    corner_normals: np.ndarray
    corner_uvs: np.ndarray
    image: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.triangles)
        shapes = {
            "positions": (len(self.positions), 3),
            "triangles": (count, 3),
            "corner_normals": (count, 3, 3),
            "corner_uvs": (count, 3, 2),
            _IMAGE: (count,),
        }
        for name, array in self._arrays().items():
            if array.shape != shapes[name]:
                raise ValueError(f"MeshData.{name} has shape {array.shape}, expected {shapes[name]}.")

    def _arrays(self) -> dict[str, np.ndarray]:
        own = {} if self.image is None else {_IMAGE: self.image}
        return {**{name: getattr(self, name) for name in _KINDS}, **own}

    def save(self, path: Path) -> None:
        """Write all arrays to an ``.npz`` at ``path``: aside first, then renamed.

        Not compressed: Blender's window waits for it (70,000 triangles: 12 ms in place of 170).
        """
        aside = path.with_name(path.name + ".part")
        with open(aside, "wb") as stream:
            arrays: dict[str, Any] = {**self._arrays()}
            np.savez(stream, **arrays)
        os.replace(aside, path)

    @staticmethod
    def load(path: Path) -> MeshData:
        """Read what ``save`` wrote. Raises ``ValueError`` with a sentence if the file is not such a mesh."""
        try:
            arrays = load_arrays(path, _LARGEST)
            image = _number(arrays, _IMAGE, np.int32) if _IMAGE in arrays else None
            mesh = MeshData(**{name: _number(arrays, name, kind) for name, kind in _KINDS.items()}, image=image)
            if mesh.triangles.size and not 0 <= mesh.triangles.min() <= mesh.triangles.max() < len(mesh.positions):
                raise ValueError("a triangle names a vertex that is not there.")
            if image is not None and (image.min(initial=0) < -1 or not 0 <= image.max(initial=-1) < _MOST_IMAGES):
                raise ValueError("its triangles show no image, or one that can't be there.")
        except ValueError as error:
            raise ValueError(f"The mesh file {path} is damaged or missing: {str(error).rstrip('.')}.") from error
        return mesh

    def triangle_areas(self) -> np.ndarray:
        """Areas in object space, (T,) float64."""
        points = self.positions.astype(np.float64)
        # Blender's window waits for this: np.take, and the cross product by hand, are five times as fast.
        a, b, c = (np.take(points, self.triangles[:, k], axis=0) for k in range(3))
        (x, y, z), (u, v, w) = (b - a).T, (c - a).T
        areas: np.ndarray = 0.5 * np.sqrt((y * w - z * v) ** 2 + (z * u - x * w) ** 2 + (x * v - y * u) ** 2)
        return areas

    def uv_areas(self) -> np.ndarray:
        """Signed areas in UV space, (T,) float64; negative where the UV triangle is mirrored."""
        uv = self.corner_uvs.astype(np.float64)
        e1, e2 = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
        return 0.5 * (e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0])


def _number(arrays: Mapping[str, np.ndarray], name: str, kind: type) -> np.ndarray:
    """One array of a mesh file, in its type. Raises ``ValueError`` if it is not there or of another kind."""
    if name not in arrays or arrays[name].dtype != np.dtype(kind):
        raise ValueError(f"it holds no {name} of type {np.dtype(kind)}.")
    return arrays[name]


@dataclass(frozen=True)
class Normalization:
    """The job's one invertible map ``unit = (object - center) * scale`` into the ball of radius 1."""

    center: tuple[float, float, float]
    scale: float

    @staticmethod
    def of(positions: np.ndarray) -> Normalization:
        """Centre the bounding box of (V, 3) ``positions`` and scale the farthest point to distance 1."""
        points = positions.astype(np.float64)
        center = (points.min(axis=0) + points.max(axis=0)) / 2
        radius = float(np.linalg.norm(points - center, axis=1).max())
        if radius == 0:
            raise ValueError("All vertices of the mesh lie in one point, so there is no surface to texture.")
        return Normalization((float(center[0]), float(center[1]), float(center[2])), 1 / radius)

    def to_unit(self, positions: np.ndarray) -> np.ndarray:
        """(..., 3) object space to (..., 3) float32 in the unit ball."""
        return ((positions.astype(np.float64) - self.center) * self.scale).astype(np.float32)

    def to_object(self, positions: np.ndarray) -> np.ndarray:
        """(..., 3) unit ball to (..., 3) float32 in object space; the inverse of ``to_unit``."""
        return (positions.astype(np.float64) / self.scale + self.center).astype(np.float32)
