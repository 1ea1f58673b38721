"""From a finished PNG to an image in Blender.

The worker's images have row 0 at the top, PNG has too, and Blender turns it over on loading: this is the one place
where the row order changes. The colour space is sRGB.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import bpy


def load_image(path: Path, name: str, *, pack: bool) -> bpy.types.Image:
    """A new image from the PNG at ``path``, called ``name``.

    pack: keep the pixels inside the .blend (and forget the path) rather than refer to the file.
    Raises ``ValueError`` if the file can't be read.
    """
    try:
        image = bpy.data.images.load(str(path), check_existing=False)
    except RuntimeError as error:
        raise ValueError(f"The texture {path} can't be loaded: {error}") from error
    # Blender makes an image of any file and notices only when it looks for pixels.
    if not all(image.size):
        bpy.data.images.remove(image)
        raise ValueError(f"The texture {path} can't be loaded: the file is damaged or no image.")
    image.name = name
    image.colorspace_settings.name = "sRGB"
    if pack:
        image.pack()
        image.filepath = f"//textures/{path.name}"
    elif bpy.data.filepath:
        # Saving a file elsewhere keeps absolute paths. Windows knows no relative path to another drive.
        with contextlib.suppress(ValueError):
            image.filepath = bpy.path.relpath(str(path))
    return image
