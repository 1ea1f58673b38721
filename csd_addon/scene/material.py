"""The texture on the object's own material, and its removal.

We add three labelled nodes (UV map, image, frame) and one link into Base Color. Nothing is deleted: the former
link and the former active node are remembered on the image node and come back with ``revert``. Our nodes are found
again by the custom property ``csd_role``, never by name. A material that other objects use is copied for this
object first.
"""

from __future__ import annotations

from collections.abc import Iterable

import bpy
import numpy as np

from .compat import disable_nodes, enable_nodes

ROLE = "csd_role"
_FORMER = "csd_former_source"
_TARGET = "csd_target"
_ACTIVE = "csd_former_active"
_ORIGINAL = "csd_original"
# On a material that we made: "slot" where we added its slot too, else "material".
_CREATED = "csd_created"
_NODELESS = "csd_had_no_nodes"
LABEL = "CSD Texture"


def apply_texture(obj: bpy.types.Object, image: bpy.types.Image, uv_map: str) -> list[str]:
    """Show ``image`` through the UV layer ``uv_map`` as the base colour of every material of ``obj``.

    A texture that we put there before is replaced. Returns sentences about what the artist may not expect (a
    material that had to be copied or created).
    """
    notes: list[str] = []
    if not obj.material_slots:
        obj.data.materials.append(_new_material(obj, "slot"))
        notes.append(f"'{obj.name}' had no material; a new one was added.")
    copies: dict[bpy.types.Material, bpy.types.Material] = {}
    for slot in obj.material_slots:
        _own_material(obj, slot, copies, notes)
    materials = {slot.material for slot in obj.material_slots}
    former = {picture for material in materials for picture in _add_nodes(material, image, uv_map)}
    _remove_unused(bpy.data.images, former)
    return notes


def revert(obj: bpy.types.Object) -> int:
    """Remove all that ``apply_texture`` added to ``obj``. Returns the number of materials that were put back."""
    materials = {slot.material for slot in obj.material_slots if slot.material and _own_nodes(slot.material)}
    images = {picture for material in materials for picture in _remove_nodes(material)}
    for slot in [slot for slot in obj.material_slots if slot.material in materials]:
        _give_back(obj, slot)
    count = len(materials)
    _remove_unused(bpy.data.materials, materials)
    _remove_unused(bpy.data.images, images)
    return count


def base_color_image(obj: bpy.types.Object) -> bpy.types.Image | None:
    """The image that we put on ``obj``, if it carries one."""
    for slot in obj.material_slots:
        for node in _own_nodes(slot.material) if slot.material else []:
            if node[ROLE] == "image":
                return node.image
    return None


def _new_material(obj: bpy.types.Object, created: str) -> bpy.types.Material:
    material = bpy.data.materials.new(obj.name)
    enable_nodes(material)
    material[_CREATED] = created
    return material


def _own_material(
    obj: bpy.types.Object,
    slot: bpy.types.MaterialSlot,
    copies: dict[bpy.types.Material, bpy.types.Material],
    notes: list[str],
) -> None:
    """Make sure the slot has a material with nodes that only this object (or its shared mesh) uses."""
    material = slot.material
    if material is None:
        slot.material = _new_material(obj, "material")
        notes.append(f"An empty material slot of '{obj.name}' got a new material.")
    elif material in copies:
        slot.material = copies[material]
    elif material.library or _used_elsewhere(material, obj):
        slot.material = copies[material] = material.copy()
        slot.material[_ORIGINAL] = material
        notes.append(f"The material '{material.name}' is used by other objects too; '{obj.name}' got its own copy.")
    if enable_nodes(slot.material):
        slot.material[_NODELESS] = True


def _used_elsewhere(material: bpy.types.Material, obj: bpy.types.Object) -> bool:
    others = (o for o in bpy.data.objects if o is not obj and o.data is not obj.data)
    return any(slot.material is material for other in others for slot in other.material_slots)


def _add_nodes(material: bpy.types.Material, image: bpy.types.Image, uv_map: str) -> list[bpy.types.Image]:
    """Our nodes in place of those of an earlier run, whose images are returned."""
    former = _remove_nodes(material)
    tree = material.node_tree
    active = tree.nodes.active.name if tree.nodes.active else ""
    shader = _principled(tree)
    texture = _labelled(tree, "ShaderNodeTexImage", "image")
    texture.image = image
    layer = _labelled(tree, "ShaderNodeUVMap", "uv")
    layer.uv_map = uv_map
    frame = _labelled(tree, "NodeFrame", "frame")
    texture.location = (shader.location.x - 340, shader.location.y)
    layer.location = (texture.location.x - 220, texture.location.y - 120)
    texture.parent = layer.parent = frame
    tree.links.new(layer.outputs[0], texture.inputs["Vector"])
    _take_over(tree, shader.inputs["Base Color"], texture)
    # The active image node is what Solid shading with Texture colour shows.
    texture[_ACTIVE] = active
    tree.nodes.active = texture
    return former


