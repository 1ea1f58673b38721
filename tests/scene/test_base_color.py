"""Which image is the base colour and through which layer, and its numbers."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.scene.base_color import BaseColor, find_base_color, read_pixels
from tests.scene.objects import checked, cube, grouped, image_of, link, principled, quarters, quarters_shown, shader_of


def shown_on(obj: bpy.types.Object, name: str = "Shown") -> tuple[bpy.types.Material, bpy.types.Node]:
    """A material on ``obj`` with an image straight in its base colour, and the image node."""
    material = principled(name)
    obj.data.materials.append(material)
    return material, quarters_shown(material)


def node(material: bpy.types.Material, kind: str) -> bpy.types.Node:
    return material.node_tree.nodes.new(f"ShaderNode{kind}")


def socket(group: bpy.types.NodeTree, name: str, direction: str, kind: str = "Color") -> None:
    group.interface.new_socket(name, in_out=direction, socket_type=f"NodeSocket{kind}")


def test_an_image_without_a_vector_shows_the_layer_that_renders() -> None:
    obj = cube()
    obj.data.uv_layers.new(name="Second").active_render = True
    _, texture = shown_on(obj)
    assert find_base_color(obj) == BaseColor(texture.image, "Second", (0,), "")


@pytest.mark.parametrize("kind", ["UVMap", "UVMap empty", "Attribute", "TexCoord"])
def test_vectors_that_are_a_uv_layer(kind: str) -> None:
    obj = cube()
    obj.data.uv_layers.new(name="Second")
    material, texture = shown_on(obj)
    source = node(material, kind.partition(" ")[0])
    if kind == "UVMap":
        source.uv_map = "Second"
    elif kind == "Attribute":
        source.attribute_name = "Second"
    output = source.outputs["Vector" if kind == "Attribute" else "UV"]
    reroute = material.node_tree.nodes.new("NodeReroute")
    link(material, output, reroute.inputs[0])
    link(material, reroute.outputs[0], texture.inputs["Vector"])
    expected = "UVMap" if kind in {"TexCoord", "UVMap empty"} else "Second"
    assert find_base_color(obj) == BaseColor(texture.image, expected, (0,), "")


def test_every_slot_with_this_image_through_this_layer_is_named() -> None:
    obj = cube()
    obj.data.uv_layers.new(name="Second")
    first, texture = shown_on(obj, "First")
    obj.data.materials.append(principled("Plain"))
    other_layer, other = shown_on(obj, "Other layer")
    other.image = texture.image
    layer = node(other_layer, "UVMap")
    layer.uv_map = "Second"
    link(other_layer, layer.outputs[0], other.inputs["Vector"])
    obj.data.materials.append(None)
    _, same = shown_on(obj, "Same")
    same.image = texture.image
    obj.data.materials.append(first)
    shown_on(obj, "Another image")
    obj.active_material_index = 5
    assert find_base_color(obj) == BaseColor(texture.image, "UVMap", (0, 4, 5), "")
    obj.active_material_index = 3
    assert find_base_color(obj).slots == (0, 4, 5), "an empty active slot: the first material counts"
    obj.active_material_index = 2
    assert find_base_color(obj) == BaseColor(texture.image, "Second", (2,), "")


def test_a_principled_behind_reroutes_and_mix_shaders() -> None:
    obj = cube()
    material, texture = shown_on(obj)
    output = next(n for n in material.node_tree.nodes if n.bl_idname == "ShaderNodeOutputMaterial")
    reroute, mix = material.node_tree.nodes.new("NodeReroute"), node(material, "MixShader")
    link(material, shader_of(material).outputs[0], reroute.inputs[0])
    link(material, reroute.outputs[0], output.inputs["Surface"])
    assert find_base_color(obj).image == texture.image
    link(material, reroute.outputs[0], mix.inputs[1])
    link(material, mix.outputs[0], output.inputs["Surface"])
    assert find_base_color(obj).image == texture.image
    link(material, node(material, "BsdfPrincipled").outputs[0], mix.inputs[2])
    assert "'Shown' has no Principled BSDF, or more than one" in find_base_color(obj).reason


def test_a_whole_shader_inside_a_group() -> None:
    obj = cube()
    material = principled("Outer")
    obj.data.materials.append(material)
    inside = grouped(material, "shader", (1, 0, 0, 1)).node_tree
    texture = inside.nodes.new("ShaderNodeTexImage")
    texture.image = image_of(quarters(4))
    shader = next(n for n in inside.nodes if n.bl_idname == "ShaderNodeBsdfPrincipled")
    inside.links.new(texture.outputs[0], shader.inputs["Base Color"])
    assert find_base_color(obj) == BaseColor(texture.image, "UVMap", (0,), "")


def test_image_and_vector_through_nested_groups() -> None:
    """Outside: UV map and image. Inner group inside outer group: nothing but a way through for the colour."""
    obj = cube()
    obj.data.uv_layers.new(name="Second")
    material, texture = shown_on(obj)
    through = bpy.data.node_groups.new("Through", "ShaderNodeTree")
    outer = bpy.data.node_groups.new("Outer", "ShaderNodeTree")
    for tree in (through, outer):
        socket(tree, "Unused", "INPUT")
        socket(tree, "In", "INPUT")
        socket(tree, "Unused", "OUTPUT")
        socket(tree, "Out", "OUTPUT")
        tree.nodes.new("NodeGroupInput")
        tree.nodes.new("NodeGroupOutput")
    inner = outer.nodes.new("ShaderNodeGroup")
    inner.node_tree = through
    through.links.new(through.nodes["Group Input"].outputs["In"], through.nodes["Group Output"].inputs["Out"])
    outer.links.new(outer.nodes["Group Input"].outputs["In"], inner.inputs["In"])
    outer.links.new(inner.outputs["Out"], outer.nodes["Group Output"].inputs["Out"])
    group = node(material, "Group")
    group.node_tree = outer
    link(material, texture.outputs["Color"], group.inputs["In"])
    link(material, group.outputs["Out"], shader_of(material).inputs["Base Color"])
    assert find_base_color(obj) == BaseColor(texture.image, "UVMap", (0,), "")
    link(material, group.outputs["Unused"], shader_of(material).inputs["Base Color"])
    assert find_base_color(obj).reason == "the base colour of 'Shown' is a plain colour"


def test_an_image_inside_a_group_with_its_vector_from_outside() -> None:
    obj = cube()
    obj.data.uv_layers.new(name="Second")
    material = principled("Shown")
    obj.data.materials.append(material)
    tree = bpy.data.node_groups.new("Image", "ShaderNodeTree")
    socket(tree, "Vector", "INPUT", "Vector")
    socket(tree, "Color", "OUTPUT")
    start, texture, end = (tree.nodes.new(k) for k in ("NodeGroupInput", "ShaderNodeTexImage", "NodeGroupOutput"))
    texture.image = image_of(quarters(4))
    tree.links.new(start.outputs["Vector"], texture.inputs["Vector"])
    tree.links.new(texture.outputs["Color"], end.inputs["Color"])
    group, layer = node(material, "Group"), node(material, "UVMap")
    group.node_tree, layer.uv_map = tree, "Second"
    link(material, group.outputs["Color"], shader_of(material).inputs["Base Color"])
    assert find_base_color(obj).reason == "the base colour of 'Shown' is one point of an image"
    link(material, layer.outputs[0], group.inputs["Vector"])
    assert find_base_color(obj) == BaseColor(texture.image, "Second", (0,), "")


def test_a_muted_node_is_looked_through_and_a_muted_link_is_none() -> None:
    obj = cube()
    material, texture = shown_on(obj)
    invert, target = node(material, "Invert"), shader_of(material).inputs["Base Color"]
    link(material, texture.outputs["Color"], invert.inputs["Color"])
    link(material, invert.outputs["Color"], target)
    assert find_base_color(obj).reason == "the base colour of 'Shown' comes from procedural nodes"
    invert.mute = True
    assert find_base_color(obj).image == texture.image
    target.links[0].is_muted = True
    assert find_base_color(obj).reason == "the base colour of 'Shown' is a plain colour"
    target.links[0].is_muted, texture.mute = False, True
    assert "comes from the muted node" in find_base_color(obj).reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m, t: m.node_tree.nodes.remove(t), "is a plain colour"),
        (lambda m, t: checked(m), "comes from procedural nodes"),
        (lambda m, t: link(m, t.outputs["Alpha"], shader_of(m).inputs["Base Color"]), "comes from procedural nodes"),
        (lambda m, t: setattr(t, "image", None), "comes from an Image Texture without an image"),
        (lambda m, t: setattr(t, "extension", "CLIP"), "is an image with the setting Flat Clip"),
        (lambda m, t: setattr(t, "projection", "BOX"), "is an image with the setting Box Repeat"),
        (lambda m, t: link(m, node(m, "Mapping").outputs[0], t.inputs["Vector"]), "is mapped through a Mapping node"),
        (
            lambda m, t: link(m, node(m, "TexCoord").outputs["Object"], t.inputs["Vector"]),
            "is mapped through a Texture Coordinate node",
        ),
        (
            lambda m, t: link(m, node(m, "Attribute").outputs["Fac"], t.inputs["Vector"]),
            "is mapped through an Attribute node",
        ),
    ],
)
def test_what_is_no_image_has_a_reason(change, reason: str) -> None:
    obj = cube()
    material, texture = shown_on(obj)
    change(material, texture)
    found = find_base_color(obj)
    assert (found.image, found.uv_map, found.slots) == (None, "", ())
    assert found.reason == f"the base colour of 'Shown' {reason}"


def test_objects_without_material_nodes_or_uvs() -> None:
    obj = cube(uvs=False)
    assert find_base_color(obj).reason == "'Cube' has no material"
    obj.data.materials.append(None)
    assert find_base_color(obj).reason == "'Cube' has no material"
    shown_on(obj)
    assert find_base_color(obj).reason == "the base colour of 'Shown' is an image, but 'Cube' has no UV map"
    plain = cube("Plain")
    plain.data.materials.append(bpy.data.materials.new("Bare"))
    assert find_base_color(plain).reason == "the base colour of 'Bare' is a plain colour"


def test_a_layer_that_the_object_lacks() -> None:
    obj = cube()
    material, texture = shown_on(obj)
    layer = node(material, "Attribute")
    layer.attribute_name = "Gone"
    link(material, layer.outputs["Vector"], texture.inputs["Vector"])
    assert "shown through the UV map 'Gone', which 'Cube' does not have" in find_base_color(obj).reason


@pytest.mark.parametrize("source", ["SEQUENCE", "MOVIE"])
def test_images_that_cannot_be_edited_are_a_sentence(source: str) -> None:
    obj = cube()
    _, texture = shown_on(obj)
    texture.image.source = source
    with pytest.raises(ValueError, match="The image 'Quarters' .* use a single"):
        find_base_color(obj)


def test_a_missing_file_is_a_sentence_with_its_path(tmp_path: Path) -> None:
    obj = cube()
    _, texture = shown_on(obj)
    texture.image.filepath_raw = str(tmp_path / "wood.png")
    texture.image.save()
    (tmp_path / "wood.png").unlink()
    texture.image.reload()
    with pytest.raises(ValueError, match=r"'Quarters' has no pixels: .*wood.png is missing or damaged; choose its"):
        find_base_color(obj)


@pytest.mark.parametrize("floats", [False, True])
def test_pixels_are_blenders_numbers_with_the_top_row_first(floats: bool) -> None:
    image = bpy.data.images.new("Known", 3, 2, alpha=True, float_buffer=floats)
    values = np.random.default_rng(0).random((2, 3, 4), np.float32) * (4 if floats else 1)
    image.pixels.foreach_set(values[::-1].ravel())
    pixels, linear = read_pixels(image)
    assert pixels.dtype == np.float32 and pixels.shape == (2, 3, 4) and linear is floats
    assert np.array_equal(pixels[::-1].ravel(), np.array(image.pixels[:], np.float32))
    assert np.allclose(pixels, values, atol=0 if floats else 0.5 / 255)


def test_bytes_are_linear_unless_their_space_is_srgb() -> None:
    image = image_of(quarters(4))
    assert read_pixels(image)[1] is False
    image.colorspace_settings.name = "Non-Color"
    assert read_pixels(image)[1] is True
