"""The small picture of a run for the history's list, made from its job folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

import bpy
import numpy as np

from ..core.color import encode_srgb
from ..core.mesh import MeshData
from ..core.png import encode_png
from ..core.thumbnail import render_thumbnail
from ..core.udim import tile_file, tiles_of
from .base_color import read_pixels

# A picture of 128 pixels needs no larger texture.
_LONGEST = 512


def write_thumbnail(mesh: Path, texture: Path, target: Path) -> None:
    """Write a PNG of the mesh in the file ``mesh`` with the image file ``texture`` to ``target``.

    texture: of an image of several tiles the file of any of them; all are shown. Raises ``ValueError`` if one of the
    two is damaged, ``OSError`` if ``target`` can't be written.
    """
    whole = texture.with_name(re.sub(r"\.\d{4}$", "", texture.stem) + texture.suffix)
    images = {number: _read(tile_file(whole, number)) for number in tiles_of(whole)}
    picture = render_thumbnail(MeshData.load(mesh), images)
    aside = target.with_name(target.name + ".part")
    aside.write_bytes(encode_png(picture))
    os.replace(aside, target)


def _read(path: Path) -> np.ndarray:
    """(H, W, 3) sRGB-encoded, at most ``_LONGEST`` pixels wide and high."""
    try:
        image = bpy.data.images.load(str(path), check_existing=False)
    except RuntimeError as error:
        raise ValueError(f"The texture {path} can't be loaded: {error}") from error
    try:
        factor = _LONGEST / max(*image.size, _LONGEST)
        if factor < 1:
            image.scale(*(max(1, round(edge * factor)) for edge in image.size))
        pixels, linear = read_pixels(image)
        return (encode_srgb(pixels[..., :3]) if linear else pixels[..., :3]).clip(0, 1)
    finally:
        bpy.data.images.remove(image)
