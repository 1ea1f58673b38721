"""The texture on the artist's material: added, found again, and taken away without a trace."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

from csd_addon.scene.material import LABEL, ROLE, apply_texture, base_color_image, revert
from tests.scene.objects import (
    base_color_source,
    cube,
    datablocks,
    fingerprint,
    node_tree,
    principled,
    rigged_cube,
    shader_of,
)


def image(name: str = "paint") -> bpy.types.Image:
    return bpy.data.images.new(name, 8, 8)


def own_nodes(material: bpy.types.Material) -> list[bpy.types.Node]:
    return [node for node in material.node_tree.nodes if ROLE in node]


def textured(material: bpy.types.Material, picture: bpy.types.Image, uv_map: str) -> bool:
    """Whether ``picture``, looked up through ``uv_map``, is the material's base colour and its active image."""
    node = base_color_source(material)
    layer = node.inputs["Vector"].links[0].from_node
    return node.image == picture and layer.uv_map == uv_map and material.node_tree.nodes.active == node


def test_apply_and_revert_leave_everything_as_it_was() -> None:
    obj = rigged_cube()
    materials = [slot.material for slot in obj.material_slots]
    before, trees, counts = fingerprint(obj), [node_tree(m) for m in materials], datablocks()
    picture = image()
    assert apply_texture(obj, picture, "Second") == []
    assert fingerprint(obj) == before, "applying changes the material's nodes only"
    assert all(textured(m, picture, "Second") for m in materials) and base_color_image(obj) == picture
    assert {n.label for m in materials for n in own_nodes(m)} == {LABEL}
    assert revert(obj) == 2 and base_color_image(obj) is None
    assert fingerprint(obj) == before and [node_tree(m) for m in materials] == trees and datablocks() == counts


def test_a_former_link_is_kept_and_comes_back() -> None:
    obj = cube()
    material = principled("Checked")
    checker = material.node_tree.nodes.new("ShaderNodeTexChecker")
    material.node_tree.links.new(checker.outputs["Color"], shader_of(material).inputs["Base Color"])
    material.node_tree.nodes.active = checker
    obj.data.materials.append(material)
    before = node_tree(material)
    apply_texture(obj, image(), "UVMap")
    assert base_color_source(material).label == LABEL and checker.name in material.node_tree.nodes
    revert(obj)
    assert base_color_source(material) == checker and node_tree(material) == before


def test_a_former_source_that_is_gone_meanwhile() -> None:
    obj = cube()
    material = principled("Checked")
    checker = material.node_tree.nodes.new("ShaderNodeTexChecker")
    material.node_tree.links.new(checker.outputs["Color"], shader_of(material).inputs["Base Color"])
    obj.data.materials.append(material)
    apply_texture(obj, image(), "UVMap")
    material.node_tree.nodes.remove(checker)
    assert revert(obj) == 1 and base_color_source(material) is None and not own_nodes(material)


def test_textured_twice_leaves_one_set_of_nodes_and_one_image() -> None:
    obj = cube()
    material = principled("Checked")
    checker = material.node_tree.nodes.new("ShaderNodeTexChecker")
    material.node_tree.links.new(checker.outputs["Color"], shader_of(material).inputs["Base Color"])
    obj.data.materials.append(material)
    before, counts = node_tree(material), datablocks()
    apply_texture(obj, image("first"), "UVMap")
    apply_texture(obj, image("second"), "UVMap")
    assert sorted(n[ROLE] for n in own_nodes(material)) == ["frame", "image", "uv"]
    assert [i.name for i in bpy.data.images] == ["second"], "nobody uses the first image any more"
    revert(obj)
    assert node_tree(material) == before and datablocks() == counts


def test_a_shared_material_is_copied_and_given_back() -> None:
    obj, other = cube("Mine"), cube("Theirs")
    shared = principled("Shared", (0.2, 0.4, 0.6, 1))
    obj.data.materials.append(shared)
    other.data.materials.append(shared)
    before, tree, counts = fingerprint(obj), node_tree(shared), datablocks()
    notes = apply_texture(obj, image(), "UVMap")
    assert len(notes) == 1 and "'Shared' is used by other objects too; 'Mine' got its own copy" in notes[0]
    assert obj.active_material != shared and other.active_material == shared and node_tree(shared) == tree
    revert(obj)
    assert obj.active_material == shared and fingerprint(obj) == before and datablocks() == counts


def test_a_shared_material_in_two_slots_is_copied_once() -> None:
    obj, other = cube("Mine"), cube("Theirs")
    shared = principled("Shared")
    for user in (obj, obj, other):
        user.data.materials.append(shared)
    before, counts = fingerprint(obj), datablocks()
    assert len(apply_texture(obj, image(), "UVMap")) == 1
    assert obj.material_slots[0].material == obj.material_slots[1].material != shared
    revert(obj)
    assert fingerprint(obj) == before and datablocks() == counts


