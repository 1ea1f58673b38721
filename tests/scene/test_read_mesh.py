"""From Blender objects to arrays: what is seen is what is read."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from csd_addon.core.checks import check_mesh
from csd_addon.core.mesh import MeshData
from csd_addon.scene.read_mesh import active_uv_map, has_uvs, is_rigged, read_mesh
from tests.assets.cases import posed
from tests.scene.objects import cube, fingerprint, rigged_cube


def winding_agrees(mesh: MeshData) -> bool:
    """Whether each triangle's geometric normal points to the side of its corner normals."""
    a, b, c = (mesh.positions[mesh.triangles[:, k]] for k in range(3))
    return bool((np.einsum("tc,tkc->tk", np.cross(b - a, c - a), mesh.corner_normals) > 0).all())


def outwards(mesh: MeshData) -> bool:
    """Whether the normals of a centred convex mesh point away from the middle."""
    return bool((np.einsum("tkc,tkc->tk", mesh.positions[mesh.triangles], mesh.corner_normals) > 0).all())


def extent(mesh: MeshData) -> np.ndarray:
    return np.ptp(mesh.positions, axis=0)


def test_plain_cube() -> None:
    mesh = read_mesh(cube())
    assert mesh.positions.shape == (8, 3) and mesh.triangles.shape == (12, 3)
    assert mesh.triangle_areas().sum() == pytest.approx(24) and winding_agrees(mesh) and outwards(mesh)
    assert np.allclose(np.linalg.norm(mesh.corner_normals, axis=2), 1, atol=1e-6)
    # Blender's own cube map: six faces of 1/4 x 1/4.
    assert np.abs(mesh.uv_areas()).sum() == pytest.approx(6 / 16)


def test_modifiers_are_applied_and_nothing_changes() -> None:
    obj = rigged_cube()
    obj.modifiers.new("Subdivision", "SUBSURF").levels = 2
    before = fingerprint(obj)
    mesh = read_mesh(obj)
    assert len(mesh.triangles) > 12 * 16 and winding_agrees(mesh)
    assert fingerprint(obj) == before


def test_mirror_modifier_doubles_the_mesh_with_outward_normals() -> None:
    obj = cube()
    mesh = obj.data
    for vertex in mesh.vertices:
        vertex.co.x += 2
    obj.modifiers.new("Mirror", "MIRROR")
    read = read_mesh(obj)
    assert len(read.triangles) == 24 and winding_agrees(read)
    assert extent(read) == pytest.approx([6, 2, 2])


def test_shape_keys_are_what_is_seen() -> None:
    obj = cube()
    obj.shape_key_add(name="Basis")
    key = obj.shape_key_add(name="Tall")
    for point in key.data:
        point.co.z *= 3
    key.value = 0.5
    assert extent(read_mesh(obj)) == pytest.approx([2, 2, 4])


def test_rotation_and_scale_are_applied_and_location_is_not() -> None:
    obj = cube()
    obj.location, obj.scale, obj.rotation_euler = (50, -20, 7), (3, 1, 1), (0, 0, np.pi / 2)
    bpy.context.view_layer.update()
    mesh = read_mesh(obj)
    assert extent(mesh) == pytest.approx([2, 6, 2], abs=1e-5)
    assert np.abs(mesh.positions).max() == pytest.approx(3, abs=1e-5)
    assert winding_agrees(mesh) and np.allclose(np.linalg.norm(mesh.corner_normals, axis=2), 1, atol=1e-6)


def test_the_parents_scale_counts_too() -> None:
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.scale = (1, 1, 5)
    obj = cube()
    obj.parent = parent
    bpy.context.view_layer.update()
    assert extent(read_mesh(obj)) == pytest.approx([2, 2, 10], abs=1e-5)


@pytest.mark.parametrize("scale", [(-1, 1, 1), (1, -2, 1), (-1, -1, -1), (-1, -1, 1)])
def test_negative_scale_keeps_normals_and_winding_outwards(scale: tuple[int, int, int]) -> None:
    obj = cube()
    obj.scale = scale
    bpy.context.view_layer.update()
    mesh = read_mesh(obj)
    assert winding_agrees(mesh) and outwards(mesh)


def test_a_mirrored_object_keeps_its_corners_together() -> None:
    obj = cube()
    before = read_mesh(obj)
    obj.scale = (-1, 1, 1)
    bpy.context.view_layer.update()
    after = read_mesh(obj)
    pairs = [
        {(*np.round(p, 4), *np.round(uv, 4)) for p, uv in zip(points.reshape(-1, 3), uvs.reshape(-1, 2), strict=True)}
        for points, uvs in (
            (before.positions[before.triangles] * [-1, 1, 1], before.corner_uvs),
            (after.positions[after.triangles], after.corner_uvs),
        )
    ]
    assert pairs[0] == pairs[1]


