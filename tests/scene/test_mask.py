"""Masks by word: weights per corner in the order of ``read_mesh``, and painted images."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.scene.mask import corner_mask, painted_masks, vertex_group
from csd_addon.scene.pieces import run_to_end
from csd_addon.scene.read_mesh import read_mesh, read_snapshot
from tests.scene.objects import cube, fingerprint, image_of, principled, square


def read_corner_mask(obj: bpy.types.Object, mask: str) -> np.ndarray:
    """The weights of the corners of ``obj`` as it is now."""
    return corner_mask(obj, mask, read_snapshot(obj, vertex_group(obj, mask)))


def painted_mask(obj: bpy.types.Object, mask: str) -> np.ndarray:
    """The painted mask for a single image."""
    (weights,) = run_to_end(painted_masks(obj, mask, [0])).values()
    return weights


def positions(obj: bpy.types.Object) -> np.ndarray:
    """(T, 3, 3) float32: where each corner lies."""
    mesh = read_mesh(obj)
    return mesh.positions[mesh.triangles]


def select(obj: bpy.types.Object, *faces: int) -> None:
    """Select these faces as Edit Mode does, which also keeps edges and vertices in step."""
    mode = obj.mode
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_mode(type="FACE")
    bpy.ops.mesh.select_all(action="DESELECT")
    bpy.ops.object.mode_set(mode="OBJECT")
    for face in faces:
        obj.data.polygons[face].select = True
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.object.mode_set(mode=mode)


def test_no_mask_is_everything() -> None:
    obj = cube()
    weights = read_corner_mask(obj, "")
    assert weights.shape == (12, 3) and weights.dtype == np.float32 and (weights == 1).all()
    assert painted_mask(obj, "").tolist() == [[1]]


@pytest.mark.parametrize("mode", ["OBJECT", "EDIT"])
@pytest.mark.parametrize("subdivided", [False, True])
def test_the_selected_faces(mode: str, subdivided: bool) -> None:
    obj = cube()
    if subdivided:
        obj.modifiers.new("Subdivision", "SUBSURF").subdivision_type = "SIMPLE"
    top = max(obj.data.polygons, key=lambda polygon: polygon.center.z).index
    bpy.ops.object.mode_set(mode=mode)
    select(obj, top)
    before = fingerprint(obj)
    weights = read_corner_mask(obj, "faces")
    on_top = np.isclose(positions(obj)[..., 2], 1).all(axis=1)
    assert weights.tolist() == np.repeat(on_top[:, None], 3, axis=1).tolist()
    assert on_top.sum() == (8 if subdivided else 2) and fingerprint(obj) == before


@pytest.mark.parametrize("scale", [(1, 1, 1), (-1, 1, 1)])
def test_a_vertex_group_is_soft_and_its_corners_are_those_of_the_mesh(scale: tuple[int, int, int]) -> None:
    obj = cube()
    group = obj.vertex_groups.new(name="Soft")
    obj.vertex_groups.new(name="Other").add(range(8), 1, "REPLACE")
    for vertex in obj.data.vertices:
        if vertex.co.z > 0:
            group.add([vertex.index], 0.25 + 0.25 * (vertex.co.x > 0), "REPLACE")
    obj.scale = scale
    bpy.context.view_layer.update()
    points = positions(obj) * scale
    expected = np.where(points[..., 2] > 0, np.where(points[..., 0] > 0, 0.5, 0.25), 0)
    assert np.array_equal(read_corner_mask(obj, "group:Soft"), expected.astype(np.float32))
    assert painted_mask(obj, "group:Soft").tolist() == [[1]]


def test_a_vertex_group_after_modifiers() -> None:
    obj = cube()
    group = obj.vertex_groups.new(name="Top")
    group.add([v.index for v in obj.data.vertices if v.co.z > 0], 1, "REPLACE")
    obj.modifiers.new("Subdivision", "SUBSURF").subdivision_type = "SIMPLE"
    assert np.allclose(read_corner_mask(obj, "group:Top"), (positions(obj)[..., 2] + 1) / 2, atol=1e-6)


def test_the_faces_of_a_material() -> None:
    obj = cube()
    for name in ("Red", "Blue", "Red too"):
        obj.data.materials.append(principled(name))
    obj.material_slots[2].link = "OBJECT"
    obj.material_slots[2].material = bpy.data.materials["Red"]
    for index, polygon in enumerate(obj.data.polygons):
        polygon.material_index = index % 3
    obj.data.polygons[5].material_index = 9
    triangles = read_snapshot(obj).material
    assert triangles.dtype == np.int32 and triangles.tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]
    weights = read_corner_mask(obj, "material:Red")
    assert weights[:, 0].tolist() == [float(i != 1) for i in triangles] and (weights == weights[:, :1]).all()


def test_a_painted_image_that_lives_in_blender_only() -> None:
    obj = square()
    picture = np.zeros((2, 4, 4), np.float32)
    picture[0, 1] = (1, 1, 1, 1)
    picture[1, 2] = (0, 1, 0, 0)
    image = image_of(picture, "Mask")
    assert image.is_dirty and not image.packed_file
    weights = painted_mask(obj, "image:Mask")
    assert weights.shape == (2, 4) and weights.dtype == np.float32
    assert weights[0, 1] == 1 and weights[1, 2] == pytest.approx(0.7152) and np.count_nonzero(weights) == 2
    assert (read_corner_mask(obj, "image:Mask") == 1).all()


def test_a_file_is_read_and_does_not_stay(tmp_path: Path) -> None:
    image = image_of(np.full((2, 2, 3), 0.6, np.float32), "Grey")
    image.filepath_raw = str(tmp_path / "mask.png")
    image.save()
    bpy.data.images.remove(image)
    for word in ("image:{}", "{}"):
        assert np.allclose(painted_mask(square(), word.format(tmp_path / "mask.png")), 0.6)
    assert not bpy.data.images
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match="text.png is missing or damaged"):
        painted_mask(square(), f"image:{tmp_path / 'text.png'}")


def test_a_bare_word_is_a_group_then_an_image_then_a_material() -> None:
    obj = square("Named")
    obj.data.materials.append(principled("Word"))
    assert (read_corner_mask(obj, "Word") == 1).all() and painted_mask(obj, "Word").shape == (1, 1)
    image_of(np.ones((3, 3, 3), np.float32), "Word")
    assert painted_mask(obj, "Word").shape == (3, 3)
    obj.vertex_groups.new(name="Word").add([0], 0.5, "REPLACE")
    assert painted_mask(obj, "Word").shape == (1, 1) and read_corner_mask(obj, "Word").max() == 0.5


@pytest.mark.parametrize("mask", ["Gone", "group:Gone", "material:Gone", "image:Gone", "image:/gone/mask.png"])
def test_an_unknown_word_lists_what_there_is(mask: str) -> None:
    obj = square("Named")
    obj.vertex_groups.new(name="Arm")
    obj.data.materials.append(principled("Skin"))
    image_of(np.ones((2, 2, 3), np.float32), "Paint")
    for read in (read_corner_mask, painted_mask):
        with pytest.raises(ValueError, match="'Named'.*groups: Arm; materials: Skin; images: Paint"):
            read(obj, mask)


def test_a_mask_that_selects_nothing_is_a_sentence() -> None:
    obj = square("Named")
    obj.vertex_groups.new(name="Arm")
    for name in ("Skin", "Nail"):
        obj.data.materials.append(principled(name))
    image_of(np.zeros((2, 2, 3), np.float32), "Paint")
    select(obj)
    with pytest.raises(ValueError, match="No face of 'Named' is selected"):
        read_corner_mask(obj, "faces")
    with pytest.raises(ValueError, match="No vertex of 'Named' has a weight in the group 'Arm'"):
        read_corner_mask(obj, "Arm")
    with pytest.raises(ValueError, match="No face of 'Named' has the material 'Nail'"):
        read_corner_mask(obj, "material:Nail")
    with pytest.raises(ValueError, match="The mask image 'Paint' is black"):
        painted_mask(obj, "Paint")


def test_a_camera_is_a_sentence() -> None:
    camera = bpy.data.objects.new("Eye", bpy.data.cameras.new("Eye"))
    with pytest.raises(ValueError, match="'Eye' is a camera, not a mesh"):
        read_corner_mask(camera, "")