def test_objects_of_one_mesh_share_its_texture() -> None:
    obj = cube("One")
    obj.data.materials.append(principled("Own"))
    twin = bpy.data.objects.new("Twin", obj.data)
    bpy.context.scene.collection.objects.link(twin)
    assert apply_texture(obj, image(), "UVMap") == [] and twin.active_material == obj.active_material


def test_no_slot() -> None:
    obj = cube("Bare")
    obj.data.polygons[4].material_index = 3
    before, counts = fingerprint(obj), datablocks()
    notes = apply_texture(obj, image(), "UVMap")
    assert notes == ["'Bare' had no material; a new one was added."]
    assert textured(obj.active_material, base_color_image(obj), "UVMap")
    revert(obj)
    assert fingerprint(obj) == before and datablocks() == counts


def test_an_empty_slot_stays_an_empty_slot() -> None:
    obj = cube("Half")
    obj.data.materials.append(None)
    before, counts = fingerprint(obj), datablocks()
    assert apply_texture(obj, image(), "UVMap") == ["An empty material slot of 'Half' got a new material."]
    revert(obj)
    assert fingerprint(obj) == before and datablocks() == counts


def test_an_empty_slot_among_others() -> None:
    obj = cube("Mixed")
    for material in (principled("Full"), None):
        obj.data.materials.append(material)
    before, counts = fingerprint(obj), datablocks()
    apply_texture(obj, image(), "UVMap")
    assert all(slot.material for slot in obj.material_slots)
    revert(obj)
    assert fingerprint(obj) == before and datablocks() == counts


def test_slots_linked_to_the_object() -> None:
    obj = cube("Linked")
    obj.data.materials.append(None)
    obj.material_slots[0].link = "OBJECT"
    obj.material_slots[0].material = principled("Own")
    before = fingerprint(obj)
    apply_texture(obj, image(), "UVMap")
    assert fingerprint(obj) == before and textured(obj.active_material, base_color_image(obj), "UVMap")
    revert(obj)
    assert fingerprint(obj) == before


@pytest.mark.parametrize("kept", ["emission", "output only", "nothing"])
def test_materials_without_a_principled_shader(kept: str) -> None:
    obj = cube()
    material = principled("Glow")
    nodes = material.node_tree.nodes
    nodes.remove(shader_of(material))
    output = next(iter(nodes))
    if kept == "emission":
        emission = nodes.new("ShaderNodeEmission")
        material.node_tree.links.new(emission.outputs[0], output.inputs["Surface"])
    elif kept == "nothing":
        nodes.remove(output)
    obj.data.materials.append(material)
    before = node_tree(material)
    apply_texture(obj, image(), "UVMap")
    shader = shader_of(material)
    assert shader.outputs[0].links[0].to_node.bl_idname == "ShaderNodeOutputMaterial"
    assert textured(material, base_color_image(obj), "UVMap")
    revert(obj)
    assert node_tree(material) == before


def test_a_material_without_nodes_is_without_them_again() -> None:
    obj = cube()
    material = bpy.data.materials.new("Plain")
    # From 5.0 on every material has nodes; before, a new one has none.
    nodes = bpy.app.version >= (5, 0, 0)
    assert (material.node_tree is not None) == nodes
    material.diffuse_color = (1, 0, 0, 1)
    obj.data.materials.append(material)
    apply_texture(obj, image(), "UVMap")
    assert textured(material, base_color_image(obj), "UVMap")
    revert(obj)
    assert (nodes or not material.use_nodes) and tuple(material.diffuse_color) == (1, 0, 0, 1)
    assert list(material.keys()) == []


def test_a_material_of_a_library_is_copied(tmp_path: Path) -> None:
    principled("Fixed").use_fake_user = True
    library = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(library))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(library), link=True) as (source, target):
        target.materials = source.materials
    obj = cube()
    obj.data.materials.append(target.materials[0])
    apply_texture(obj, image(), "UVMap")
    assert obj.active_material.library is None and base_color_image(obj)
    revert(obj)
    assert obj.active_material.library is not None


def test_an_image_that_others_use_is_kept() -> None:
    obj = cube()
    obj.data.materials.append(principled("Own"))
    picture = image()
    picture.use_fake_user = True
    apply_texture(obj, picture, "UVMap")
    revert(obj)
    assert picture.name in bpy.data.images


def test_revert_without_a_texture_does_nothing() -> None:
    obj = rigged_cube()
    before = fingerprint(obj)
    assert revert(obj) == 0 and fingerprint(obj) == before


def test_apply_saved_and_opened_again_can_be_reverted(tmp_path: Path) -> None:
    obj = rigged_cube()
    before = fingerprint(obj)
    apply_texture(obj, image(), "Second")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "textured.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "textured.blend"))
    obj = bpy.data.objects["Rigged"]
    assert revert(obj) == 2 and fingerprint(obj) == before