def test_scale_of_nothing_is_a_sentence() -> None:
    obj = cube("Flat")
    obj.scale = (1, 0, 1)
    bpy.context.view_layer.update()
    with pytest.raises(ValueError, match="'Flat' is scaled to nothing"):
        read_mesh(obj)


def test_the_chosen_uv_layer_is_read() -> None:
    obj = cube()
    second = obj.data.uv_layers.new(name="Second")
    values = np.random.default_rng(0).random(2 * len(obj.data.loops), np.float32)
    second.uv.foreach_set("vector", values)
    obj.data.uv_layers[0].active_render = True
    assert active_uv_map(obj) == obj.data.uv_layers[0].name
    drawn = {tuple(uv) for uv in read_mesh(obj, "Second").corner_uvs.reshape(-1, 2)}
    assert drawn == {tuple(uv) for uv in values.reshape(-1, 2)}
    assert np.array_equal(read_mesh(obj).corner_uvs, read_mesh(obj, obj.data.uv_layers[0].name).corner_uvs)
    assert not np.array_equal(read_mesh(obj).corner_uvs, read_mesh(obj, "Second").corner_uvs)


def test_no_uv_layer_reads_as_zeros() -> None:
    obj = cube(uvs=False)
    assert not has_uvs(obj) and active_uv_map(obj) == "" and not read_mesh(obj).corner_uvs.any()


def test_a_camera_is_a_sentence() -> None:
    camera = bpy.data.objects.new("Eye", bpy.data.cameras.new("Eye"))
    with pytest.raises(ValueError, match="'Eye' is a camera, not a mesh"):
        read_mesh(camera)


def test_vertices_that_are_no_numbers_are_found() -> None:
    obj = cube("Broken")
    obj.data.vertices[3].co.x = float("nan")
    obj.data.vertices[5].co.z = float("nan")
    problems = check_mesh(read_mesh(obj), obj.name)
    assert [p.severity for p in problems] == ["error"]
    assert "'Broken' has 2 vertices whose position is not a number" in problems[0].sentence


def test_an_empty_mesh_is_found() -> None:
    obj = bpy.data.objects.new("Void", bpy.data.meshes.new("Void"))
    bpy.context.scene.collection.objects.link(obj)
    assert "'Void' has no faces" in check_mesh(read_mesh(obj), obj.name)[0].sentence


def test_edit_mode_reads_what_is_being_edited() -> None:
    import bmesh

    obj = cube()
    bpy.ops.object.mode_set(mode="EDIT")
    editing = bmesh.from_edit_mesh(obj.data)
    for vertex in editing.verts:
        vertex.co.z *= 4
    bmesh.update_edit_mesh(obj.data)
    assert extent(read_mesh(obj)) == pytest.approx([2, 2, 8]) and obj.mode == "EDIT"


def test_a_rigged_mesh_is_read_at_rest_and_stays_posed() -> None:
    obj = cube()
    at_rest = read_mesh(obj).positions
    posed(obj)
    seen = extent_of_evaluated(obj)
    before = fingerprint(obj)
    assert is_rigged(obj) and not np.allclose(seen, extent(read_mesh(obj)), atol=0.1), "the pose moves the cube"
    assert np.array_equal(read_mesh(obj).positions, at_rest)
    assert fingerprint(obj) == before and np.allclose(extent_of_evaluated(obj), seen)


def extent_of_evaluated(obj: bpy.types.Object) -> np.ndarray:
    bpy.context.view_layer.update()
    evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
    return np.ptp([vertex.co for vertex in evaluated.data.vertices], axis=0)


@pytest.mark.parametrize(
    ("make", "words"),
    [("curve.primitive_bezier_circle_add", "is a curve, not a mesh; convert it to a mesh first"),
     ("object.text_add", "is a text, not a mesh; convert it"),
     ("object.empty_add", "is an empty, not a mesh; select a")],
)  # fmt: skip
def test_what_is_no_mesh_comes_with_advice(make: str, words: str) -> None:
    kind, _, name = make.partition(".")
    getattr(getattr(bpy.ops, kind), name)()
    with pytest.raises(ValueError, match=words):
        read_mesh(bpy.context.object)


def test_an_object_that_blender_does_not_evaluate_is_a_sentence() -> None:
    obj = cube("Off")
    obj.hide_viewport = True
    bpy.context.view_layer.update()
    assert len(read_mesh(obj).triangles) == 12, "without modifiers there is nothing to miss"
    obj.modifiers.new("Bevel", "BEVEL")
    with pytest.raises(ValueError, match="'Off' is disabled in viewports"):
        read_mesh(obj)
