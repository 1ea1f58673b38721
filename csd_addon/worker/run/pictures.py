"""The two small pictures of a run that the history shows: the textured object, and the plot of the gradient norms.

They are drawn in the worker, because Blender's window would wait for them for up to half a second.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ...core.mesh import MeshData
from ...jobs.folder import JobFolder
from ...jobs.history import gradient_norms
from .plot import plot_norms
from .thumbnail import render_thumbnail

# A picture of 128 pixels needs no larger texture.
_LONGEST = 512


def write_pictures(folder: JobFolder, mesh: MeshData, images: Mapping[int, np.ndarray]) -> None:
    """Write ``folder.thumbnail``, and ``folder.plot`` where the run logged norms. Raises ``OSError`` if it can't.

    images: by picture (``core.images``), (H, W, >= 3) sRGB-encoded in 0..1, the texture as far as it has grown. Where
    there are none, there is no thumbnail. Raises ``ValueError`` if the mesh has no surface.
    """
    if images:
        small = {number: _shrunk(image[..., :3]) for number, image in images.items()}
        _write(folder.thumbnail, render_thumbnail(mesh, small))
    plot = plot_norms(gradient_norms(folder))
    if plot is not None:
        _write(folder.plot, plot)


def _shrunk(image: np.ndarray) -> np.ndarray:
    """Means of square blocks, so that at most ``_LONGEST`` texels remain. What is over at two edges is cut off."""
    edge = max(1, max(image.shape) // _LONGEST)
    height, width = (size // edge * edge for size in image.shape[:2])
    blocks = image[:height, :width].reshape(height // edge, edge, width // edge, edge, -1)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def _write(path: Path, picture: np.ndarray) -> None:
    aside = path.with_name(path.name + ".part")
    Image.fromarray(picture).save(aside, format="PNG")
    os.replace(aside, path)
