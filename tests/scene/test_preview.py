"""A preview shows on the object's own material, follows its file, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.core.png import encode_png
from csd_addon.scene.material import apply_texture, base_color_image
from csd_addon.scene.preview import Preview, hide_previews, show_preview
from csd_addon.scene.unwrap import put_layer, take_layer, unwrap_into_new_layer
from tests.scene.objects import (
    base_color_source,
    checked,
    cube,
    datablocks,
    fingerprint,
    image_of,
    link,
    node_tree,
    principled,
    quarters,
    rigged_cube,
    shader_of,
)


def picture(path: Path, color: tuple[int, int, int]) -> Path:
    path.write_bytes(encode_png(np.full((8, 8, 3), color, np.uint8)))
    return path


def preview_of(obj: bpy.types.Object, tmp_path: Path, **given) -> Preview:
    layer = obj.data.uv_layers[0].name if obj.data.uv_layers else ""
    return Preview(picture(tmp_path / "basecolor.png", (255, 0, 0)), **{"uv_map": layer, "job": "one", **given})


def state(*objects: bpy.types.Object) -> tuple:
    trees = {m.name: node_tree(m) for m in bpy.data.materials if m.node_tree}
    return [fingerprint(obj) for obj in objects], trees, datablocks()


def plain() -> bpy.types.Object:
    obj = cube("Plain")
    obj.data.materials.append(principled("Own", (0, 1, 0, 1)))
    return obj


def checkered() -> bpy.types.Object:
    obj = plain()
    checker = checked(obj.active_material)
    obj.active_material.node_tree.nodes.active = checker
    return obj


def textured() -> bpy.types.Object:
    obj = plain()
    apply_texture(obj, image_of(quarters(8)), "UVMap")
    return obj


def two_users() -> bpy.types.Object:
    obj = plain()
    other = cube("Other")
    other.data.materials.append(obj.active_material)
    return obj


def empty_slot() -> bpy.types.Object:
    obj = cube("Empty slot")
    obj.data.materials.append(None)
    return obj


def without_nodes() -> bpy.types.Object:
    obj = cube("Without nodes")
    obj.data.materials.append(bpy.data.materials.new("Bare"))
    return obj


OBJECTS = [plain, checkered, textured, two_users, empty_slot, lambda: cube("No slot"), rigged_cube]


@pytest.mark.parametrize("make", OBJECTS)
def test_it_shows_and_leaves_no_trace(make: Callable[[], bpy.types.Object], tmp_path: Path) -> None:
    obj = make()
    before, former = state(*bpy.data.objects), base_color_image(obj)
    assert show_preview(obj, preview_of(obj, tmp_path))
    shown = {base_color_source(slot.material).image for slot in obj.material_slots}
    (image,) = shown
    assert image.pixels[:3] == (1.0, 0.0, 0.0) and base_color_image(obj) == former
    assert obj.active_material.node_tree.nodes.active.image == image, "solid shading shows the active image node"
    hide_previews()
    assert state(*bpy.data.objects) == before


def test_a_material_without_nodes_gets_them_for_the_time_of_the_preview(tmp_path: Path) -> None:
    obj = without_nodes()
    material, had = obj.active_material, obj.active_material.use_nodes
    assert show_preview(obj, preview_of(obj, tmp_path)) and base_color_source(material).image
    hide_previews()
    assert material.use_nodes == had and obj.active_material == material and not material.keys()


def test_another_object_keeps_the_material_that_both_share(tmp_path: Path) -> None:
    obj = two_users()
    other = bpy.data.objects["Other"]
    show_preview(obj, preview_of(obj, tmp_path))
    assert base_color_source(other.active_material) is None and obj.active_material != other.active_material
    hide_previews()
    assert obj.active_material == other.active_material


def test_new_pixels_need_no_new_nodes(tmp_path: Path) -> None:
    obj = plain()
    preview = preview_of(obj, tmp_path)
    show_preview(obj, preview)
    nodes, image = set(node_tree(obj.active_material)["nodes"]), base_color_source(obj.active_material).image
    assert image.pixels[:3] == (1.0, 0.0, 0.0)
    picture(preview.image, (0, 0, 255))
    assert show_preview(obj, preview)
    assert image.pixels[:3] == (0.0, 0.0, 1.0) and set(node_tree(obj.active_material)["nodes"]) == nodes
    assert len(bpy.data.images) == 1


def test_only_the_chosen_slots_show_it(tmp_path: Path) -> None:
    obj = rigged_cube()
    show_preview(obj, preview_of(obj, tmp_path, slots=(1,)))
    assert base_color_source(bpy.data.materials["Red"]) is None and base_color_source(bpy.data.materials["Blue"]).image


def test_a_new_uv_layer_comes_and_goes_with_it(tmp_path: Path) -> None:
    obj = cube("No UVs", uvs=False)
    before = state(obj)
    name = unwrap_into_new_layer(obj)
    uvs = take_layer(obj, name)
    assert state(obj) == before and uvs.reshape(-1, 2).std() > 0.1
    assert show_preview(obj, preview_of(obj, tmp_path, uv_map=name, uvs=uvs))
    there = np.empty(len(uvs), np.float32)
    obj.data.uv_layers[name].uv.foreach_get("vector", there)
    assert np.array_equal(there, uvs)
    hide_previews()
    assert state(obj) == before


def test_uvs_of_other_faces_are_refused(tmp_path: Path) -> None:
    obj = cube("No UVs", uvs=False)
    preview = preview_of(obj, tmp_path, uv_map="CSD UV", uvs=np.zeros(10, np.float32))
    assert not show_preview(obj, preview) and not obj.data.uv_layers and not bpy.data.images
    with pytest.raises(ValueError, match="The faces of 'No UVs' have changed meanwhile"):
        put_layer(obj, preview.uv_map, preview.uvs)


def test_in_edit_mode_nothing_is_touched(tmp_path: Path) -> None:
    obj = plain()
    before = state(obj)
    bpy.ops.object.mode_set(mode="EDIT")
    assert not show_preview(obj, preview_of(obj, tmp_path))
    bpy.ops.object.mode_set(mode="OBJECT")
    assert state(obj) == before


def test_a_missing_file_shows_nothing(tmp_path: Path) -> None:
    obj = plain()
    preview = preview_of(obj, tmp_path)
    preview.image.unlink()
    assert not show_preview(obj, preview) and base_color_source(obj.active_material) is None


def test_what_the_artist_links_meanwhile_stays(tmp_path: Path) -> None:
    obj = checkered()
    show_preview(obj, preview_of(obj, tmp_path))
    material = obj.active_material
    noise = material.node_tree.nodes.new("ShaderNodeTexNoise")
    link(material, noise.outputs["Color"], shader_of(material).inputs["Base Color"])
    hide_previews()
    assert base_color_source(material) == noise


def test_a_node_that_was_put_between_gets_the_former_source(tmp_path: Path) -> None:
    obj = checkered()
    show_preview(obj, preview_of(obj, tmp_path))
    material = obj.active_material
    between = material.node_tree.nodes.new("ShaderNodeInvert")
    link(material, base_color_source(material).outputs[0], between.inputs["Color"])
    link(material, between.outputs[0], shader_of(material).inputs["Base Color"])
    hide_previews()
    assert between.inputs["Color"].links[0].from_node.bl_idname == "ShaderNodeTexChecker"


def test_there_is_one_preview_at_a_time(tmp_path: Path) -> None:
    first, second = plain(), cube("Second")
    show_preview(first, preview_of(first, tmp_path, job="one"))
    assert base_color_source(first.active_material).image
    show_preview(second, preview_of(second, tmp_path, job="two"))
    assert base_color_source(first.active_material) is None
    hide_previews()
    assert not second.material_slots


def test_an_undo_step_from_the_time_of_the_preview_is_cleaned(tmp_path: Path) -> None:
    obj = cube("No UVs", uvs=False)
    uvs = take_layer(obj, unwrap_into_new_layer(obj))
    bpy.ops.ed.undo_push(message="clean")
    before = state(obj)
    show_preview(obj, preview_of(obj, tmp_path, uv_map="CSD UV", uvs=uvs))
    obj.location.x = 1
    bpy.ops.ed.undo_push(message="moved while a job runs")
    hide_previews()
    obj.location.x = 2
    bpy.ops.ed.undo_push(message="moved afterwards")
    bpy.ops.ed.undo()
    obj = bpy.data.objects["No UVs"]
    assert obj.material_slots and obj.data.uv_layers, "the step holds the preview"
    hide_previews()
    obj.location.x = 0
    bpy.context.view_layer.update()
    assert state(obj) == before
    bpy.ops.ed.undo()
    assert state(bpy.data.objects["No UVs"]) == before


def test_a_deleted_object_leaves_nothing_in_the_file(tmp_path: Path) -> None:
    obj = checkered()
    material = obj.active_material
    show_preview(obj, preview_of(obj, tmp_path))
    bpy.data.objects.remove(obj)
    hide_previews()
    assert not bpy.data.images and [n.bl_idname for n in material.node_tree.nodes].count("ShaderNodeTexImage") == 0
    assert material.name == "Own", "the artist's material is kept even without a user"
