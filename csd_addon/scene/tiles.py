"""A UDIM image as single images, because Blender shows scripts the pixels of its first tile alone.

``image.pixels`` of a tiled image, whatever its active tile, are those of the first one. So each tile is loaded as an
image of its own: from its file, from what is packed, or from a copy that Blender writes of what is not saved yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import bpy

from ..core.udim import FIRST, tile_file

# What stands for the number in the path of a tiled image.
_TOKEN = "<UDIM>"
_Load = Callable[[bpy.types.Image, int], bpy.types.Image]


def is_tiled(image: bpy.types.Image | None) -> bool:
    """Whether ``image`` is one of UDIM tiles."""
    return image is not None and image.source == "TILED"


@contextmanager
def pictures(
    image: bpy.types.Image, wanted: Collection[int] | None = None
) -> Iterator[dict[int, bpy.types.Image]]:
    """The pictures of ``image`` by tile number, for the time of the block; a single image itself is tile 0.

    wanted: numbers of tiles; those that ``image`` does not have are left out. None: all whose pixels can be had.
    Raises ``ValueError`` with a sentence if the pixels of a wanted tile are not there.
    """
    if not is_tiled(image):
        yield {0: image}
        return
    numbers = [tile.number for tile in image.tiles if wanted is None or tile.number in wanted]
    made: dict[int, bpy.types.Image] = {}
    with TemporaryDirectory() as folder:
        try:
            load = _saved_copy(image, Path(folder)) if _is_unsaved(image) else _stored
            for number in numbers:
                if picture := _picture(image, number, load, needed=wanted is not None):
                    made[number] = picture
            yield made
        finally:
            for picture in made.values():
                bpy.data.images.remove(picture)


def _picture(image: bpy.types.Image, number: int, load: _Load, *, needed: bool) -> bpy.types.Image | None:
    """One tile as an image that is read like ``image``; None if its pixels are not there and not ``needed``."""
    try:
        picture = load(image, number)
    except RuntimeError:
        picture = None
    if picture and all(picture.size):
        picture.name = f"{image.name} {number}"
        return picture
    if picture:
        bpy.data.images.remove(picture)
    if needed:
        raise ValueError(
            f"Tile {number} of the image '{image.name}' has no pixels: {_file_of(image, number) or 'its file'} is "
            "missing or damaged; choose its file again."
        )
    return None


def _stored(image: bpy.types.Image, number: int) -> bpy.types.Image:
    """The tile from what is packed, else from its file."""
    packed = next((part.packed_file for part in image.packed_files if part.tile_number == number), None)
    if packed:
        picture = bpy.data.images.new("CSD tile", 1, 1)
        picture.pack(data=packed.data, data_len=packed.size)
        picture.source = "FILE"
    else:
        picture = bpy.data.images.load(_file_of(image, number), check_existing=False)
    picture.colorspace_settings.name = image.colorspace_settings.name
    picture.alpha_mode = image.alpha_mode
    return picture


def _is_unsaved(image: bpy.types.Image) -> bool:
    return image.is_dirty or not (image.packed_files or image.filepath)


def _saved_copy(image: bpy.types.Image, folder: Path) -> _Load:
    """Let Blender write all tiles of ``image`` into ``folder``, strokes that are not saved too, and read them there."""
    if image.is_float:
        raise ValueError(
            f"The image '{image.name}' has more than 8 bits and changes that are not saved: save it (Image > Save), "
            "then edit again."
        )
    before = image.file_format
    try:
        image.file_format = "PNG"
        image.save(filepath=str(folder / f"tile.{_TOKEN}.png"), save_copy=True)
    except RuntimeError as error:
        raise ValueError(f"The tiles of the image '{image.name}' can't be read: {str(error).strip()}") from error
    finally:
        image.file_format = before

    def load(image: bpy.types.Image, number: int) -> bpy.types.Image:
        picture = bpy.data.images.load(str(folder / f"tile.{number}.png"), check_existing=False)
        picture.colorspace_settings.name = image.colorspace_settings.name
        # Bytes in memory are straight, however their file was read.
        picture.alpha_mode = "STRAIGHT" if image.alpha_mode == "PREMUL" else image.alpha_mode
        return picture

    return load


def _file_of(image: bpy.types.Image, number: int) -> str:
    column, row = (number - FIRST) % 10 + 1, (number - FIRST) // 10 + 1
    path = image.filepath.replace(_TOKEN, str(number)).replace("<UVTILE>", f"u{column}_v{row}")
    return bpy.path.abspath(path, library=image.library)


def load_files(path: Path, numbers: Collection[int]) -> bpy.types.Image:
    """A new image from the files of ``path``: its tiles ``numbers``, or itself for [0] (``core.udim``).

    Raises ``RuntimeError`` if the first of them is not there.
    """
    if not numbers:
        raise RuntimeError("there is no such file")
    image = bpy.data.images.load(str(tile_file(path, min(numbers, default=0))), check_existing=False)
    if 0 in numbers:
        return image
    image.source = "TILED"
    image.filepath = str(tile_file(path, _TOKEN))
    # Blender looks the folder through, and takes in what an earlier run has left there.
    for tile in [tile for tile in image.tiles if tile.number not in numbers]:
        image.tiles.remove(tile)
    return image
