"""Our nodes in a material: image, UV map and frame, their one link into Base Color, and the edits upon them.

There are two sets of them, told apart by their ``key``: the result, and above it for a while a preview.

Nothing of the artist's is deleted: the former link and the former active node are remembered on the image node. Our
nodes are found again by the custom property ``csd_role``, never by name. What an edit replaces is kept on the image
node too, newest last, with pointers that keep the images in the file.
"""

from __future__ import annotations

import bpy

from .base_color import find_shader, follow

ROLE = "csd_role"
PREVIEW_ROLE = "csd_preview_role"
LABEL = "CSD Texture"
FORMER = "csd_former_source"
TARGET = "csd_target"
_ACTIVE = "csd_former_active"
# On the image node: what it showed before each edit, and the number of the step that put up what it shows now.
BEFORE = "csd_before"
_STEP = "csd_step"


def add_nodes(
    material: bpy.types.Material, image: bpy.types.Image, uv_map: str, step: int, *, key: str = ROLE
) -> list[bpy.types.Image]:
    """Our nodes in place of those of an earlier run, whose images are returned. key: the set that they belong to."""
    former = remove_nodes(material, key=key)
    tree = material.node_tree
    active = tree.nodes.active.name if tree.nodes.active else ""
    shader = _principled(tree, key)
    texture = _labelled(tree, "ShaderNodeTexImage", "image", key)
    texture.image = image
    texture[_STEP] = step
    layer = _labelled(tree, "ShaderNodeUVMap", "uv", key)
    layer.uv_map = uv_map
    frame = _labelled(tree, "NodeFrame", "frame", key)
    texture.location = (shader.location.x - 340, shader.location.y)
    layer.location = (texture.location.x - 220, texture.location.y - 120)
    texture.parent = layer.parent = frame
    tree.links.new(layer.outputs[0], texture.inputs["Vector"])
    _take_over(tree, shader.inputs["Base Color"], texture)
    # The active image node is what Solid shading with Texture colour shows.
    texture[_ACTIVE] = active
    tree.nodes.active = texture
    return former


def edit_nodes(material: bpy.types.Material, image: bpy.types.Image, uv_map: str, step: int) -> list[bpy.types.Image]:
    """Show ``image`` on our nodes and remember what they show now; new nodes where the artist has removed some."""
    tree, texture, layer = material.node_tree, own_node(material, "image"), own_node(material, "uv")
    target = socket_at(tree, texture[TARGET], "inputs") if texture and layer else None
    if target is None:
        return add_nodes(material, image, uv_map, step)
    before = {"uv_map": layer.uv_map, "step": texture.get(_STEP, 1)}
    if texture.image:
        before["image"] = texture.image
    # The artist may have put a node between ours and the shader.
    if not target.links or target.links[0].from_node != texture:
        before["source"] = address(target.links[0].from_socket) if target.links else ["", ""]
        tree.links.new(texture.outputs[0], target)
    texture[BEFORE] = [*(entry.to_dict() for entry in texture.get(BEFORE, [])), before]
    texture.image, layer.uv_map, texture[_STEP] = image, uv_map, step
    if tree.nodes.active != texture:
        texture[_ACTIVE] = tree.nodes.active.name if tree.nodes.active else ""
        tree.nodes.active = texture
    return []


def step_back(material: bpy.types.Material) -> bpy.types.Image | None:
    """The inverse of the last ``edit_nodes``; returns the image that is shown no longer."""
    tree, texture, layer = material.node_tree, own_node(material, "image"), own_node(material, "uv")
    shown = texture.image
    *earlier, before = (entry.to_dict() for entry in texture[BEFORE])
    texture.image, texture[_STEP] = before.get("image"), before["step"]
    if layer:
        layer.uv_map = before["uv_map"]
    target = socket_at(tree, texture[TARGET], "inputs")
    if "source" in before and target:
        source = socket_at(tree, before["source"], "outputs")
        if source:
            tree.links.new(source, target)
        elif target.links:
            tree.links.remove(target.links[0])
    if earlier:
        texture[BEFORE] = earlier
    else:
        del texture[BEFORE]
    return shown


def step_of(material: bpy.types.Material) -> int:
    """The number of the apply that the material shows, 0 if it shows nothing of ours."""
    texture = own_node(material, "image")
    return texture.get(_STEP, 1) if texture else 0


