"""UDIM images for the tests: PNG files of known bytes, and objects whose faces lie on several tiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import bpy
import numpy as np

from csd_addon.core.png import encode_png
from tests.scene.objects import cube, link, principled, shader_of

# Three tiles of different sizes, the last in the second row.
SHAPES = {1001: (16, 16), 1002: (24, 32), 1011: (8, 20)}


def numbers_of(number: int, dtype: type = np.uint8) -> np.ndarray:
    """The integers (H, W, 4) of one tile: random, some of them transparent."""
    values = np.random.default_rng(number).integers(0, np.iinfo(dtype).max, (*SHAPES[number], 4), dtype, endpoint=True)
    values[:3, :3, 3] = 0
    return values


def tile_files(folder: Path, dtypes: Mapping[int, type] | None = None, name: str = "wall.{}.png") -> Path:
    """PNG files of all tiles; returns the first one."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in SHAPES:
        dtype = (dtypes or {}).get(number, np.uint8)
        (folder / name.format(number)).write_bytes(encode_png(numbers_of(number, dtype)))
    return folder / name.format(1001)


def tiled_image(first: Path) -> bpy.types.Image:
    """The UDIM image whose first tile's file this is."""
    image = bpy.data.images.load(str(first))
    image.source = "TILED"
    return image


def tiled_cube(image: bpy.types.Image, *, name: str = "Wall") -> bpy.types.Object:
    """A cube that shows ``image``: faces 0 and 1 fill tile 1001, 2 and 3 lie on 1002, 4 and 5 on 1011.

    Each is a chart of its own with a border of a sixteenth of the tile around it.
    """
    obj = cube(name)
    places = [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (0, 1, 0), (0, 1, 1)]
    for polygon, (u, v, half) in zip(obj.data.polygons, places, strict=True):
        corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
        for loop, (x, y) in zip(polygon.loop_indices, corners, strict=True):
            obj.data.uv_layers[0].uv[loop].vector = (u + half / 2 + 0.0625 + 0.375 * x, v + 0.0625 + 0.875 * y)
    obj.data.materials.append(principled("Bricks"))
    node = obj.active_material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    link(obj.active_material, node.outputs["Color"], shader_of(obj.active_material).inputs["Base Color"])
    return obj
