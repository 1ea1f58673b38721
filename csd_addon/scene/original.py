"""What an edit starts from: the texture that is really on the object; and the edited one in its place.

The source image is never touched. Where the base colour is no image, Blender bakes it into one first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ..core.settings import JobSettings
from ..core.source import EditSource, Tile, load_edited
from ..core.udim import crossing, inside_tiles, layout, tile_numbers
from .bake_base_color import bake_base_color
from .base_color import find_base_color, read_pixels
from .lookup import ObjectKey
from .mask import corner_mask, painted_masks
from .material import apply_edit, job_of
from .pieces import Pieces, in_thread, run_to_end
from .read_mesh import MeshSnapshot, require_mesh
from .tiles import is_tiled, pictures
from .write_image import Written, load_written, write_edited_in_pieces

# Edge of the image where one has to be baked first and no size is asked for.
_BAKED_SIZE = 1024


@dataclass(frozen=True)
class Original:
    """name, uid: of the source image, empty and 0 if the base colour is none. job: the job it came from, if any.

    uv_map: the layer that it is shown through. slots: the material slots that show it. notes: sentences.
    """

    name: str
    uid: int
    job: str
    uv_map: str
    slots: tuple[int, ...]
    notes: tuple[str, ...]

    def image(self) -> bpy.types.Image | None:
        """The source image, or None where there is none. Raises ``ValueError`` if it was removed meanwhile."""
        if not self.uid:
            return None
        image = next((image for image in bpy.data.images if image.session_uid == self.uid), None)
        if image is None:
            raise ValueError(f"The image '{self.name}', from which the edit started, is gone.")
        return image


def find_original(obj: bpy.types.Object, settings: JobSettings) -> Original:
    """What the edit of ``obj`` starts from. Raises ``ValueError`` with a sentence if that can't be edited."""
    require_mesh(obj)
    base = find_base_color(obj)
    image = base.image
    if image is None:
        note = f"No image is the base colour of '{obj.name}', because {base.reason}: it was baked into one first."
        return Original("", 0, "", settings.uv_map, tuple(range(len(obj.material_slots))), (note,))
    if settings.uv_map not in ("", base.uv_map):
        raise ValueError(
            f"'{obj.name}' shows its texture through the UV map '{base.uv_map}', not '{settings.uv_map}'; an edit "
            "stays in that one."
        )
    return Original(image.name, image.session_uid, job_of(image), base.uv_map, base.slots, ())


def tile_notes(obj: bpy.types.Object, original: Original, seen: MeshSnapshot) -> tuple[str, ...]:
    """What the artist should know about an image of UDIM tiles; nothing for another one."""
    if not is_tiled(original.image()):
        return ()
    shown = np.isin(seen.material, original.slots)
    count = int((crossing(seen.corner_uvs(original.uv_map)) & shown).sum())
    if not count:
        return ()
    return (
        f"{count} triangles of '{obj.name}' reach over the edge of a UDIM tile: they are edited on the tile of their "
        "middle only.",
    )


def read_source(
    obj: bpy.types.Object, original: Original, settings: JobSettings, seen: MeshSnapshot
) -> EditSource:
    """The pixels and the mask. Raises ``ValueError`` with a sentence where the mask or the image is of no use."""
    return run_to_end(read_source_in_pieces(obj, original, settings, seen))


def read_source_in_pieces(
    obj: bpy.types.Object, original: Original, settings: JobSettings, seen: MeshSnapshot
) -> Pieces[EditSource]:
    """``read_source`` in pieces. seen: of ``obj``, with the layer ``settings.uv_map`` and the weights of the mask.

    What needs the mesh is looked at, and refused, in this call; the pieces that it returns read the pixels.
    """
    image, corners, uvs = original.image(), corner_mask(obj, settings.mask, seen), seen.corner_uvs(settings.uv_map)
    if image is None:
        number, numbers = np.zeros(len(uvs), np.int32), [0]
        baked = {0: (_baked(obj, settings, uvs), False)}
    else:
        number, uvs, numbers = _places(obj, original, seen, uvs)
        baked = {}
    if not (corners.any(axis=1) & (number >= 0)).any():
        raise ValueError(
            f"The mask '{settings.mask}' lies on no face of '{obj.name}' that shows the image '{original.name}'."
        )
    return _reading(ObjectKey.of(obj), original, settings, baked, numbers, (number, uvs, corners))


def _baked(obj: bpy.types.Object, settings: JobSettings, uvs: np.ndarray) -> np.ndarray:
    if layout(uvs)[0].any():
        raise ValueError(
            f"The base colour of '{obj.name}' is no image, and its UV map lies on several UDIM tiles: bake it into "
            "an image of tiles first."
        )
    return bake_base_color(obj, settings.uv_map, settings.size or _BAKED_SIZE)


def _places(
    obj: bpy.types.Object, original: Original, seen: MeshSnapshot, uvs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The tile that each triangle shows (-1: none), its UVs in there, and the numbers of the tiles that are shown."""
    image, number = original.image(), np.zeros(len(uvs), np.int32)
    numbers = [0]
    if is_tiled(image):
        number, uvs = tile_numbers(uvs), inside_tiles(uvs)
        numbers = [tile.number for tile in image.tiles]
    number[~np.isin(seen.material, original.slots) | ~np.isin(number, numbers)] = -1
    if (number < 0).all():
        raise ValueError(f"No face of '{obj.name}' lies on a tile of the image '{original.name}'.")
    return number, uvs, sorted(set(number[number >= 0].tolist()))


def _count(image: bpy.types.Image) -> int:
    """How many numbers a single image holds; 0 for one of tiles."""
    return 0 if is_tiled(image) else len(image.pixels)


def _reading(
    key: ObjectKey, original: Original, settings: JobSettings, pixels: dict[int, tuple[np.ndarray, bool]],
    numbers: list[int], places: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Pieces[EditSource]:  # fmt: skip
    """pixels: what ``read_pixels`` would return, where it is there already. places: the rest of ``EditSource``."""
    if not pixels:
        # Memory that is touched for the first time costs as much as reading, at times ten times as much.
        room = yield from in_thread(np.ones, _count(original.image()), np.float32)
        with pictures(original.image(), numbers) as tiles:
            pixels = {n: read_pixels(tile, settings.size, room) for n, tile in tiles.items()}
        yield
    obj = key.find()
    if obj is None:
        raise ValueError(f"The object '{key.name}' is gone.")
    painted = yield from painted_masks(obj, settings.mask, list(pixels))
    return EditSource({n: Tile(*pixels[n], painted[n]) for n in pixels}, *places)


def write_edit_in_pieces(original: Original, result: Path, settings: JobSettings, file: Path) -> Pieces[Written]:
    """Write the edited pixels in ``result`` into image files, in pieces. file: their place, without suffix."""
    pixels = yield from in_thread(load_edited, result)
    depth = 0 if settings.depth == "auto" else int(settings.depth)
    return (yield from write_edited_in_pieces(original.image, pixels, file, depth=depth))


def put_edit(
    obj: bpy.types.Object, original: Original, written: Written, settings: JobSettings, job: str, *, pack: bool
) -> list[str]:
    """Show what ``write_edit_in_pieces`` wrote on ``obj``; returns notes. job: the folder that it came from."""
    image = load_written(written, f"{obj.name}_edited", pack=pack)
    try:
        return apply_edit(obj, image, settings.uv_map, original.slots, job)
    except ValueError:
        bpy.data.images.remove(image)
        raise
