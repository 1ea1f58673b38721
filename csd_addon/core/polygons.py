"""What a mesh is made of for unwrapping, and a UV layer: the files between Blender and the process that unwraps.

A *loop* is a corner of a polygon, as in Blender; a UV layer has one place for each. UV origin bottom left.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import load_arrays

# Bytes of a file: room for about ten million triangles.
_LARGEST = 2**31
_LAYER = "uvs"


@dataclass(frozen=True)
class Polygons:
    """The polygons of one mesh, cut into triangles.

    positions: (V, 3) float32. triangles: (T, 3) int32 vertex indices. loops: (T, 3) int32, the loop that each corner of
    a triangle is. polygon: (T,) int32, the polygon that each triangle is a piece of.
    """

    positions: np.ndarray
    triangles: np.ndarray
    loops: np.ndarray
    polygon: np.ndarray

    def save(self, path: Path) -> None:
        """Write all arrays to an ``.npz``: aside first, then renamed."""
        _save(path, {f.name: getattr(self, f.name) for f in fields(self)})

    @staticmethod
    def load(path: Path) -> Polygons:
        """Read what ``save`` wrote. Raises ``ValueError`` if the file is not such a mesh."""
        arrays = load_arrays(path, _LARGEST)
        try:
            return Polygons(*(arrays[f.name] for f in fields(Polygons)))
        except KeyError as error:
            raise ValueError(f"{path} holds no {error}.") from error


def save_layer(path: Path, uvs: np.ndarray) -> None:
    """Write the flat (2 L,) float32 ``uvs`` of all loops to an ``.npz``: aside first, then renamed."""
    _save(path, {_LAYER: uvs})


def load_layer(path: Path) -> np.ndarray:
    """Read what ``save_layer`` wrote. Raises ``ValueError`` with a sentence if the file is no such layer."""
    try:
        uvs = load_arrays(path, _LARGEST).get(_LAYER)
        if uvs is None or uvs.ndim != 1 or uvs.dtype != np.float32 or not np.isfinite(uvs).all():
            raise ValueError("it holds no UV map.")
    except ValueError as error:
        raise ValueError(f"The UV map {path} is damaged or missing: {str(error).rstrip('.')}.") from error
    return uvs


def _save(path: Path, arrays: dict[str, Any]) -> None:
    aside = path.with_name(path.name + ".part")
    with open(aside, "wb") as stream:
        np.savez(stream, **arrays)
    os.replace(aside, path)