def shown_name(material: bpy.types.Material) -> str:
    shader = find_shader(material)
    output = follow(shader.node.inputs["Base Color"], shader.groups)[0] if shader else None
    image = getattr(output.node, "image", None) if output else None
    return image.name if image else ""


def own_nodes(material: bpy.types.Material, *, key: str = ROLE) -> list[bpy.types.Node]:
    return [node for node in material.node_tree.nodes if key in node] if material.node_tree else []


def own_node(material: bpy.types.Material, role: str, *, key: str = ROLE) -> bpy.types.Node | None:
    return next((node for node in own_nodes(material, key=key) if node[key] == role), None)


def remove_nodes(material: bpy.types.Material, *, key: str = ROLE) -> list[bpy.types.Image]:
    """Put former links back and delete our nodes; returns the images they showed, before edits too."""
    tree = material.node_tree
    images = []
    for node in own_nodes(material, key=key):
        if node[key] == "image":
            shown = [node.image, *(entry.get("image") for entry in node.get(BEFORE, []))]
            images += [picture for picture in shown if picture]
            # Removing a node does not give up the images that its properties point to; deleting the property does.
            if BEFORE in node:
                del node[BEFORE]
        if FORMER in node:
            _give_links_back(tree, node, key)
    _restore_active(tree, key)
    for node in own_nodes(material, key=key):
        tree.nodes.remove(node)
    return images


def _give_links_back(tree: bpy.types.NodeTree, node: bpy.types.Node, key: str) -> None:
    """Link what ``node`` has taken over to its former source."""
    source = socket_at(tree, node[FORMER], "outputs")
    targets = [socket_at(tree, node[TARGET], "inputs")]
    if key == PREVIEW_ROLE:
        # The artist goes on working: what another node feeds by now is left alone.
        targets = [link.to_socket for link in node.outputs[0].links]
    for target in targets:
        if source and target:
            tree.links.new(source, target)


def _labelled(tree: bpy.types.NodeTree, kind: str, role: str, key: str) -> bpy.types.Node:
    node = tree.nodes.new(kind)
    node.label = LABEL
    node[key] = role
    return node


def _principled(tree: bpy.types.NodeTree, key: str) -> bpy.types.Node:
    """The Principled BSDF behind the active output, else any, else a new one of ours that takes the output over."""
    output = next((n for n in tree.nodes if n.bl_idname == "ShaderNodeOutputMaterial" and n.is_active_output), None)
    linked = output.inputs["Surface"].links[0].from_node if output and output.inputs["Surface"].links else None
    if linked and linked.bl_idname == "ShaderNodeBsdfPrincipled":
        return linked
    existing = next((n for n in tree.nodes if n.bl_idname == "ShaderNodeBsdfPrincipled"), None)
    if existing:
        return existing
    shader = _labelled(tree, "ShaderNodeBsdfPrincipled", "shader", key)
    if output is None:
        output = _labelled(tree, "ShaderNodeOutputMaterial", "output", key)
    shader.location = (output.location.x - 320, output.location.y)
    _take_over(tree, output.inputs["Surface"], shader)
    return shader


def _take_over(tree: bpy.types.NodeTree, socket: bpy.types.NodeSocket, node: bpy.types.Node) -> None:
    """Link ``node`` into ``socket`` and remember on ``node`` what was linked there before."""
    node[TARGET] = address(socket)
    if socket.links:
        node[FORMER] = address(socket.links[0].from_socket)
    tree.links.new(node.outputs[0], socket)


def _restore_active(tree: bpy.types.NodeTree, key: str) -> None:
    """Make the node active that was so before ours, unless the artist has chosen another one meanwhile."""
    active = tree.nodes.active
    former = tree.nodes.get(active.get(_ACTIVE, "")) if active and key in active else None
    if former:
        # Blender selects what becomes active.
        selected = former.select
        tree.nodes.active = former
        former.select = selected


def address(socket: bpy.types.NodeSocket) -> list[str]:
    return [socket.node.name, socket.identifier]


def socket_at(tree: bpy.types.NodeTree, address: list[str], side: str) -> bpy.types.NodeSocket | None:
    """The socket at an ``address``, or None if the artist has removed its node meanwhile."""
    node = tree.nodes.get(address[0])
    return next((s for s in getattr(node, side) if s.identifier == address[1]), None) if node else None
