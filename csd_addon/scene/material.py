"""The texture on the object's own material, and its removal.

We add three labelled nodes (UV map, image, frame) and one link into Base Color. Nothing is deleted: the former
link is remembered on the image node and comes back with ``revert``. Our nodes are found again by the custom
property ``csd_role``, never by name. A material that other objects use is copied for this object first.
"""

from __future__ import annotations

import bpy

from .compat import enable_nodes

ROLE = "csd_role"
_FORMER = "csd_former_source"
_TARGET = "csd_target"
_ORIGINAL = "csd_original"
_CREATED = "csd_created"
LABEL = "CSD Texture"


def apply_texture(obj: bpy.types.Object, image: bpy.types.Image, uv_map: str) -> list[str]:
    """Show ``image`` through the UV layer ``uv_map`` as the base colour of every material of ``obj``.

    Returns sentences about what the artist may not expect (a material that had to be copied or created).
    """
    notes: list[str] = []
    if not obj.material_slots:
        obj.data.materials.append(_new_material(obj))
        notes.append(f"'{obj.name}' had no material; a new one was added.")
    for slot in obj.material_slots:
        _own_material(obj, slot, notes)
    for material in {slot.material for slot in obj.material_slots}:
        _add_nodes(material, image, uv_map)
    return notes


def revert(obj: bpy.types.Object) -> int:
    """Remove all that ``apply_texture`` added to ``obj``. Returns the number of materials that were put back."""
    count = 0
    for slot in list(obj.material_slots):
        material = slot.material
        if material is None or not _own_nodes(material):
            continue
        count += 1
        images = _remove_nodes(material)
        if _ORIGINAL in material:
            slot.material = material[_ORIGINAL]
        elif _CREATED in material:
            _remove_created(obj, slot)
        if material.users == 0:
            bpy.data.materials.remove(material)
        for image in images:
            if image.users == 0:
                bpy.data.images.remove(image)
    return count


def base_color_image(obj: bpy.types.Object) -> bpy.types.Image | None:
    """The image that we put on ``obj``, if it carries one."""
    for slot in obj.material_slots:
        for node in _own_nodes(slot.material) if slot.material else []:
            if node[ROLE] == "image":
                return node.image
    return None


def _new_material(obj: bpy.types.Object) -> bpy.types.Material:
    material = bpy.data.materials.new(obj.name)
    enable_nodes(material)
    material[_CREATED] = True
    return material


def _own_material(obj: bpy.types.Object, slot: bpy.types.MaterialSlot, notes: list[str]) -> None:
    """Make sure the slot has a material that only this object (or its shared mesh) uses."""
    material = slot.material
    if material is None:
        slot.material = _new_material(obj)
        notes.append(f"An empty material slot of '{obj.name}' got a new material.")
    elif material.library or _used_elsewhere(material, obj):
        copy = material.copy()
        copy[_ORIGINAL] = material
        slot.material = copy
        notes.append(f"The material '{material.name}' is used by other objects too; '{obj.name}' got its own copy.")
    else:
        enable_nodes(material)


def _used_elsewhere(material: bpy.types.Material, obj: bpy.types.Object) -> bool:
    others = (o for o in bpy.data.objects if o is not obj and o.data is not obj.data)
    return any(slot.material is material for other in others for slot in other.material_slots)


def _add_nodes(material: bpy.types.Material, image: bpy.types.Image, uv_map: str) -> None:
    _remove_nodes(material)
    tree = material.node_tree
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
    for node in tree.nodes:
        node.select = node is texture
    tree.nodes.active = texture


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
    for node in _own_nodes(material):
        tree.nodes.remove(node)
    return images


def _socket(tree: bpy.types.NodeTree, address: list[str], side: str) -> bpy.types.NodeSocket | None:
    """The socket that ``_take_over`` noted, or None if the artist has removed its node meanwhile."""
    node = tree.nodes.get(address[0])
    return next((s for s in getattr(node, side) if s.identifier == address[1]), None) if node else None


def _remove_created(obj: bpy.types.Object, slot: bpy.types.MaterialSlot) -> None:
    """Take away a material that we made; its slot goes too if it is the only one, which we added."""
    slot.material = None
    if len(obj.material_slots) == 1:
        obj.data.materials.clear()
