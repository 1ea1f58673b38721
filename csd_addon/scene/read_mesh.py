"""From a Blender object to ``MeshData``.

What is textured is what is seen: the evaluated mesh (modifiers, shape keys, pose), with the object's rotation and
scale applied and its location left out, so that Z is up as in the viewport and a stretched object is textured
stretched. Nothing in Blender is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from ..core.mesh import MeshData


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


def require_mesh(obj: bpy.types.Object) -> None:
    """Raise ``ValueError`` with a sentence if ``obj`` is no mesh."""
    if obj.type != "MESH":
        raise ValueError(f"'{obj.name}' is a {obj.type.lower()}, not a mesh; select a mesh object.")


@contextmanager
def evaluated_mesh(obj: bpy.types.Object) -> Iterator[bpy.types.Mesh]:
    """The mesh that is seen of ``obj``, with its triangles calculated, for the time of the block.

    Raises ``ValueError`` with a sentence if ``obj`` is no mesh.
    """
    require_mesh(obj)
    if obj.mode == "EDIT":
        obj.update_from_editmode()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    evaluated = obj.evaluated_get(depsgraph)
    mesh = evaluated.to_mesh(preserve_all_data_layers=True, depsgraph=depsgraph)
    try:
        mesh.calc_loop_triangles()
        yield mesh
    finally:
        evaluated.to_mesh_clear()


def corner_loops(obj: bpy.types.Object, mesh: bpy.types.Mesh) -> np.ndarray:
    """(T, 3) int32: for each corner that ``read_mesh`` returns its index in ``mesh.loops``."""
    loops = _get(mesh.loop_triangles, "loops", (len(mesh.loop_triangles), 3), np.int32)
    return loops[:, _corner_order(obj)]


def material_index(mesh: bpy.types.Mesh) -> np.ndarray:
    """(T,) int32, the material of each triangle of ``mesh``; as in Blender, a number too high means the last one."""
    indices = np.empty(len(mesh.loop_triangles), np.int32)
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
    count = len(mesh.loop_triangles)
    vertices = _get(mesh.vertices, "co", (len(mesh.vertices), 3), np.float32)
    triangles = _get(mesh.loop_triangles, "vertices", (count, 3), np.int32)
    loops = _get(mesh.loop_triangles, "loops", (count, 3), np.int32)
    normals = _get(mesh.corner_normals, "vector", (len(mesh.loops), 3), np.float32)
    layer = mesh.uv_layers.get(uv_map)
    if layer is None:
        uvs = np.zeros((len(mesh.loops), 2), np.float32)
    else:
        uvs = _get(layer.uv, "vector", (len(mesh.loops), 2), np.float32)
    return MeshData(vertices, triangles, normals[loops], uvs[loops])


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
    order = _corner_order(obj)
    positions = (mesh.positions.astype(np.float64) @ linear.T).astype(np.float32)
    # Normals transform with the inverse transpose: rows times the inverse. Outside stays outside under a mirror.
    normals = mesh.corner_normals.astype(np.float64) @ np.linalg.inv(linear)
    lengths = np.linalg.norm(normals, axis=2, keepdims=True)
    normals = (normals / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return MeshData(positions, mesh.triangles[:, order], normals[:, order], mesh.corner_uvs[:, order])


def is_same_surface(one: MeshData, other: MeshData) -> bool:
    """Whether both are the same triangles at the same place, in space and in the UV map."""
    if not np.array_equal(one.triangles, other.triangles) or one.positions.shape != other.positions.shape:
        return False
    pairs = ((one.positions, other.positions), (one.corner_uvs, other.corner_uvs))
    return all(np.allclose(a, b, atol=1e-5, equal_nan=True) for a, b in pairs)
