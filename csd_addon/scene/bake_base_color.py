"""An image of a base colour that is none yet: plain colours, procedural nodes, mapped images, several materials.

Cycles bakes it on a copy of the evaluated object, with copies of its materials, in a scene of its own. Nothing in the
artist's scene changes: not even the mode or the selection.
"""

from __future__ import annotations

import bpy
import numpy as np

from ..core.color import encode_srgb
from .base_color import PRINCIPLED, Shader, find_shader, linked, read_pixels
from .compat import enable_nodes, nodes_of

# What Blender shows without a material.
_GREY = (0.8, 0.8, 0.8, 1.0)
# Texels of the margin around charts, as a share of the image, and at least.
_MARGIN, _LEAST = 1 / 64, 4

Made = list[bpy.types.ID]


def bake_base_color(obj: bpy.types.Object, uv_map: str, size: int) -> np.ndarray:
    """The base colour of ``obj`` in the UV layer ``uv_map``: (size, size, 4) float32, row 0 at the top.

    sRGB-encoded in 0..1, alpha 1; black where neither a face nor its margin lies. Raises ``ValueError`` with a
    sentence where Blender can't make it (no such UV layer after the modifiers, a material without a base colour).
    """
    made: Made = []
    try:
        image = _made(made, bpy.data.images.new("CSD bake", size, size, alpha=True, float_buffer=True))
        helper = _evaluated_copy(obj, uv_map, made)
        _prepare_materials(obj, helper.data, image, made)
        _bake(obj, helper, uv_map, size, made)
        pixels, _ = read_pixels(image)
    finally:
        bpy.data.batch_remove(made)
    pixels[..., :3] = encode_srgb(pixels[..., :3].clip(0, 1))
    pixels[..., 3] = 1
    return pixels


def _made(made: Made, block: bpy.types.ID) -> bpy.types.ID:
    made.append(block)
    return block


def _evaluated_copy(obj: bpy.types.Object, uv_map: str, made: Made) -> bpy.types.Object:
    """An object whose mesh is what is seen of ``obj``, at the same place."""
    if obj.mode == "EDIT":
        obj.update_from_editmode()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    evaluated = obj.evaluated_get(depsgraph)
    mesh = bpy.data.meshes.new_from_object(evaluated, preserve_all_data_layers=True, depsgraph=depsgraph)
    _made(made, mesh)
    if uv_map not in mesh.uv_layers:
        raise ValueError(f"After its modifiers '{obj.name}' has no UV map '{uv_map}'; apply or turn off the modifier.")
    # Image nodes without a vector show the layer that renders, which a bake into another layer must not change.
    mesh.use_auto_texspace = False
    mesh.texspace_location, mesh.texspace_size = obj.data.texspace_location, obj.data.texspace_size
    helper = _made(made, bpy.data.objects.new("CSD bake", mesh))
    helper.matrix_world = obj.matrix_world
    return helper


def _prepare_materials(obj: bpy.types.Object, mesh: bpy.types.Mesh, image: bpy.types.Image, made: Made) -> None:
    """Give ``mesh`` copies of the materials that ``obj`` shows, each shining with its base colour into ``image``."""
    slots = [slot.material for slot in obj.material_slots]
    # Geometry Nodes may add materials behind those of the slots.
    shown = [*slots, *list(mesh.materials)[len(slots) :]] or [None]
    copies = {material: _emitting_copy(material, image, made) for material in dict.fromkeys(shown)}
    for index, material in enumerate(shown):
        if index < len(mesh.materials):
            mesh.materials[index] = copies[material]
        else:
            mesh.materials.append(copies[material])


def _emitting_copy(material: bpy.types.Material | None, image: bpy.types.Image, made: Made) -> bpy.types.Material:
    """A copy of ``material`` that emits its base colour and has ``image`` as the target of the bake."""
    plain = material is None or nodes_of(material) is None
    color = tuple(material.diffuse_color) if material and plain else _GREY
    copy = _made(made, bpy.data.materials.new("CSD bake") if plain else material.copy())
    if plain:
        enable_nodes(copy)
        next(n for n in copy.node_tree.nodes if n.bl_idname == PRINCIPLED).inputs["Base Color"].default_value = color
    shader = _own_shader(copy, made)
    if shader:
        shader.entry.id_data.links.new(_emission(shader.node).outputs[0], shader.entry)
    else:
        _replace_all(copy, material.name)
    target = copy.node_tree.nodes.new("ShaderNodeTexImage")
    target.image = image
    copy.node_tree.nodes.active = target
    return copy


def _own_shader(material: bpy.types.Material, made: Made) -> Shader | None:
    """``find_shader`` after the node groups around the shader have become copies, so that it may be changed."""
    shader = find_shader(material)
    for depth in range(len(shader.groups) if shader else 0):
        group = shader.groups[depth]
        group.node_tree = _made(made, group.node_tree.copy())
        shader = find_shader(material)
    return shader


def _replace_all(material: bpy.types.Material, name: str) -> None:
    """Put an Emission in the place of every Principled BSDF, so that Mix Shaders mix the base colours."""
    tree = material.node_tree
    shaders = [node for node in tree.nodes if node.bl_idname == PRINCIPLED and node.outputs[0].links]
    if not shaders:
        raise ValueError(f"The material '{name}' has no Principled BSDF, so it has no base colour; give it one.")
    for shader in shaders:
        emission = _emission(shader)
        for target in [link.to_socket for link in shader.outputs[0].links]:
            tree.links.new(emission.outputs[0], target)


def _emission(shader: bpy.types.Node) -> bpy.types.Node:
    """A new Emission beside ``shader`` with the source of its base colour."""
    tree, base = shader.id_data, shader.inputs["Base Color"]
    emission = tree.nodes.new("ShaderNodeEmission")
    emission.inputs["Color"].default_value = base.default_value
    if link := linked(base):
        tree.links.new(link.from_socket, emission.inputs["Color"])
    return emission


def _bake(obj: bpy.types.Object, helper: bpy.types.Object, uv_map: str, size: int, made: Made) -> None:
    scene = _made(made, bpy.data.scenes.new("CSD bake"))
    scene.collection.objects.link(helper)
    scene.frame_current = bpy.context.scene.frame_current
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = 1
    scene.cycles.use_denoising = False
    margin = max(round(size * _MARGIN), _LEAST)
    layer = scene.view_layers[0]
    layer.update()
    context = {"scene": scene, "view_layer": layer, "active_object": helper, "object": helper}
    try:
        with bpy.context.temp_override(**context, selected_objects=[helper], selected_editable_objects=[helper]):
            bpy.ops.object.bake(
                type="EMIT", uv_layer=uv_map, margin=margin, margin_type="EXTEND", use_clear=True,
                target="IMAGE_TEXTURES",
            )  # fmt: skip
    except RuntimeError as error:
        said = str(error).strip().removeprefix("Error: ")
        raise ValueError(f"The base colour of '{obj.name}' can't be baked: {said}") from error
