"""From a Blender object to ``MeshData``.

What is textured is what is seen: the evaluated mesh (modifiers, shape keys), with the object's rotation and scale
applied and its location left out, so that Z is up as in the viewport and a stretched object is textured stretched.
Only a pose is left out: a rigged mesh is textured at rest, so that a bent arm hides nothing of the body and the texture
does not depend on the current frame. Nothing in Blender is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from ..core.mesh import MeshData

# Kinds of objects that Blender can turn into meshes.
_CONVERTIBLE = ("CURVE", "CURVES", "SURFACE", "FONT", "META", "POINTCLOUD")


def read_mesh(obj: bpy.types.Object, uv_map: str = "") -> MeshData:
    """Triangles of the evaluated ``obj`` with the UV layer ``uv_map`` (empty: the active one).

    UVs are zero where the object has no such layer (see ``has_uvs``). Raises ``ValueError`` with a sentence if
    ``obj`` is no mesh.
    """
    with evaluated_mesh(obj) as mesh:
        return _oriented(_read(mesh, uv_map or active_uv_map(obj)), obj)


def read_material_index(obj: bpy.types.Object) -> np.ndarray:
    """(T,) int32, the material slot of each triangle that ``read_mesh`` returns, in its order.

    A number beyond the object's slots is a material that Geometry Nodes have put there.
    """
    with evaluated_mesh(obj) as mesh:
        return material_index(mesh)


def is_rigged(obj: bpy.types.Object) -> bool:
    """Whether an armature bends ``obj``, so that its rest pose is read."""
    return bool(_bending(obj))


def require_mesh(obj: bpy.types.Object) -> None:
    """Raise ``ValueError`` with a sentence if ``obj`` is no mesh."""
    if obj.type != "MESH":
        raise ValueError(f"{no_mesh(obj)}; {what_instead(obj)}.")


def no_mesh(obj: bpy.types.Object) -> str:
    """What ``obj`` is, which is no mesh."""
    kind = "text" if obj.type == "FONT" else obj.type.lower().replace("_", " ")
    return f"'{obj.name}' is {'an' if kind[0] in 'aeiou' else 'a'} {kind}, not a mesh"


def what_instead(obj: bpy.types.Object) -> str:
    """What to do about an object that is no mesh."""
    if obj.type in _CONVERTIBLE:
        return "convert it to a mesh first (Object > Convert > Mesh)"
    return "select a mesh object"


@contextmanager
def evaluated_mesh(obj: bpy.types.Object) -> Iterator[bpy.types.Mesh]:
    """The mesh that is seen of ``obj`` at rest, with its triangles calculated, for the time of the block.

    Raises ``ValueError`` with a sentence if ``obj`` is no mesh or Blender does not evaluate it.
    """
    require_mesh(obj)
    if obj.mode == "EDIT":
        obj.update_from_editmode()
    with _at_rest(obj):
        depsgraph = bpy.context.evaluated_depsgraph_get()
        evaluated = obj.evaluated_get(depsgraph)
        if not evaluated.is_evaluated and (obj.modifiers or obj.data.shape_keys):
            raise ValueError(
                f"'{obj.name}' is disabled in viewports or its collection is excluded, so Blender does not apply its "
                "modifiers and shape keys; enable it (monitor symbol in the outliner), then try again."
            )
        mesh = evaluated.to_mesh(preserve_all_data_layers=True, depsgraph=depsgraph)
        try:
            mesh.calc_loop_triangles()
            yield mesh
        finally:
            evaluated.to_mesh_clear()


@contextmanager
def _at_rest(obj: bpy.types.Object) -> Iterator[None]:
    """Without its armatures' pose for the time of the block."""
    bending = _bending(obj)
    try:
        for modifier in bending:
            modifier.show_viewport = False
        yield
    finally:
        for modifier in bending:
            modifier.show_viewport = True


def _bending(obj: bpy.types.Object) -> list[bpy.types.Modifier]:
    return [m for m in obj.modifiers if m.type == "ARMATURE" and m.show_viewport and m.object]


def corner_loops(obj: bpy.types.Object, mesh: bpy.types.Mesh) -> np.ndarray:
    """(T, 3) int32: for each corner that ``read_mesh`` returns its index in ``mesh.loops``."""
    loops = _get(mesh.loop_triangles, "loops", (len(mesh.loop_triangles), 3), np.int32)
    return loops[:, _corner_order(obj)]


