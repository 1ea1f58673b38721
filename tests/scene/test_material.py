"""The texture on the artist's material: added, found again, and taken away without a trace."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

from csd_addon.scene.base_color import find_base_color
from csd_addon.scene.material import (
    apply_edit,
    apply_texture,
    base_color_image,
    is_edited,
    job_of,
    revert,
    undo_edit,
)
from csd_addon.scene.texture_nodes import LABEL, ROLE
from tests.scene.objects import (
    base_color_source,
    checked,
    cube,
    datablocks,
    fingerprint,
    node_tree,
    principled,
    quarters_shown,
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


def images() -> list[str]:
    return sorted(image.name for image in bpy.data.images)


def test_an_edit_keeps_the_artists_image_and_undo_shows_it_again() -> None:
    obj = cube()
    material = principled("Shown")
    obj.data.materials.append(material)
    texture = quarters_shown(material)
    before, tree, counts = fingerprint(obj), node_tree(material), datablocks()
    found = find_base_color(obj)
    edit = image("edit")
    assert apply_edit(obj, edit, found.uv_map, found.slots, "job 1") == []
    assert textured(material, edit, "UVMap") and find_base_color(obj).image == edit and job_of(edit) == "job 1"
    assert texture.image.name == "Quarters" and fingerprint(obj) == before
    assert undo_edit(obj) == "Quarters"
    assert base_color_source(material) == texture and node_tree(material) == tree and datablocks() == counts
    assert fingerprint(obj) == before


def test_edits_upon_edits_are_undone_one_by_one() -> None:
    obj = rigged_cube()
    materials = [slot.material for slot in obj.material_slots]
    before, trees, counts = fingerprint(obj), [node_tree(m) for m in materials], datablocks()
    apply_texture(obj, image("texture"), "UVMap", "job 0")
    assert not is_edited(obj)
    apply_edit(obj, image("first"), "Second", (0, 1), "job 1")
    apply_edit(obj, image("second"), "UVMap", (0, 1), "job 2")
    assert images() == ["first", "second", "texture"], "what was shown before stays in the file"
    assert {job_of(i) for i in bpy.data.images} == {"job 0", "job 1", "job 2"}
    assert all(sorted(n[ROLE] for n in own_nodes(m)) == ["frame", "image", "uv"] for m in materials)
    for name, uv_map in (("first", "Second"), ("texture", "UVMap")):
        assert is_edited(obj) and undo_edit(obj) == name
        assert all(textured(m, bpy.data.images[name], uv_map) for m in materials)
    assert images() == ["texture"] and not is_edited(obj) and undo_edit(obj) == ""
    assert fingerprint(obj) == before and [node_tree(m) for m in materials] == trees and datablocks() == counts
    with pytest.raises(ValueError, match="'Rigged' carries no texture of ours"):
        undo_edit(obj)


def test_undo_takes_back_the_last_edit_whichever_slot_it_was_on() -> None:
    obj = rigged_cube()
    red, blue = (slot.material for slot in obj.material_slots)
    apply_texture(obj, image("texture"), "UVMap")
    apply_edit(obj, image("on blue"), "UVMap", (1,), "")
    apply_edit(obj, image("on red"), "UVMap", (0,), "")
    assert (base_color_source(red).image.name, base_color_source(blue).image.name) == ("on red", "on blue")
    assert undo_edit(obj) == "texture" and images() == ["on blue", "texture"]
    assert undo_edit(obj) == "texture" and images() == ["texture"]
    assert undo_edit(obj) == "" and images() == []


def test_an_edit_touches_the_materials_of_its_slots_only() -> None:
    obj, other = rigged_cube(), cube("Theirs")
    other.data.materials.append(obj.material_slots[1].material)
    red = node_tree(obj.material_slots[0].material)
    shared = obj.material_slots[1].material
    before, tree, counts = fingerprint(obj), node_tree(shared), datablocks()
    notes = apply_edit(obj, image("edit"), "UVMap", (1,), "job")
    assert len(notes) == 1 and "'Blue' is used by other objects too; 'Rigged' got its own copy" in notes[0]
    assert node_tree(obj.material_slots[0].material) == red and node_tree(shared) == tree
    assert textured(obj.material_slots[1].material, bpy.data.images["edit"], "UVMap")
    assert undo_edit(obj) == "" and fingerprint(obj) == before and datablocks() == counts


def test_a_material_in_two_slots_changes_in_both() -> None:
    obj, other = cube("Mine"), cube("Theirs")
    shared = principled("Shared")
    for user in (obj, obj, other):
        user.data.materials.append(shared)
    apply_edit(obj, image(), "UVMap", (1,), "")
    assert obj.material_slots[0].material == obj.material_slots[1].material != shared


def test_revert_after_edits_goes_all_the_way() -> None:
    obj = rigged_cube()
    materials = [slot.material for slot in obj.material_slots]
    checked(materials[0])
    before, trees, counts = fingerprint(obj), [node_tree(m) for m in materials], datablocks()
    apply_texture(obj, image("texture"), "UVMap")
    apply_edit(obj, image("first"), "UVMap", (0, 1), "")
    apply_edit(obj, image("second"), "UVMap", (0,), "")
    assert revert(obj) == 2
    assert fingerprint(obj) == before and [node_tree(m) for m in materials] == trees and datablocks() == counts


def test_a_new_texture_replaces_all_edits() -> None:
    obj = rigged_cube()
    apply_texture(obj, image("texture"), "UVMap")
    apply_edit(obj, image("edit"), "UVMap", (0,), "")
    apply_texture(obj, image("new"), "UVMap")
    assert images() == ["new"]
    assert undo_edit(obj) == "" and images() == []


def test_edits_survive_saving_and_opening(tmp_path: Path) -> None:
    obj = rigged_cube()
    before = fingerprint(obj)
    apply_texture(obj, image("texture"), "UVMap", "job 0")
    apply_edit(obj, image("first"), "Second", (0, 1), "job 1")
    apply_edit(obj, image("second"), "UVMap", (0,), "job 2")
    for picture in bpy.data.images:
        picture.pack()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "edited.blend"))
    for _ in range(2):
        # Saved twice: what nobody uses would be gone the second time.
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "edited.blend"))
        bpy.ops.wm.save_mainfile()
    assert images() == ["first", "second", "texture"]
    obj = bpy.data.objects["Rigged"]
    assert undo_edit(obj) == "first" and job_of(base_color_image(obj)) == "job 1"
    assert undo_edit(obj) == "texture" and undo_edit(obj) == ""
    assert fingerprint(obj) == before and not images()


def test_one_undo_step_takes_an_edit_back() -> None:
    obj = rigged_cube()
    apply_texture(obj, image("texture"), "UVMap")
    trees = [node_tree(slot.material) for slot in obj.material_slots]
    bpy.ops.ed.undo_push(message="Before")
    apply_edit(obj, image("edit"), "Second", (0, 1), "job")
    bpy.ops.ed.undo_push(message="Edit")
    bpy.ops.ed.undo()
    obj = bpy.data.objects["Rigged"]
    assert images() == ["texture"] and [node_tree(slot.material) for slot in obj.material_slots] == trees
    bpy.ops.ed.redo()
    assert undo_edit(bpy.data.objects["Rigged"]) == "texture"


@pytest.mark.parametrize("rewired", ["a node between", "cut off"])
def test_what_the_artist_rewired_since_comes_back_with_undo(rewired: str) -> None:
    obj = cube()
    material = principled("Own")
    obj.data.materials.append(material)
    apply_texture(obj, image("texture"), "UVMap")
    target = shader_of(material).inputs["Base Color"]
    if rewired == "cut off":
        material.node_tree.links.remove(target.links[0])
    else:
        hue = material.node_tree.nodes.new("ShaderNodeHueSaturation")
        material.node_tree.links.new(base_color_source(material).outputs[0], hue.inputs["Color"])
        material.node_tree.links.new(hue.outputs[0], target)
    links = node_tree(material)["links"]
    apply_edit(obj, image("edit"), "UVMap", (0,), "")
    assert textured(material, bpy.data.images["edit"], "UVMap")
    undo_edit(obj)
    assert node_tree(material)["links"] == links and base_color_image(obj).name == "texture"


def test_an_edit_where_our_nodes_are_damaged_makes_new_ones() -> None:
    obj = cube()
    material = principled("Own")
    obj.data.materials.append(material)
    apply_texture(obj, image("texture"), "UVMap")
    material.node_tree.nodes.remove(next(n for n in own_nodes(material) if n[ROLE] == "uv"))
    apply_edit(obj, image("edit"), "UVMap", (0,), "")
    assert textured(material, bpy.data.images["edit"], "UVMap") and images() == ["edit"]


def test_an_edit_of_an_object_without_slots_adds_one() -> None:
    obj = cube("Bare")
    before, counts = fingerprint(obj), datablocks()
    assert apply_edit(obj, image(), "UVMap", (), "job") == ["'Bare' had no material; a new one was added."]
    assert textured(obj.active_material, base_color_image(obj), "UVMap")
    assert undo_edit(obj) == "" and fingerprint(obj) == before and datablocks() == counts


@pytest.mark.parametrize("slots", [(), (2,), (-1,), (0, 7)])
def test_slots_that_are_not_there_are_a_sentence(slots: tuple[int, ...]) -> None:
    obj = rigged_cube()
    with pytest.raises(ValueError, match="'Rigged' has no material slots"):
        apply_edit(obj, image(), "UVMap", slots, "")


def test_an_image_of_the_artist_has_no_job() -> None:
    assert job_of(image()) == ""
