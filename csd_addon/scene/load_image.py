"""From finished image files to an image in Blender."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

import bpy

from ..core.png import require_png
from ..core.udim import tile_file
from .tiles import load_files


def load_image(
    path: Path, name: str, *, pack: bool, tiles: Collection[int] = (0,), space: str = "sRGB",
    alpha_mode: str = "STRAIGHT",
) -> bpy.types.Image:  # fmt: skip
    """A new image from the file at ``path`` (or the files of its ``tiles``, see ``core.udim``), called ``name``.

    pack: keep the pixels inside the .blend (and forget the path) rather than refer to the file. space, alpha_mode:
    Blender's names for how the file is read. Raises ``ValueError`` if it can't be.
    """
    # Blender makes an image of any file and notices only when it looks for pixels: 70 ms at 2048, on drawing it too.
    try:
        for number in tiles if path.suffix == ".png" else ():
            require_png(tile_file(path, number).read_bytes())
        image = load_files(path, tiles)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"The texture {path} can't be loaded: {error}") from error
    image.name = name
    image.colorspace_settings.name = space
    image.alpha_mode = alpha_mode
    file = Path(image.filepath).name
    if pack:
        image.pack()
        image.filepath = f"//textures/{file}"
    elif bpy.data.filepath:
        # Saving a file elsewhere keeps absolute paths. Windows knows no relative path to another drive.
        with contextlib.suppress(ValueError):
            image.filepath = bpy.path.relpath(str(path.with_name(file)))
    return image