def _labelled(tree: bpy.types.NodeTree, kind: str, role: str) -> bpy.types.Node:
    node = tree.nodes.new(kind)
    node.label = LABEL
    node[ROLE] = role
    return node


def _principled(tree: bpy.types.NodeTree) -> bpy.types.Node:
    """The Principled BSDF behind the active output, else any, else a new one of ours that takes the output over."""
    output = next((n for n in tree.nodes if n.bl_idname == "ShaderNodeOutputMaterial" and n.is_active_output), None)
    linked = output.inputs["Surface"].links[0].from_node if output and output.inputs["Surface"].links else None
    if linked and linked.bl_idname == "ShaderNodeBsdfPrincipled":
        return linked
    existing = next((n for n in tree.nodes if n.bl_idname == "ShaderNodeBsdfPrincipled"), None)
    if existing:
        return existing
    shader = _labelled(tree, "ShaderNodeBsdfPrincipled", "shader")
    if output is None:
        output = _labelled(tree, "ShaderNodeOutputMaterial", "output")
    shader.location = (output.location.x - 320, output.location.y)
    _take_over(tree, output.inputs["Surface"], shader)
    return shader


def _take_over(tree: bpy.types.NodeTree, socket: bpy.types.NodeSocket, node: bpy.types.Node) -> None:
    """Link ``node`` into ``socket`` and remember on ``node`` what was linked there before."""
    node[_TARGET] = [socket.node.name, socket.identifier]
    if socket.links:
        former = socket.links[0].from_socket
        node[_FORMER] = [former.node.name, former.identifier]
    tree.links.new(node.outputs[0], socket)


def _own_nodes(material: bpy.types.Material) -> list[bpy.types.Node]:
    return [node for node in material.node_tree.nodes if ROLE in node] if material.node_tree else []


def _remove_nodes(material: bpy.types.Material) -> list[bpy.types.Image]:
    """Put former links back and delete our nodes; returns the images they showed."""
    tree = material.node_tree
    images = []
    for node in _own_nodes(material):
        if node[ROLE] == "image" and node.image:
            images.append(node.image)
        if _FORMER in node:
            source = _socket(tree, node[_FORMER], "outputs")
            target = _socket(tree, node[_TARGET], "inputs")
            if source and target:
                tree.links.new(source, target)
    _restore_active(tree)
    for node in _own_nodes(material):
        tree.nodes.remove(node)
    return images


def _socket(tree: bpy.types.NodeTree, address: list[str], side: str) -> bpy.types.NodeSocket | None:
    """The socket that ``_take_over`` noted, or None if the artist has removed its node meanwhile."""
    node = tree.nodes.get(address[0])
    return next((s for s in getattr(node, side) if s.identifier == address[1]), None) if node else None


def _restore_active(tree: bpy.types.NodeTree) -> None:
    """Make the node active that was so before ours, unless the artist has chosen another one meanwhile."""
    former = tree.nodes.get(tree.nodes.active.get(_ACTIVE, "")) if tree.nodes.active else None
    if former:
        # Blender selects what becomes active.
        selected = former.select
        tree.nodes.active = former
        former.select = selected


def _give_back(obj: bpy.types.Object, slot: bpy.types.MaterialSlot) -> None:
    """Put into ``slot`` what was there before; a slot that we added goes too, unless there are more by now."""
    material = slot.material
    if _ORIGINAL in material:
        slot.material = material[_ORIGINAL]
    elif _CREATED in material:
        slot.material = None
        if material[_CREATED] == "slot" and len(obj.material_slots) == 1:
            _remove_slots(obj.data)
    elif _NODELESS in material:
        del material[_NODELESS]
        disable_nodes(material)


def _remove_slots(mesh: bpy.types.Mesh) -> None:
    """Empty the list of materials; Blender would reset the faces' material indices with it."""
    indices = None
    if "material_index" in mesh.attributes:
        indices = np.empty(len(mesh.polygons), np.int32)
        mesh.polygons.foreach_get("material_index", indices)
    mesh.materials.clear()
    if indices is not None:
        mesh.polygons.foreach_set("material_index", indices)


def _remove_unused(collection: bpy.types.bpy_prop_collection, blocks: Iterable[bpy.types.ID]) -> None:
    for block in blocks:
        if block.users == 0:
            collection.remove(block)
