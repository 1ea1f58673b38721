"""Any base colour as an image in UV space, and nothing of the artist's scene changed by it."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from csd_addon.core.color import encode_srgb
from csd_addon.scene.bake_base_color import bake_base_color
from tests.scene.objects import (
    checked,
    cube,
    datablocks,
    fingerprint,
    grouped,
    link,
    node_tree,
    principled,
    quarters,
    quarters_shown,
    rigged_cube,
    scene_state,
    shader_of,
    square,
)

SIZE = 32
TOLERANCE = 1.5 / 255


def baked(obj: bpy.types.Object, uv_map: str = "UVMap") -> np.ndarray:
    pixels = bake_base_color(obj, uv_map, SIZE)
    assert pixels.shape == (SIZE, SIZE, 4) and pixels.dtype == np.float32 and (pixels[..., 3] == 1).all()
    return pixels[..., :3]


def test_a_plain_colour_is_the_same_everywhere() -> None:
    obj = square()
    obj.data.materials.append(principled("Plain", (0.5, 0.02, 1, 1)))
    shader_of(obj.active_material).inputs["Metallic"].default_value = 1
    assert np.allclose(baked(obj), encode_srgb([0.5, 0.02, 1]), atol=TOLERANCE)


@pytest.mark.parametrize("slots", [0, 1])
def test_without_a_material_it_is_blenders_grey(slots: int) -> None:
    obj = square()
    for _ in range(slots):
        obj.data.materials.append(None)
    assert np.allclose(baked(obj), encode_srgb(0.8), atol=TOLERANCE)


def test_a_material_without_nodes_has_its_viewport_colour() -> None:
    obj = square()
    material = bpy.data.materials.new("Plain")
    material.diffuse_color = (0.1, 0.6, 0.3, 1)
    obj.data.materials.append(material)
    expected = encode_srgb([0.1, 0.6, 0.3] if bpy.app.version < (5, 0, 0) else 0.8)
    assert np.allclose(baked(obj), expected, atol=TOLERANCE)


def test_a_mapped_image_has_its_top_row_at_the_top() -> None:
    obj = square()
    material = principled("Mapped")
    obj.data.materials.append(material)
    texture = quarters_shown(material)
    mapping = material.node_tree.nodes.new("ShaderNodeMapping")
    mapping.inputs["Location"].default_value = (0.5, 0, 0)
    coordinates = material.node_tree.nodes.new("ShaderNodeTexCoord")
    link(material, coordinates.outputs["UV"], mapping.inputs["Vector"])
    link(material, mapping.outputs[0], texture.inputs["Vector"])
    shifted = np.roll(quarters(SIZE), SIZE // 2, axis=1)
    assert (np.abs(baked(obj) - shifted).max(axis=2) < TOLERANCE).mean() > 0.8, "all but the borders"


def test_the_bake_may_go_into_another_layer_than_the_image_is_shown_through() -> None:
    obj = square()
    material = principled("Shown")
    obj.data.materials.append(material)
    quarters_shown(material)
    turned = obj.data.uv_layers.new(name="Turned")
    uvs = np.array([entry.vector for entry in obj.data.uv_layers["UVMap"].uv])
    turned.uv.foreach_set("vector", (1 - uvs).astype(np.float32).ravel())
    obj.data.uv_layers["UVMap"].active_render = True
    half = quarters(SIZE)[::-1, ::-1]
    assert (np.abs(baked(obj, "Turned") - half).max(axis=2) < TOLERANCE).mean() > 0.8


@pytest.mark.parametrize("space", ["object", "world"])
def test_procedural_nodes_follow_the_object(space: str) -> None:
    """White where x > 0 in the object, or x > 30 in the world, wherever it stands and whatever modifiers do."""
    obj = square()
    material = principled("Split")
    obj.data.materials.append(material)
    nodes = material.node_tree.nodes
    coordinates, geometry, axes, above = (
        nodes.new(f"ShaderNode{kind}") for kind in ("TexCoord", "NewGeometry", "SeparateXYZ", "Math")
    )
    above.operation = "GREATER_THAN"
    above.inputs[1].default_value = 0 if space == "object" else 30
    source = coordinates.outputs["Object"] if space == "object" else geometry.outputs["Position"]
    link(material, source, axes.inputs[0])
    link(material, axes.outputs["X"], above.inputs[0])
    link(material, above.outputs[0], shader_of(material).inputs["Base Color"])
    obj.matrix_world = Matrix.Translation((30, 4, 5)) @ Matrix.Rotation(1, 4, "X")
    obj.modifiers.new("Subdivision", "SUBSURF").subdivision_type = "SIMPLE"
    bpy.context.view_layer.update()
    colors = baked(obj)
    assert colors[:, : SIZE // 2 - 1].max() < TOLERANCE and colors[:, SIZE // 2 + 1 :].min() > 1 - TOLERANCE


def test_charts_have_a_margin() -> None:
    obj = square()
    obj.data.materials.append(principled("White", (1, 1, 1, 1)))
    for entry in obj.data.uv_layers["UVMap"].uv:
        entry.vector = [0.25 + 0.5 * value for value in entry.vector]
    colors = baked(obj)[..., 0]
    assert (colors[4:28, 8:24] == 1).all() and colors[:3].max() == 0


def test_each_face_gets_the_colour_of_its_own_material() -> None:
    obj = cube()
    for name, color in (("Red", (1, 0, 0, 1)), ("Green", (0, 1, 0, 1)), ("Blue", (0, 0, 1, 1))):
        obj.data.materials.append(principled(name, color))
    obj.material_slots[1].link = "OBJECT"
    obj.material_slots[1].material = principled("Mine", (1, 1, 0, 1))
    for index, polygon in enumerate(obj.data.polygons):
        polygon.material_index = index % 3
    colors, uvs = baked(obj), obj.data.uv_layers["UVMap"].uv
    for polygon in obj.data.polygons:
        u, v = np.mean([uvs[loop].vector for loop in polygon.loop_indices], axis=0)
        expected = ((1, 0, 0), (1, 1, 0), (0, 0, 1))[polygon.material_index]
        assert np.allclose(colors[int((1 - v) * SIZE), int(u * SIZE)], expected, atol=TOLERANCE)


@pytest.mark.parametrize("inside", ["base color", "shader"])
def test_node_groups_are_looked_into_and_stay_as_they_are(inside: str) -> None:
    obj = square()
    material = principled("Grouped")
    obj.data.materials.append(material)
    grouped(material, inside, (0, 0.5, 1, 1))
    group = next(iter(bpy.data.node_groups))
    before, counts = [n.name for n in group.nodes], datablocks()
    assert np.allclose(baked(obj), encode_srgb([0, 0.5, 1]), atol=TOLERANCE)
    assert [n.name for n in group.nodes] == before and datablocks() == counts


def test_a_mix_of_shaders_mixes_their_base_colours() -> None:
    obj = square()
    material = principled("Mixed", (1, 0, 0, 1))
    obj.data.materials.append(material)
    nodes = material.node_tree.nodes
    second, mix = nodes.new("ShaderNodeBsdfPrincipled"), nodes.new("ShaderNodeMixShader")
    second.inputs["Base Color"].default_value = (0, 0, 1, 1)
    mix.inputs[0].default_value = 0.25
    output = next(n for n in nodes if n.bl_idname == "ShaderNodeOutputMaterial")
    link(material, shader_of(material).outputs[0], mix.inputs[1])
    link(material, second.outputs[0], mix.inputs[2])
    link(material, mix.outputs[0], output.inputs["Surface"])
    assert np.allclose(baked(obj), encode_srgb([0.75, 0, 0.25]), atol=TOLERANCE)
    nodes.remove(second)
    link(material, nodes.new("ShaderNodeBsdfTransparent").outputs[0], mix.inputs[2])
    assert np.allclose(baked(obj), [1, 0, 0], atol=TOLERANCE), "transparency does not darken it"


def test_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    obj = rigged_cube()
    other = cube("Other")
    checked(obj.material_slots[0].material)
    bpy.context.scene.render.engine = "BLENDER_WORKBENCH"
    before = (fingerprint(obj), [node_tree(s.material) for s in obj.material_slots], datablocks(), scene_state())
    bake_base_color(obj, "Second", 8)
    assert bpy.context.view_layer.objects.active == other
    assert before == (
        fingerprint(obj), [node_tree(s.material) for s in obj.material_slots], datablocks(), scene_state()
    )  # fmt: skip


def test_edit_mode_is_baked_as_edited_and_stays() -> None:
    import bmesh

    obj = square()
    obj.data.materials.append(principled("One", (1, 0, 0, 1)))
    obj.data.materials.append(principled("Two", (0, 0, 1, 1)))
    bpy.ops.object.mode_set(mode="EDIT")
    editing = bmesh.from_edit_mesh(obj.data)
    editing.faces.ensure_lookup_table()
    editing.faces[0].material_index = 1
    bmesh.update_edit_mesh(obj.data)
    before = scene_state()
    assert np.allclose(baked(obj), [0, 0, 1], atol=TOLERANCE)
    assert obj.mode == "EDIT" and scene_state() == before


def test_what_has_no_base_colour_is_a_sentence_and_leaves_nothing() -> None:
    obj = square("Lamp")
    material = principled("Glow")
    obj.data.materials.append(material)
    material.node_tree.nodes.remove(shader_of(material))
    counts = datablocks()
    with pytest.raises(ValueError, match="'Glow' has no Principled BSDF"):
        bake_base_color(obj, "UVMap", SIZE)
    with pytest.raises(ValueError, match="'Lamp' has no UV map 'Gone'"):
        bake_base_color(obj, "Gone", SIZE)
    assert datablocks() == counts


def test_a_failing_bake_is_a_sentence_and_leaves_nothing() -> None:
    obj = square("Empty")
    obj.data.materials.append(principled("Plain"))
    counts, before = datablocks(), scene_state()
    obj.data.clear_geometry()
    obj.data.uv_layers.new(name="UVMap")
    with pytest.raises(ValueError, match="'Empty'"):
        bake_base_color(obj, "UVMap", SIZE)
    assert datablocks() == counts and scene_state() == before
