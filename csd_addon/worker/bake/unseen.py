"""Parts of the surface that no view ever saw: the field there is what it happened to be, so they are filled.

Insides of boxes, faces between two bodies that touch. Each such point takes the colour of the nearest seen point whose
face looks the same way, so that the two sides of a thin sheet stay apart. What was seen is kept in cubes of the unit
ball and six directions; a point counts as seen if its cube or one next to it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...core.mesh import MeshData
from ..look.views import PooledView

# Edge of a cube: so many pixels of a view, and at least so much.
_PIXELS, _SMALLEST = 4.0, 0.03
# Unseen cubes compared at once with all seen ones.
_CHUNK = 2048


@dataclass(frozen=True)
class Seen:
    """edge: of a cube. keys: (C,) int64 of the seen cubes and their neighbours, ascending. places: by direction (n, 3)
    float32 seen points, one for each cube."""

    edge: float
    keys: np.ndarray
    places: tuple[np.ndarray, ...]

    @staticmethod
    def of(pool: Sequence[PooledView], mesh: MeshData, resolution: int) -> Seen:
        """What ``pool`` sees of ``mesh`` in images of ``resolution`` pixels."""
        edge = max(_SMALLEST, _PIXELS * 2 / resolution)
        direction = directions(mesh)
        points = np.concatenate([view.gbuffer.position.cpu().numpy() for view in pool])
        towards = direction[np.concatenate([view.gbuffer.triangle.cpu().numpy() for view in pool])]
        cubes = _cubes(points, edge)
        keys, first = np.unique(_keys(cubes, towards), return_index=True)
        around = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3), axis=-1).reshape(-1, 1, 3)
        near = np.unique(_keys(cubes[first] + around, towards[first]))
        return Seen(edge, near, tuple(points[first][towards[first] == k] for k in range(6)))

    def unseen(self, points: torch.Tensor, direction: np.ndarray) -> np.ndarray:
        """(P,) bool for unit-ball points (P, 3) on faces of these (P,) directions."""
        if not len(self.keys):
            return np.ones(len(points), bool)
        keys = _keys(_cubes(points.numpy(), self.edge), direction)
        place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.asarray(self.keys[place] != keys)

    def moved(self, points: torch.Tensor, direction: np.ndarray) -> torch.Tensor:
        """``points`` (P, 3), the unseen ones moved to where their colour comes from; they stay where nothing fits."""
        unseen = self.unseen(points, direction)
        if not unseen.any():
            return points
        result = points.clone()
        for k in range(6):
            chosen = np.flatnonzero(unseen & (direction == k))
            if len(chosen) and len(self.places[k]):
                result[chosen] = self._nearest(points[chosen], torch.from_numpy(self.places[k]))
        return result

    def _nearest(self, points: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """For each of the points one of ``places``, the same for all in one cube."""
        cubes, where = np.unique(_cubes(points.numpy(), self.edge), axis=0, return_inverse=True)
        middles = torch.from_numpy(((cubes + 0.5) * self.edge).astype(np.float32))
        nearest = torch.cat([torch.cdist(part, places).argmin(1) for part in middles.split(_CHUNK)])
        return places[nearest[torch.from_numpy(where.reshape(-1))]]


@dataclass(frozen=True)
class SeenFaces:
    """``Seen`` for the faces of one mesh, or of the part of it that lies on one tile. direction: see ``directions``."""

    seen: Seen
    direction: np.ndarray

    def moved(self, points: torch.Tensor, triangle: np.ndarray) -> torch.Tensor:
        """See ``Seen.moved``; triangle: (P,) faces of the points."""
        return self.seen.moved(points, self.direction[triangle])

    def unseen(self, points: torch.Tensor, triangle: np.ndarray) -> np.ndarray:
        """(P,) bool: which of the points no view saw."""
        return self.seen.unseen(points, self.direction[triangle])


def directions(mesh: MeshData) -> np.ndarray:
    """(T,) int64, 0 to 5: the axis along which each face looks most, and which way."""
    a, b, c = (mesh.positions[mesh.triangles[:, k]].astype(np.float64) for k in range(3))
    normal = np.cross(b - a, c - a)
    axis = np.abs(normal).argmax(axis=1)
    return np.asarray(2 * axis + (np.take_along_axis(normal, axis[:, None], axis=1)[:, 0] > 0))


def _cubes(points: np.ndarray, edge: float) -> np.ndarray:
    """(P, 3) int64 numbers of the cubes that hold the points."""
    return np.floor(points / edge).astype(np.int64)


def _keys(cubes: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """One number for each cube (..., 3) and direction (...)."""
    x, y, z = np.moveaxis(cubes + 1024, -1, 0)
    return np.asarray(((x * 4096 + y) * 4096 + z) * 6 + direction)
