"""Before and after: a look back that loses nothing."""

from __future__ import annotations

import bpy

from csd_addon.scene.compare import show_after, show_before, shows_before
from csd_addon.scene.material import (
    apply_edit,
    apply_texture,
    base_color_image,
    carries_texture,
    revert,
    undo_edit,
)
from tests.scene.objects import (
    base_color_source,
    checked,
    cube,
    datablocks,
    image_of,
    link,
    node_tree,
    principled,
    quarters,
    quarters_shown,
    shader_of,
)


def textured(name: str = "Texture", *, source: str = "") -> bpy.types.Object:
    obj = cube()
    obj.data.materials.append(principled("Own"))
    if source:
        (checked if source == "checker" else quarters_shown)(obj.active_material)
    apply_texture(obj, image_of(quarters(8), name), "UVMap")
    return obj


def test_the_former_source_is_back_for_a_look() -> None:
    obj = textured(source="checker")
    after, blocks = node_tree(obj.active_material), datablocks()
    assert not shows_before(obj)
    show_before(obj)
    assert shows_before(obj) and base_color_source(obj.active_material).bl_idname == "ShaderNodeTexChecker"
    assert datablocks() == blocks, "nothing is removed"
    show_after(obj)
    assert not shows_before(obj) and node_tree(obj.active_material) == after


def test_a_plain_colour_is_back_too_and_solid_shading_follows() -> None:
    obj = textured()
    ours = obj.active_material.node_tree.nodes.active
    assert ours.show_texture and ours.image
    show_before(obj)
    # Blender would show any image node that has an image.
    assert base_color_source(obj.active_material) is None and not ours.image
    assert carries_texture(obj)
    show_after(obj)
    assert base_color_source(obj.active_material) == ours and ours.show_texture and ours.image


def test_solid_shading_shows_the_former_image() -> None:
    obj = textured(source="image")
    ours = obj.active_material.node_tree.nodes.active
    show_before(obj)
    before = base_color_source(obj.active_material)
    assert before.image.name == "Quarters" and before.show_texture and not ours.show_texture
    show_after(obj)
    assert ours.show_texture and not before.show_texture


def test_before_an_edit_is_the_image_that_was_edited() -> None:
    obj = textured("Texture")
    apply_edit(obj, image_of(quarters(8), "Edit"), "UVMap", (0,), "")
    after = node_tree(obj.active_material)
    show_before(obj)
    assert base_color_image(obj).name == "Texture"
    show_after(obj)
    assert base_color_image(obj).name == "Edit" and node_tree(obj.active_material) == after


def test_a_node_of_the_artists_behind_ours_comes_back() -> None:
    obj = textured(source="checker")
    material = obj.active_material
    between = material.node_tree.nodes.new("ShaderNodeInvert")
    link(material, base_color_source(material).outputs[0], between.inputs["Color"])
    link(material, between.outputs[0], shader_of(material).inputs["Base Color"])
    show_before(obj)
    assert base_color_source(material).bl_idname == "ShaderNodeTexChecker"
    show_after(obj)
    assert base_color_source(material) == between


def test_editing_and_going_back_while_looking_at_before() -> None:
    obj = textured("Texture")
    apply_edit(obj, image_of(quarters(8), "First"), "UVMap", (0,), "")
    show_before(obj)
    apply_edit(obj, image_of(quarters(8), "Second"), "UVMap", (0,), "")
    assert base_color_image(obj).name == "Second" and not shows_before(obj)
    show_before(obj)
    assert undo_edit(obj) == "First" and undo_edit(obj) == "Texture"


def test_revert_while_looking_at_before_leaves_nothing() -> None:
    obj = cube()
    obj.data.materials.append(principled("Own"))
    before, blocks = node_tree(obj.active_material), datablocks()
    apply_texture(obj, image_of(quarters(8), "Texture"), "UVMap")
    apply_edit(obj, image_of(quarters(8), "Edit"), "UVMap", (0,), "")
    show_before(obj)
    revert(obj)
    assert node_tree(obj.active_material) == before and datablocks() == blocks
