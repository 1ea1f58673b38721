"""Which picture each face of a mesh shows: one image for the whole object, or one for each material.

Images are counted from 0 on. Each is a single picture or one of UDIM tiles (``udim``); the number of a *picture* is
``STEP`` times the number of its image plus that of its tile, and -1 is none. So with one image for all a picture's
number is its tile's. In a job folder the pictures of the second image are basecolor_1.png or basecolor_1.1001.png and
so on; those of the first one bear the plain name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from . import udim
from .mesh import MeshData

# Above every number of a tile.
STEP = 10_000


def layout(mesh: MeshData) -> tuple[np.ndarray, np.ndarray]:
    """The picture that each triangle shows and its UVs in there: (T,) int32 and (T, 3, 2) float32.

    The faces of each image are a UDIM layout of their own, or none (``udim.layout``).
    """
    if mesh.image is None:
        return udim.layout(mesh.corner_uvs)
    number, uvs = np.full(len(mesh.triangles), -1, np.int32), mesh.corner_uvs.copy()
    for image in np.unique(mesh.image[mesh.image >= 0]).tolist():
        here = mesh.image == image
        tile, uvs[here] = udim.layout(mesh.corner_uvs[here])
        number[here] = STEP * image + tile
    return number, uvs


def parts(mesh: MeshData) -> Mapping[int, MeshData]:
    """The triangles of ``mesh`` by the picture that they show, with their places in there; all vertices stay."""
    found = udim.parts(mesh, *layout(mesh))
    return {number: part for number, part in found.items() if number >= 0}


def image_of(number: int) -> int:
    """The image that the picture ``number`` belongs to."""
    return number // STEP


def image_file(path: Path, image: int) -> Path:
    """The file of an image, or of its tiles (``udim.tile_file``); of image 0 it is ``path`` itself."""
    return path.with_name(f"{path.stem}_{image}{path.suffix}") if image else path


def picture_file(path: Path, number: int) -> Path:
    """The file of one picture of the result ``path``."""
    return udim.tile_file(image_file(path, image_of(number)), number % STEP)
