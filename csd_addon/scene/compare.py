"""Before and after: a look at what the material showed before the last step, and back again. Nothing is removed.

Before a texture that is what fed Base Color until then; before an edit it is the image that was edited. What is shown
afterwards is remembered on our image node. Whatever changes our nodes calls ``show_after`` first.
"""

from __future__ import annotations

import bpy

from .texture_nodes import BEFORE, FORMER, TARGET, address, own_node, socket_at, step_of

# On our image node while it shows what was before: how to come back.
_AFTER = "csd_after"


def shows_before(obj: bpy.types.Object) -> bool:
    """Whether ``obj`` shows what was there before the last step."""
    return any(_AFTER in own_node(material, "image") for material in _ours(obj))


def show_before(obj: bpy.types.Object) -> None:
    """Show what the materials of the last step showed before it. Does nothing where nothing of ours is."""
    show_after(obj)
    last = max(map(step_of, _ours(obj)), default=0)
    for material in _ours(obj):
        if step_of(material) == last:
            node = own_node(material, "image")
            if BEFORE in node:
                _swap_image(material, node)
            else:
                _swap_link(material.node_tree, node)


def show_after(obj: bpy.types.Object) -> None:
    """The inverse of ``show_before``; does nothing where that was not called."""
    for material in _ours(obj):
        node = own_node(material, "image")
        if _AFTER not in node:
            continue
        after = node[_AFTER].to_dict()
        # A property that is left behind would keep its image in the file.
        del node[_AFTER]
        if "source" in after:
            node.image = after.get("image")
            _link_again(material.node_tree, node, list(after["source"]))
        else:
            _set_image(material, node, after.get("image"), after["uv_map"])


def _ours(obj: bpy.types.Object) -> list[bpy.types.Material]:
    materials = dict.fromkeys(slot.material for slot in obj.material_slots if slot.material)
    return [material for material in materials if own_node(material, "image")]


def _swap_image(material: bpy.types.Material, node: bpy.types.Node) -> None:
    layer = own_node(material, "uv")
    after = {"uv_map": layer.uv_map if layer else ""}
    if node.image:
        after["image"] = node.image
    node[_AFTER] = after
    before = node[BEFORE][-1].to_dict()
    _set_image(material, node, before.get("image"), before["uv_map"])


def _set_image(
    material: bpy.types.Material, node: bpy.types.Node, image: bpy.types.Image | None, uv_map: str
) -> None:
    node.image = image
    layer = own_node(material, "uv")
    if layer:
        layer.uv_map = uv_map


def _swap_link(tree: bpy.types.NodeTree, node: bpy.types.Node) -> None:
    target = socket_at(tree, node[TARGET], "inputs")
    if target is None:
        return
    linked = target.links[0].from_socket if target.links else None
    after = {"source": address(linked) if linked else ["", ""]}
    if node.image:
        after["image"] = node.image
    node[_AFTER] = after
    former = socket_at(tree, node[FORMER], "outputs") if FORMER in node else None
    if former:
        tree.links.new(former, target)
    elif target.links:
        tree.links.remove(target.links[0])
    # Solid shading shows the image node with this mark, or else any that has an image.
    node.show_texture = False
    node.image = None
    if former and former.node.bl_idname == "ShaderNodeTexImage":
        former.node.show_texture = True


def _link_again(tree: bpy.types.NodeTree, node: bpy.types.Node, source: list[str]) -> None:
    target, output = socket_at(tree, node[TARGET], "inputs"), socket_at(tree, source, "outputs")
    if target and output:
        tree.links.new(output, target)
    former = socket_at(tree, node[FORMER], "outputs") if FORMER in node else None
    if former and former.node.bl_idname == "ShaderNodeTexImage":
        former.node.show_texture = False
    node.show_texture = True
