"""From a Blender object to a snapshot of what is seen of it, and from that to ``MeshData``.

What is textured is what is seen: the evaluated mesh (modifiers, shape keys), with the object's rotation and scale
applied and its location left out, so that Z is up as in the viewport and a stretched object is textured stretched.
Only a pose is left out: a rigged mesh is textured at rest, so that a bent arm hides nothing of the body and the texture
does not depend on the current frame. Nothing in Blender is changed.

Evaluating a mesh takes most of the time, so a click does it once: whatever needs the mesh reads a ``MeshSnapshot``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
import numpy as np

from ..core.mesh import MeshData

# Kinds of objects that Blender can turn into meshes.
_CONVERTIBLE = ("CURVE", "CURVES", "SURFACE", "FONT", "META", "POINTCLOUD")


@dataclass(frozen=True)
class MeshSnapshot:
    """What is seen of one object, as arrays that stay when the object changes.

    positions: (V, 3) float32. triangles: (T, 3) int32, vertices of the corners. corner_normals: (T, 3, 3) float32.
    loops: (T, 3) int32, the corners' places in ``layers``. layers: each UV layer's (L, 2) float32 by name.
    rendered: the name of the layer that renders, empty if there is none. polygon, material: (T,) int32, the face and
    the material of each triangle; a material beyond the object's slots was put there by Geometry Nodes. selected:
    (P,) bool, of faces. groups: weights (V,) float32 of the vertex groups that were asked for, by name.
    """

    positions: np.ndarray
    triangles: np.ndarray
    corner_normals: np.ndarray
    loops: np.ndarray
    layers: Mapping[str, np.ndarray]
    rendered: str
    polygon: np.ndarray
    material: np.ndarray
    selected: np.ndarray
    groups: Mapping[str, np.ndarray]

    def mesh(self, uv_map: str = "") -> MeshData:
        """The triangles with the UV layer ``uv_map`` (empty: the one that renders)."""
        return MeshData(self.positions, self.triangles, self.corner_normals, self.corner_uvs(uv_map))

    def corner_uvs(self, uv_map: str = "") -> np.ndarray:
        """(T, 3, 2) float32 UVs in the layer ``uv_map`` (empty: the one that renders); zero if there is none."""
        layer = self.layers.get(uv_map or self.rendered)
        if layer is None:
            return np.zeros((*self.loops.shape, 2), np.float32)
        return np.take(layer, self.loops, axis=0)


def read_snapshot(obj: bpy.types.Object, group: str = "") -> MeshSnapshot:
    """Evaluate ``obj`` once and read all of it. group: the vertex group whose weights are wanted, empty for none.

    Raises ``ValueError`` with a sentence if ``obj`` is no mesh, Blender does not evaluate it, or it is scaled to
    nothing.
    """
    with _evaluated_mesh(obj) as mesh:
        loops = _get(mesh.loop_triangles, "loops", (len(mesh.loop_triangles), 3), np.int32)
        # The attribute, which an empty mesh lacks, is copied as it lies in memory; ``vertices`` of triangles are asked
        # for one by one.
        corners = _attribute(mesh, ".corner_vert", "CORNER", np.int32, len(mesh.loops))
        normals = np.take(_get(mesh.corner_normals, "vector", (len(mesh.loops), 3), np.float32), loops, axis=0)
        positions, normals, order = _oriented(
            _get(mesh.vertices, "co", (len(mesh.vertices), 3), np.float32), normals, obj
        )
        loops = loops[:, order]
        polygon = _get(mesh.loop_triangle_polygons, "value", (len(loops), 1), np.int32)[:, 0]
        return MeshSnapshot(
            positions, corners[loops], normals[:, order], loops,
            {layer.name: _get(layer.uv, "vector", (len(mesh.loops), 2), np.float32) for layer in mesh.uv_layers},
            active_uv_map(obj), polygon, _materials(mesh)[polygon],
            _attribute(mesh, ".select_poly", "FACE", np.bool_, len(mesh.polygons)),
            {group: _group_weights(mesh, obj.vertex_groups[group].index)} if group else {},
        )  # fmt: skip


def read_mesh(obj: bpy.types.Object, uv_map: str = "") -> MeshData:
    """Triangles of the evaluated ``obj`` with the UV layer ``uv_map`` (empty: the one that renders).

    UVs are zero where the object has no such layer (see ``has_uvs``). Raises ``ValueError`` as ``read_snapshot`` does.
    """
    return read_snapshot(obj).mesh(uv_map)


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
def _evaluated_mesh(obj: bpy.types.Object) -> Iterator[bpy.types.Mesh]:
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


def has_uvs(obj: bpy.types.Object) -> bool:
    """Whether the object's own mesh has at least one UV layer."""
    return len(obj.data.uv_layers) > 0