def material_index(mesh: bpy.types.Mesh) -> np.ndarray:
    """(T,) int32, the material of each triangle of ``mesh``; as in Blender, a number too high means the last one."""
    indices = np.zeros(len(mesh.loop_triangles), np.int32)
    # Asked for one by one.
    if len(mesh.materials) > 1:
        mesh.loop_triangles.foreach_get("material_index", indices)
    return indices.clip(0, max(len(mesh.materials) - 1, 0))


def has_uvs(obj: bpy.types.Object) -> bool:
    """Whether the object's own mesh has at least one UV layer."""
    return len(obj.data.uv_layers) > 0


def active_uv_map(obj: bpy.types.Object) -> str:
    """Name of the UV layer that renders, empty if there is none."""
    layer = next((layer for layer in obj.data.uv_layers if layer.active_render), obj.data.uv_layers.active)
    return layer.name if layer else ""


def _read(mesh: bpy.types.Mesh, uv_map: str) -> MeshData:
    vertices = _get(mesh.vertices, "co", (len(mesh.vertices), 3), np.float32)
    loops = _get(mesh.loop_triangles, "loops", (len(mesh.loop_triangles), 3), np.int32)
    # The attribute, which an empty mesh lacks, is copied as it lies in memory; ``vertices`` of triangles are asked for
    # one by one.
    vertex = mesh.attributes.get(".corner_vert")
    corners = _get(vertex.data, "value", (len(mesh.loops), 1), np.int32)[:, 0] if vertex else np.empty(0, np.int32)
    normals = _get(mesh.corner_normals, "vector", (len(mesh.loops), 3), np.float32)
    layer = mesh.uv_layers.get(uv_map)
    if layer is None:
        uvs = np.zeros((len(mesh.loops), 2), np.float32)
    else:
        uvs = _get(layer.uv, "vector", (len(mesh.loops), 2), np.float32)
    return MeshData(vertices, corners[loops], np.take(normals, loops, axis=0), np.take(uvs, loops, axis=0))


def _get(collection: bpy.types.bpy_prop_collection, name: str, shape: tuple[int, int], dtype: type) -> np.ndarray:
    values = np.empty(shape[0] * shape[1], dtype)
    collection.foreach_get(name, values)
    return values.reshape(shape)


def _corner_order(obj: bpy.types.Object) -> list[int]:
    """The order of a triangle's corners: turned round where the object is mirrored."""
    determinant = float(np.linalg.det(np.array(obj.matrix_world.to_3x3(), dtype=np.float64)))
    if abs(determinant) < 1e-30:
        raise ValueError(f"'{obj.name}' is scaled to nothing along an axis; apply or repair its scale.")
    return [0, 1, 2] if determinant > 0 else [0, 2, 1]


def _oriented(mesh: MeshData, obj: bpy.types.Object) -> MeshData:
    """Apply the linear part of the object's world matrix; a mirroring one also flips the winding."""
    linear = np.array(obj.matrix_world.to_3x3(), dtype=np.float64)
    if np.array_equal(linear, np.eye(3)):
        return mesh
    order = _corner_order(obj)
    positions = (mesh.positions.astype(np.float64) @ linear.T).astype(np.float32)
    # Normals transform with the inverse transpose: rows times the inverse. Outside stays outside under a mirror.
    inverse = np.linalg.inv(linear)
    normals = mesh.corner_normals @ (inverse / np.abs(inverse).max()).astype(np.float32)
    lengths = np.sqrt(np.einsum("tcx,tcx->tc", normals, normals))[..., None]
    normals /= np.where(lengths > 0, lengths, 1)
    return MeshData(positions, mesh.triangles[:, order], normals[:, order], mesh.corner_uvs[:, order])


def is_same_surface(one: MeshData, other: MeshData) -> bool:
    """Whether both are the same triangles at the same place, in space and in the UV map."""
    if not np.array_equal(one.triangles, other.triangles) or one.positions.shape != other.positions.shape:
        return False
    pairs = ((one.positions, other.positions), (one.corner_uvs, other.corner_uvs))
    return all(np.allclose(a, b, atol=1e-5, equal_nan=True) for a, b in pairs)
