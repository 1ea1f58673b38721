"""Objects made in Blender for the tests, and a fingerprint of all that must stay as the artist left it."""

from __future__ import annotations

import hashlib
from typing import Any

import bpy
import numpy as np

# Attribute data type: (name of the property, numbers in it, numpy type).
_DATA = {
    "FLOAT": ("value", 1, np.float32), "INT": ("value", 1, np.int32), "BOOLEAN": ("value", 1, bool),
    "FLOAT_VECTOR": ("vector", 3, np.float32), "FLOAT2": ("vector", 2, np.float32),
    "FLOAT_COLOR": ("color", 4, np.float32), "BYTE_COLOR": ("color", 4, np.float32), "INT8": ("value", 1, np.int8),
    "INT32_2D": ("value", 2, np.int32), "INT16_2D": ("value", 2, np.int32), "QUATERNION": ("value", 4, np.float32),
}  # fmt: skip


def cube(name: str = "Cube", *, uvs: bool = True) -> bpy.types.Object:
    """Blender's cube of edge 2, the active object; without ``uvs`` it has no UV layer."""
    bpy.ops.mesh.primitive_cube_add(calc_uvs=uvs)
    bpy.context.object.name = bpy.context.object.data.name = name
    return bpy.context.object


def square(name: str = "Square") -> bpy.types.Object:
    """One face of edge 2 in the xy plane whose UVs fill the unit square: u along x, v along y."""
    bpy.ops.mesh.primitive_plane_add(calc_uvs=True)
    bpy.context.object.name = bpy.context.object.data.name = name
    return bpy.context.object


def rigged_cube() -> bpy.types.Object:
    """A cube with everything that an artist may have on it, in a file of its own kind of mess."""
    obj = cube("Rigged")
    obj.data.uv_layers.new(name="Second")
    obj.data.uv_layers[0].active_render = True
    group = obj.vertex_groups.new(name="Arm")
    group.add([0, 1, 5], 0.25, "REPLACE")
    obj.shape_key_add(name="Basis")
    key = obj.shape_key_add(name="Smile")
    key.data[3].co.z += 0.5
    key.value = 0.4
    colors = obj.data.color_attributes.new("Paint", "FLOAT_COLOR", "CORNER")
    colors.data[2].color = (0.1, 0.2, 0.3, 1)
    obj.modifiers.new("Bevel", "BEVEL").width = 0.07
    for number, name in enumerate(("Red", "Blue")):
        obj.data.materials.append(principled(name, (1 - number, 0, number, 1)))
    obj.data.polygons[2].material_index = 1
    obj["note"] = "mine"
    obj.rotation_euler = (0.1, 0.2, 0.3)
    bpy.context.view_layer.update()
    return obj


def principled(name: str, color: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 1)) -> bpy.types.Material:
    """A material with nodes: Principled BSDF into the output."""
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    shader_of(material).inputs["Base Color"].default_value = color
    return material


def shader_of(material: bpy.types.Material) -> bpy.types.Node:
    return next(n for n in material.node_tree.nodes if n.bl_idname == "ShaderNodeBsdfPrincipled")


def base_color_source(material: bpy.types.Material) -> bpy.types.Node | None:
    links = shader_of(material).inputs["Base Color"].links
    return links[0].from_node if links else None


def link(material: bpy.types.Material, source: bpy.types.NodeSocket, target: bpy.types.NodeSocket) -> None:
    material.node_tree.links.new(source, target)


def checked(material: bpy.types.Material) -> bpy.types.Node:
    """Put a Checker Texture into the base colour."""
    checker = material.node_tree.nodes.new("ShaderNodeTexChecker")
    link(material, checker.outputs["Color"], shader_of(material).inputs["Base Color"])
    return checker


