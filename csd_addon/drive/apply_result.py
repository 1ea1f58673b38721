"""From a job's files to the object: previews while it runs, and the finished result.

A new texture is one image for all materials, or one for each; an edit replaces the image that it started from.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import bpy

from ..core.images import image_file
from ..core.udim import tile_file, tiles_of
from ..scene.load_image import load_image
from ..scene.material import apply_texture, apply_textures
from ..scene.original import put_edit, write_edit_in_pieces
from ..scene.pieces import Pieces, run_to_end
from ..scene.preview import Preview, hide_previews, show_preview
from ..scene.unwrap import put_layer, take_layer
from .file_names import cut, safe_name
from .prepare_job import Task

# From a name (of the object, or of it and a material) and the kind of the job to the image's place, without suffix.
Place = Callable[[str, str], Path]

# Bytes of a name in Blender before 5.0, and of a file's name, without what follows the material.
_NAME, _FILE = 52, 112


def show(task: Task, image: Path) -> bool:
    """Show the preview in the file ``image`` on the task's object; returns whether it is to be seen."""
    obj = task.key.find()
    slots = task.edited.slots if task.edited and task.edited.uid else None
    parts = [(image_file(image, k), own.slots) for k, own in enumerate(task.images)] or [(image, slots)]
    previews = (Preview(file, task.settings.uv_map, str(task.folder.path), own, task.uvs) for file, own in parts)
    return obj is not None and show_preview(obj, *previews)


def finish(task: Task, result: Path, *, place: Place | None) -> list[str]:
    """Put the finished texture on the object's material in place of the preview; returns notes for the artist.

    place: of its images; None packs them into the .blend. Raises ``ValueError`` if the object is gone or an image can't
    be read, ``OSError`` if a file can't be written; then the object is as it was.
    """
    return run_to_end(finish_in_pieces(task, result, place=place))


def finish_in_pieces(task: Task, result: Path, *, place: Place | None) -> Pieces[list[str]]:
    """``finish`` in pieces: the last one puts the texture up, the others change nothing in Blender."""
    written = None
    if task.edited:
        _require_object(task, result)
        file = place(task.key.name, "edit") if place else result.with_suffix("")
        written = yield from write_edit_in_pieces(task.edited, result, task.settings, file)
    hide_previews()
    obj = _require_object(task, result)
    added = task.uvs is not None and put_layer(obj, task.settings.uv_map, task.uvs)
    try:
        if written:
            notes = put_edit(obj, task.edited, written, task.settings, str(task.folder.path), pack=place is None)
        else:
            notes = _put_texture(obj, task, result, place)
    except BaseException:
        # Whatever went wrong, the object is as it was.
        if added:
            take_layer(obj, task.settings.uv_map)
        raise
    return [*task.notes, *notes]


def _require_object(task: Task, result: Path) -> bpy.types.Object:
    obj = task.key.find()
    if obj is None:
        raise ValueError(f"The object '{task.key.name}' is gone; its texture is kept in {result}.")
    return obj


def _put_texture(obj: bpy.types.Object, task: Task, result: Path, place: Place | None) -> list[str]:
    """Show the finished ``result`` of ``task`` on ``obj``; returns notes. Errors as in ``finish``."""
    materials = [image.material for image in task.images] or [""]
    files = [place(name, "texture") if place else None for name in file_names(obj.name, materials)]
    made: list[bpy.types.Image] = []
    try:
        for k, (material, file) in enumerate(zip(materials, files, strict=True)):
            made.append(_load(image_file(result, k), file, _shown_name(obj.name, material)))
        unseen = _put_unseen_maps(task, files)
        notes = _apply(obj, task, made)
    except BaseException:
        for image in made:
            bpy.data.images.remove(image)
        raise
    # Earlier textures of this object had the names until now.
    for image, material in zip(made, materials, strict=True):
        image.name = _shown_name(obj.name, material)
    return [*notes, *unseen]


def file_names(obj: str, materials: Sequence[str]) -> list[str]:
    """Names for the images of an object's materials, no two of which mean the same file on any system."""
    names: list[str] = []
    taken: set[str] = set()
    for material in materials:
        whole = _joined(safe_name(obj), safe_name(material), _FILE) if material else obj
        tries = [whole, *(f"{whole}_{number}" for number in range(2, len(materials) + 1))]
        name = next(name for name in tries if _folded(name) not in taken)
        taken.add(_folded(name))
        names.append(name)
    return names


def _folded(name: str) -> str:
    """Equal for names that Windows or macOS take for the same."""
    return unicodedata.normalize("NFC", safe_name(name)).casefold()


def _shown_name(obj: str, material: str) -> str:
    return f"{_joined(obj, material, _NAME) if material else obj}_basecolor"


def _joined(obj: str, material: str, room: int) -> str:
    """Both names, each cut to half of ``room`` bytes where there is not enough of it."""
    if len(f"{obj}_{material}".encode()) <= room:
        return f"{obj}_{material}"
    return f"{cut(obj, room // 2)}_{cut(material, room // 2 - 1)}"


def _load(path: Path, file: Path | None, name: str) -> bpy.types.Image:
    tiles = tiles_of(path)
    if file:
        source, path = path, file.with_name(file.name + path.suffix)
        _copy_tiles(source, path)
    return load_image(path, name, pack=file is None, tiles=tiles)


def _apply(obj: bpy.types.Object, task: Task, made: Sequence[bpy.types.Image]) -> list[str]:
    job = str(task.folder.path)
    if not task.images:
        return apply_texture(obj, made[0], task.settings.uv_map, job)
    pairs = [(image, own.slots) for image, own in zip(made, task.images, strict=True)]
    return apply_textures(obj, pairs, task.settings.uv_map, job)


def _put_unseen_maps(task: Task, files: Sequence[Path | None]) -> list[str]:
    """Lay the maps of what no view saw beside ``files``; a note that says where they are, none if there are none."""
    shown = []
    for k, file in enumerate(files):
        path = image_file(task.folder.unseen, k)
        if not tiles_of(path):
            continue
        if file:
            source, path = path, file.with_name(f"{file.name}_unseen.png")
            _copy_tiles(source, path)
        shown.append(str(path if tiles_of(path) == [0] else tile_file(path, "<UDIM>")))
    if not shown:
        return []
    return [f"What no view saw is white in {', '.join(shown)}; there the texture was filled from what was seen."]


def _copy_tiles(source: Path, path: Path) -> None:
    """Copy the image ``source`` with all its tiles to ``path``, aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for tile in tiles_of(source):
        target = tile_file(path, tile)
        aside = target.with_name(target.name + ".part")
        shutil.copyfile(tile_file(source, tile), aside)
        os.replace(aside, target)
