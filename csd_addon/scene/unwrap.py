"""UVs for a mesh that has none: Blender's Smart UV Project into a new layer. Existing layers are never touched."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import bpy
import numpy as np

from ..core.polygons import Polygons, load_layer

LAYER_NAME = "CSD UV"
# Smart UV Project: faces that differ by less than this stay in one chart; gap between charts as a share of the image,
# room for two margins (``worker.bake.margin``), so that no chart shines through on another, from afar either.
_ANGLE = math.radians(66)
_GAP = 1 / 96


def unwrap_into_new_layer(obj: bpy.types.Object) -> str:
    """Unwrap ``obj`` into a new UV layer and return the layer's name.

    The work is done on a temporary copy, so mode, selection and the object's other data stay as they are.
    Raises ``ValueError`` with a sentence where Blender can't make one (read-only mesh, eight layers already).
    """
    mesh = obj.data
    if not mesh.is_editable:
        raise ValueError(f"'{obj.name}' comes from a linked library and has no UV map; make it local first.")
    with _object_mode():
        return _new_layer(obj, LAYER_NAME, _smart_project(mesh))


def _new_layer(obj: bpy.types.Object, name: str, uvs: np.ndarray) -> str:
    mesh = obj.data
    had_layers = len(mesh.uv_layers) > 0
    layer = mesh.uv_layers.new(name=name, do_init=False)
    if layer is None:
        raise ValueError(f"'{obj.name}' can't take another UV map; remove one of its {len(mesh.uv_layers)} layers.")
    layer.uv.foreach_set("vector", uvs)
    if not had_layers:
        layer.active_render = True
    mesh.update()
    # A copy: entering Edit Mode again invalidates ``layer``.
    return str(layer.name)


def polygons_of(obj: bpy.types.Object) -> Polygons:
    """The polygons of the object's own mesh, for unwrapping elsewhere."""
    mesh = obj.data
    with _object_mode() if mesh.is_editmode else nullcontext():
        mesh.calc_loop_triangles()
        triangles, count = mesh.loop_triangles, len(mesh.loop_triangles)
        positions = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", positions)
        found = {name: np.empty(3 * count, np.int32) for name in ("vertices", "loops")}
        for name, values in found.items():
            triangles.foreach_get(name, values)
        polygon = np.empty(count, np.int32)
        triangles.foreach_get("polygon_index", polygon)
    vertices, loops = (values.reshape(-1, 3) for values in found.values())
    return Polygons(positions.reshape(-1, 3), vertices, loops, polygon)


def restore_layer(obj: bpy.types.Object, name: str, kept: Path) -> str:
    """Give ``obj`` the UV layer ``name`` that a job had made, from the file that it ``kept``; returns its name.

    Without that file, or where it is of another mesh, ``obj`` is unwrapped anew: comparing it with the job's mesh then
    shows whether anything has changed. Raises ``ValueError`` with a sentence if the file is damaged.
    """
    uvs = load_layer(kept) if kept.exists() else None
    if uvs is None or len(uvs) != 2 * len(obj.data.loops):
        return unwrap_into_new_layer(obj)
    put_layer(obj, name, uvs)
    return name


def take_layer(obj: bpy.types.Object, name: str) -> np.ndarray:
    """Remove the UV layer ``name`` from ``obj``; returns its flat float32 UVs for ``put_layer``."""
    with _object_mode() if obj.data.is_editmode else nullcontext():
        layer = obj.data.uv_layers[name]
        uvs = np.empty(2 * len(obj.data.loops), np.float32)
        layer.uv.foreach_get("vector", uvs)
        obj.data.uv_layers.remove(layer)
    return uvs


def put_layer(obj: bpy.types.Object, name: str, uvs: np.ndarray) -> bool:
    """Give ``obj`` the UV layer that ``take_layer`` took, unless it has it; returns whether it was missing.

    Raises ``ValueError`` with a sentence if the mesh has other faces by now, or no room for another layer.
    """
    mesh = obj.data
    if name in mesh.uv_layers:
        return False
    with _object_mode() if mesh.is_editmode else nullcontext():
        if 2 * len(mesh.loops) != len(uvs):
            raise ValueError(f"The faces of '{obj.name}' have changed meanwhile, so its new UV map no longer fits.")
        _new_layer(obj, name, uvs)
    return True


@contextmanager
def _object_mode() -> Iterator[None]:
    """Object Mode for a while: in Edit Mode the mesh is stale and its layers can't be filled."""
    former = bpy.context.view_layer.objects.active
    mode = former.mode if former else "OBJECT"
    if mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    try:
        yield
    finally:
        if mode != "OBJECT":
            bpy.ops.object.mode_set(mode=mode)


def _smart_project(mesh: bpy.types.Mesh) -> np.ndarray:
    """Flat float32 UVs of all loops of ``mesh``, made on a copy of it."""
    copy = mesh.copy()
    helper = bpy.data.objects.new("CSD unwrap", copy)
    layer = bpy.context.view_layer
    former, selected = layer.objects.active, [o for o in layer.objects if o.select_get()]
    try:
        bpy.context.scene.collection.objects.link(helper)
        for other in selected:
            other.select_set(False)
        helper.select_set(True)
        layer.objects.active = helper
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.reveal(select=False)
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.uv.smart_project(angle_limit=_ANGLE, margin_method="FRACTION", island_margin=_GAP)
        bpy.ops.object.mode_set(mode="OBJECT")
        uvs = np.empty(2 * len(copy.loops), np.float32)
        copy.uv_layers.active.uv.foreach_get("vector", uvs)
        return uvs
    finally:
        if helper.mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        bpy.data.objects.remove(helper)
        bpy.data.meshes.remove(copy)
        layer.objects.active = former
        for other in selected:
            other.select_set(True)
