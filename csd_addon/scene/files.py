"""Opening an artist's file of any format that Blender reads, and saving the result beside nothing of theirs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import bpy

from .read_mesh import no_mesh, what_instead

_IMPORTERS: dict[str, Callable[[str], object]] = {
    ".obj": lambda path: bpy.ops.wm.obj_import(filepath=path),
    ".ply": lambda path: bpy.ops.wm.ply_import(filepath=path),
    ".stl": lambda path: bpy.ops.wm.stl_import(filepath=path),
    ".glb": lambda path: bpy.ops.import_scene.gltf(filepath=path),
    ".gltf": lambda path: bpy.ops.import_scene.gltf(filepath=path),
    ".fbx": lambda path: bpy.ops.import_scene.fbx(filepath=path),
    ".usd": lambda path: bpy.ops.wm.usd_import(filepath=path),
    ".usda": lambda path: bpy.ops.wm.usd_import(filepath=path),
    ".usdc": lambda path: bpy.ops.wm.usd_import(filepath=path),
    ".usdz": lambda path: bpy.ops.wm.usd_import(filepath=path),
}

SUFFIXES = (".blend", *_IMPORTERS)


def open_file(path: Path) -> None:
    """Open a .blend or import ``path`` into an empty file.

    Raises ``ValueError`` with a sentence if Blender can't read it.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path.name} is no format that Blender reads here; use one of {', '.join(SUFFIXES)}.")
    try:
        if suffix == ".blend":
            bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False)
        else:
            bpy.ops.wm.read_factory_settings(use_empty=True)
            _IMPORTERS[suffix](str(path))
    except RuntimeError as error:
        raise ValueError(f"Blender can't read {path}: {str(error).strip()}") from error
    # Some importers take a damaged file for an empty one, or for a mesh without faces.
    if suffix != ".blend" and not any(o.type != "MESH" or o.data.polygons for o in bpy.data.objects):
        raise ValueError(f"Blender can't read {path}: it found no faces in it; the file is empty or damaged.")


def open_suzanne() -> None:
    """An empty file with Blender's own monkey, smooth and subdivided once, for the demo."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_monkey_add()
    suzanne = bpy.context.object
    suzanne.name = "Suzanne"
    suzanne.modifiers.new("Subdivision", "SUBSURF").levels = 1
    for polygon in suzanne.data.polygons:
        polygon.use_smooth = True


def find_objects(names: list[str]) -> list[bpy.types.Object]:
    """The mesh objects called ``names``; without names the selected meshes, else every mesh of the scene.

    Raises ``ValueError`` naming what is missing or is no mesh.
    """
    if names:
        return [_mesh_called(name) for name in names]
    visible = [o for o in bpy.context.view_layer.objects if o.type == "MESH" and not o.hide_render]
    chosen = [o for o in visible if o.select_get()] or visible
    if not chosen:
        kinds = sorted({o.type.lower() for o in bpy.context.scene.objects}) or ["nothing"]
        raise ValueError(f"The file holds no mesh to texture, only: {', '.join(kinds)}.")
    return chosen


def _mesh_called(name: str) -> bpy.types.Object:
    obj = bpy.context.scene.objects.get(name)
    if obj is None:
        known = ", ".join(sorted(o.name for o in bpy.context.scene.objects if o.type == "MESH")) or "none"
        raise ValueError(f"There is no object '{name}' in the scene; its meshes are: {known}.")
    if obj.type != "MESH":
        raise ValueError(f"{no_mesh(obj)}; {what_instead(obj)}.")
    return obj


def save_copy(path: Path) -> None:
    """Save the open file as ``path``: aside first, then renamed. Raises ``OSError`` where that fails."""
    aside = path.with_name(f"{path.stem}.part.blend")
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(aside), check_existing=False, relative_remap=True)
    except RuntimeError as error:
        aside.unlink(missing_ok=True)
        raise OSError(f"Blender can't save {path}: {str(error).strip()}") from error
    os.replace(aside, path)