def quarters(size: int) -> np.ndarray:
    """(size, size, 3) float32, row 0 at the top: red, green; blue, white."""
    colors = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]], np.float32)
    return colors.repeat(size // 2, axis=0).repeat(size // 2, axis=1)


def image_of(pixels: np.ndarray, name: str = "Picture") -> bpy.types.Image:
    """An image that lives in Blender only, 8-bit sRGB with alpha, from (H, W, 3 or 4) with row 0 at the top."""
    height, width, channels = pixels.shape
    image = bpy.data.images.new(name, width, height, alpha=True)
    filled = np.ones((height, width, 4), np.float32)
    filled[..., :channels] = pixels[::-1]
    image.pixels.foreach_set(filled.ravel())
    return image


def quarters_shown(material: bpy.types.Material) -> bpy.types.Node:
    """Show ``quarters`` as the base colour, through whatever layer renders; returns the image node."""
    texture = material.node_tree.nodes.new("ShaderNodeTexImage")
    texture.image = image_of(quarters(16), "Quarters")
    texture.interpolation = "Closest"
    link(material, texture.outputs["Color"], shader_of(material).inputs["Base Color"])
    return texture


def grouped(material: bpy.types.Material, what: str, color: tuple[float, float, float, float]) -> bpy.types.Node:
    """Put ``color`` into the base colour from inside a node group; ``what``: "base color", or the whole "shader"."""
    tree = bpy.data.node_groups.new("Inside", "ShaderNodeTree")
    kind = "NodeSocketColor" if what == "base color" else "NodeSocketShader"
    tree.interface.new_socket("Result", in_out="OUTPUT", socket_type=kind)
    result = tree.nodes.new("NodeGroupOutput")
    group = material.node_tree.nodes.new("ShaderNodeGroup")
    group.node_tree = tree
    if what == "base color":
        source = tree.nodes.new("ShaderNodeRGB")
        source.outputs[0].default_value = color
        target = shader_of(material).inputs["Base Color"]
    else:
        source = tree.nodes.new("ShaderNodeBsdfPrincipled")
        source.inputs["Base Color"].default_value = color
        target = next(n for n in material.node_tree.nodes if getattr(n, "is_active_output", False)).inputs["Surface"]
    tree.links.new(source.outputs[0], result.inputs["Result"])
    link(material, group.outputs[0], target)
    return group


def scene_state() -> dict[str, Any]:
    """What a bake might disturb: render settings, selection, active object, modes, current scene."""
    scene, layer = bpy.context.scene, bpy.context.view_layer
    cycles = getattr(scene, "cycles", None)
    return {
        "scene": (scene.name, scene.frame_current, len(scene.objects)),
        "render": (_plain(scene.render), _plain(scene.render.bake), _plain(cycles) if cycles else None),
        "active": layer.objects.active.name if layer.objects.active else None,
        "objects": {o.name: (o.mode, o.select_get(), o.hide_get()) for o in layer.objects},
    }


def fingerprint(obj: bpy.types.Object) -> dict[str, Any]:
    """Every part of ``obj`` that we promise not to change; hashes for arrays, so that a difference has a name.

    Covers geometry, all attributes (UV layers, colours, selection, material indices), active layers, shape keys,
    vertex groups, modifiers, slots and custom properties.
    """
    mesh = obj.data
    if obj.mode == "EDIT":
        obj.update_from_editmode()
    parts: dict[str, Any] = {f"attribute {a.name}": _attribute(a) for a in mesh.attributes}
    parts["loops"] = _hash(_values(mesh.polygons, "loop_total", 1, np.int32))
    parts["normals"] = _hash(_values(mesh.corner_normals, "vector", 3, np.float32))
    parts["uv layers"] = [(u.name, u.active, u.active_render) for u in mesh.uv_layers]
    parts["slots"] = [(slot.link, slot.material.name if slot.material else None) for slot in obj.material_slots]
    parts["modifiers"] = [_plain(modifier) for modifier in obj.modifiers]
    parts["groups"] = [(g.name, g.index) for g in obj.vertex_groups]
    parts["weights"] = [[(e.group, e.weight) for e in v.groups] for v in mesh.vertices]
    keys = mesh.shape_keys.key_blocks if mesh.shape_keys else []
    parts["shape keys"] = [(k.name, k.value, _hash(_values(k.data, "co", 3, np.float32))) for k in keys]
    parts["object"] = ([list(row) for row in obj.matrix_world], dict(obj.items()), dict(mesh.items()), obj.mode)
    parts["hidden"] = (obj.hide_get(), obj.hide_viewport, obj.hide_render, obj.hide_select, obj.select_get())
    return parts


def node_tree(material: bpy.types.Material) -> dict[str, Any]:
    """The nodes, values and links of ``material``, and what is selected and active among them."""
    tree = material.node_tree
    return {
        "nodes": {n.name: (_plain(n), [_value(s) for s in n.inputs], n.select) for n in tree.nodes},
        "links": sorted((li.from_node.name, li.from_socket.identifier, li.to_node.name, li.to_socket.identifier)
                        for li in tree.links),
        "active": tree.nodes.active.name if tree.nodes.active else None,
        "properties": list(material.keys()),
    }  # fmt: skip


def datablocks() -> dict[str, int]:
    """How many of each kind the file holds."""
    kinds = [p.identifier for p in bpy.data.bl_rna.properties if p.type == "COLLECTION"]
    return {kind: len(getattr(bpy.data, kind)) for kind in kinds}


def _attribute(attribute: bpy.types.Attribute) -> tuple[str, str, str]:
    name, width, dtype = _DATA[attribute.data_type]
    return attribute.domain, attribute.data_type, _hash(_values(attribute.data, name, width, dtype))


def _values(collection: Any, name: str, width: int, dtype: type) -> np.ndarray:
    values = np.empty(len(collection) * width, dtype)
    collection.foreach_get(name, values)
    return values


def _hash(values: np.ndarray) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def _plain(thing: bpy.types.bpy_struct) -> dict[str, Any]:
    """All properties of ``thing`` that are numbers or text."""
    kinds = {"BOOLEAN", "INT", "FLOAT", "STRING", "ENUM"}
    volatile = {"execution_time", "select", "show_preview"}
    found = (p for p in thing.bl_rna.properties if p.type in kinds and p.identifier not in volatile)
    return {p.identifier: _flat(getattr(thing, p.identifier)) for p in found}


def _value(socket: bpy.types.NodeSocket) -> Any:
    return _flat(getattr(socket, "default_value", None))


def _flat(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    return sorted(value) if isinstance(value, set) else repr([_flat(v) for v in value])
