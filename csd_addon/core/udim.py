"""UDIM tiles: one image of several pictures, each of which lies on its own unit square of the UV plane.

Tile 1001 is the square from (0, 0) to (1, 1); ten tiles make a row, the next row lies above. The file of a tile has
its number before the suffix: wall.1002.png. Wherever tiles are counted, 0 is a single image (wall.png), -1 is none.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .mesh import MeshData

FIRST = 1001
LAST = 2000
_ROW = 10
# Farther away there is no tile, and whole numbers would run over.
_FAR = 1e6


def tile_numbers(corner_uvs: np.ndarray) -> np.ndarray:
    """(T,) int32 number of the tile on which each of the (T, 3, 2) UV triangles has its middle; -1 off all tiles."""
    column, row = _squares(corner_uvs).T
    number = FIRST + column + _ROW * row
    there = (column >= 0) & (column < _ROW) & (row >= 0) & (number <= LAST)
    return np.asarray(np.where(there, number, -1), np.int32)


def inside_tiles(corner_uvs: np.ndarray) -> np.ndarray:
    """(T, 3, 2) float32: each triangle within the tile of its middle, 0..1; what hangs over an edge is drawn back."""
    # The differences are taken in double precision: 9.1 - 9 has lost digits in single.
    inside = corner_uvs.astype(np.float64) - _squares(corner_uvs)[:, None]
    return np.asarray(inside.clip(0, 1), np.float32)


def crossing(corner_uvs: np.ndarray) -> np.ndarray:
    """(T,) bool: triangles that hang over the edge of their tile by more than a thousandth of it."""
    away = corner_uvs.astype(np.float64) - _squares(corner_uvs)[:, None]
    hangs: np.ndarray = (np.abs(away - 0.5) > 0.501).any(axis=(1, 2))
    return hangs


def layout(corner_uvs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tile of each of the (T, 3, 2) UV triangles, and where on it they lie: (T,) int32 and (T, 3, 2) float32.

    All zeros and the UVs as they are where these are no UDIM layout: all on one square, some off the tiles, or across
    the edges of squares, as a repeated image is laid out.
    """
    number = tile_numbers(corner_uvs)
    if len(np.unique(number)) < 2 or (number < 0).any() or crossing(corner_uvs).any():
        return np.zeros_like(number), corner_uvs
    return number, inside_tiles(corner_uvs)


def parts(mesh: MeshData, number: np.ndarray, corner_uvs: np.ndarray) -> Mapping[int, MeshData]:
    """The triangles of ``mesh`` on each tile, with their places there; all vertices stay. See ``layout``."""
    found = {}
    for tile in np.unique(number).tolist():
        here = number == tile
        found[tile] = MeshData(mesh.positions, mesh.triangles[here], mesh.corner_normals[here], corner_uvs[here])
    return found


def tile_file(path: Path, number: int | str) -> Path:
    """The file of one tile of the image ``path``; of tile 0 it is ``path`` itself."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}") if number else path


def tiles_of(path: Path) -> list[int]:
    """The numbers of the files that make up the image ``path``: [0] for a single one, none if there is nothing."""
    if path.is_file():
        return [0]
    pattern = path.with_name(f"{glob.escape(path.stem)}.[12][0-9][0-9][0-9]{glob.escape(path.suffix)}")
    found = (re.search(r"(\d{4})$", Path(name).stem) for name in glob.glob(str(pattern.name), root_dir=path.parent))
    return sorted(int(number[1]) for number in found if number)


def _squares(corner_uvs: np.ndarray) -> np.ndarray:
    """(T, 2) int64 lower left corner of the unit square that holds each triangle's middle."""
    middle = corner_uvs.astype(np.float64).mean(axis=1)
    return np.asarray(np.floor(middle.clip(-_FAR, _FAR)), np.int64)