def active_uv_map(obj: bpy.types.Object) -> str:
    """Name of the UV layer that renders, empty if there is none."""
    layer = next((layer for layer in obj.data.uv_layers if layer.active_render), obj.data.uv_layers.active)
    return layer.name if layer else ""


def _get(collection: bpy.types.bpy_prop_collection, name: str, shape: tuple[int, int], dtype: type) -> np.ndarray:
    values = np.empty(shape[0] * shape[1], dtype)
    collection.foreach_get(name, values)
    return values.reshape(shape)


def _attribute(mesh: bpy.types.Mesh, name: str, domain: str, dtype: type, count: int) -> np.ndarray:
    """(count,) values of an attribute that Blender leaves away where all are zero."""
    values, attribute = np.zeros(count, dtype), mesh.attributes.get(name)
    if attribute and (attribute.domain, attribute.data_type) == (domain, "BOOLEAN" if dtype is np.bool_ else "INT"):
        attribute.data.foreach_get("value", values)
    return values


def _materials(mesh: bpy.types.Mesh) -> np.ndarray:
    """(P,) int32, the material of each face; as in Blender, a number too high means the last one."""
    indices = _attribute(mesh, "material_index", "FACE", np.int32, len(mesh.polygons))
    return indices.clip(0, max(len(mesh.materials) - 1, 0))


def _group_weights(mesh: bpy.types.Mesh, group: int) -> np.ndarray:
    """(V,) float32: each vertex's weight in the group of that index, 0 where it is not in it."""
    found = (next((e.weight for e in vertex.groups if e.group == group), 0.0) for vertex in mesh.vertices)
    return np.fromiter(found, np.float32, len(mesh.vertices))


def _oriented(
    positions: np.ndarray, normals: np.ndarray, obj: bpy.types.Object
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Apply the linear part of the object's world matrix to (V, 3) and (T, 3, 3).

    Returns the order of a triangle's corners too: turned round where the object is mirrored.
    """
    linear = np.array(obj.matrix_world.to_3x3(), dtype=np.float64)
    if np.array_equal(linear, np.eye(3)):
        return positions, normals, [0, 1, 2]
    determinant = float(np.linalg.det(linear))
    if abs(determinant) < 1e-30:
        raise ValueError(f"'{obj.name}' is scaled to nothing along an axis; apply or repair its scale.")
    positions = (positions.astype(np.float64) @ linear.T).astype(np.float32)
    # Normals transform with the inverse transpose: rows times the inverse. Outside stays outside under a mirror.
    inverse = np.linalg.inv(linear)
    normals = normals @ (inverse / np.abs(inverse).max()).astype(np.float32)
    lengths = np.sqrt(np.einsum("tcx,tcx->tc", normals, normals))[..., None]
    normals /= np.where(lengths > 0, lengths, 1)
    return positions, normals, [0, 1, 2] if determinant > 0 else [0, 2, 1]


def is_same_surface(one: MeshData, other: MeshData) -> bool:
    """Whether both are the same triangles at the same place, in space and in the UV map."""
    if not np.array_equal(one.triangles, other.triangles) or one.positions.shape != other.positions.shape:
        return False
    pairs = ((one.positions, other.positions), (one.corner_uvs, other.corner_uvs))
    return all(np.allclose(a, b, atol=1e-5, equal_nan=True) for a, b in pairs)
