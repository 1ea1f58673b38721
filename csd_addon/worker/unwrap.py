"""Unwraps a mesh with xatlas, in a process of its own: it is slow, and plain meshes have brought it down.

    python -m csd_addon.worker.unwrap POLYGONS.npz LAYER.npz

The same mesh gets the same UVs: nothing in it is random. xatlas knows triangles only and may lay those of one polygon
into two charts, where a UV layer has one place for each corner: such polygons go into one of them whole, and the
charts are packed once more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xatlas

from ..core.mesh import Normalization
from ..core.polygons import Polygons, save_layer

# Edge of the image that charts are laid into, and texels between them: room for two margins
# (``worker.bake.margin``), as in ``scene.unwrap``. The second time, when all of them are known, small and thorough.
_FIRST, _SECOND = (1024, 14), (512, 6)
# Places that are the same.
_SAME = 1e-6


def unwrap(mesh: Polygons) -> np.ndarray:
    """(L, 2) float32 UVs within 0..1, one for each loop of ``mesh``."""
    points = Normalization.of(mesh.positions).to_unit(mesh.positions)
    corners, places = _packed(lambda atlas: atlas.add_mesh(points, mesh.triangles.astype(np.uint32)), *_FIRST)
    corners, places = _joined(mesh, points, corners, places)
    # Each corner a vertex of its own, because here xatlas gives a vertex that two charts share one place for both.
    apart, own = places[corners].reshape(-1, 2), np.arange(corners.size, dtype=np.uint32).reshape(-1, 3)
    corners, places = _packed(lambda atlas: atlas.add_uv_mesh(apart, own), *_SECOND, thorough=True)
    corners, places = _joined(mesh, points, corners, places)
    uvs = np.zeros((int(mesh.loops.max()) + 1, 2), np.float32)
    uvs[mesh.loops] = places[corners]
    uvs -= np.minimum(uvs.min(axis=0), 0)
    return uvs / max(1.0, float(uvs.max()))


def _packed(
    add: Callable[[xatlas.Atlas], None], edge: int, padding: int, *, thorough: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The charts of what ``add`` puts into an atlas: (T, 3) uint32 corners, and (P, 2) float32 their places."""
    atlas, charts, options = xatlas.Atlas(), xatlas.ChartOptions(), xatlas.PackOptions()
    add(atlas)
    charts.fix_winding = True
    options.resolution, options.padding, options.bruteForce = edge, padding, thorough
    atlas.generate(charts, options)
    _, corners, places = atlas.get_mesh(0)
    # Each axis was divided by its own length, and the image is a square.
    edges = np.array([atlas.width, atlas.height], np.float32)
    return corners, places * (edges / edges.max())


def _split_polygons(mesh: Polygons, corners: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The polygons of which a loop has got more than one place."""
    first = np.zeros((int(mesh.loops.max()) + 1, 2), np.float32)
    first[mesh.loops] = places[corners]
    apart = np.abs(first[mesh.loops] - places[corners]).max(axis=(1, 2)) > _SAME
    return np.unique(mesh.polygon[apart])


def _joined(
    mesh: Polygons, points: np.ndarray, corners: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``corners`` and ``places`` where each polygon that was split lies in the chart of its largest triangle.

    Its other triangles are unfolded from there, one at the edge of another.
    """
    chosen = np.flatnonzero(np.isin(mesh.polygon, _split_polygons(mesh, corners, places)))
    edges = np.diff(points[mesh.triangles[chosen]], axis=1)
    smallest_first = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).argsort()
    pieces: dict[int, list[int]] = {}
    for triangle in chosen[smallest_first].tolist():
        pieces.setdefault(int(mesh.polygon[triangle]), []).append(triangle)
    corners, extra = corners.copy(), []
    for triangles in pieces.values():
        unfolded = _unfolded(mesh, points, triangles, places[corners[triangles[-1]]])
        first = len(places) + len(extra)
        index = {loop: first + k for k, loop in enumerate(unfolded)}
        extra += unfolded.values()
        corners[triangles] = [[index[loop] for loop in mesh.loops[triangle].tolist()] for triangle in triangles]
    return corners, np.concatenate([places, np.array(extra, np.float32).reshape(-1, 2)])


def _unfolded(
    mesh: Polygons, points: np.ndarray, triangles: list[int], home: np.ndarray
) -> dict[int, np.ndarray]:
    """The place of each loop of one polygon, the last of whose ``triangles`` lies at ``home`` (3, 2)."""
    *rest, last = triangles
    known = dict(zip(mesh.loops[last].tolist(), home.astype(np.float64), strict=True))
    (ux, uy), (vx, vy) = home[1] - home[0], home[2] - home[0]
    side = 1.0 if ux * vy >= uy * vx else -1.0
    while rest:
        # There is always a neighbour: a polygon's triangles hang together by their edges.
        triangle = max(rest, key=lambda t: len(known.keys() & set(mesh.loops[t].tolist())))
        rest.remove(triangle)
        loops, corners = mesh.loops[triangle].tolist(), points[mesh.triangles[triangle]].astype(np.float64)
        for k in (k for k in range(3) if loops[k] not in known):
            i, j = (k + 1) % 3, (k + 2) % 3
            known[loops[k]] = _third(corners[[i, j, k]], known[loops[i]], known[loops[j]], side)
    return known


def _third(triangle: np.ndarray, a: np.ndarray, b: np.ndarray, side: float) -> np.ndarray:
    """(2,) where the last corner of a (3, 3) ``triangle`` lies whose others are at ``a`` and ``b``.

    side: 1 to the left of the way from a to b, -1 to its right.
    """
    edge, to = triangle[1] - triangle[0], triangle[2] - triangle[0]
    square = max(float(edge @ edge), 1e-30)
    along = float(to @ edge) / square
    height = float(np.linalg.norm(to - along * edge)) / square**0.5
    way = b - a
    return np.asarray(a + along * way + side * height * np.array([-way[1], way[0]]))


if __name__ == "__main__":
    save_layer(Path(sys.argv[2]), unwrap(Polygons.load(Path(sys.argv[1]))).reshape(-1))
