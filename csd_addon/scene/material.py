"""The texture on the object's own material, the edits upon it, and their removal.

We add three labelled nodes (UV map, image, frame) and one link into Base Color. Nothing is deleted: the former
link and the former active node are remembered on the image node and come back with ``revert``. Our nodes are found
again by the custom property ``csd_role``, never by name. A material that other objects use is copied for this
object first.

An edit shows another image on the same nodes. What they showed before is kept on the image node, newest last, with
pointers that keep the images in the file; ``undo_edit`` goes back by one.
"""

from __future__ import annotations

from collections.abc import Iterable

import bpy
import numpy as np

from .base_color import find_shader, follow
from .compat import disable_nodes, enable_nodes

ROLE = "csd_role"
_FORMER = "csd_former_source"
_TARGET = "csd_target"
_ACTIVE = "csd_former_active"
_ORIGINAL = "csd_original"
# On a material that we made: "slot" where we added its slot too, else "material".
_CREATED = "csd_created"
_NODELESS = "csd_had_no_nodes"
# On the image node: what it showed before each edit, and the number of the step that put up what it shows now.
_BEFORE = "csd_before"
_STEP = "csd_step"
# On an image: the job that made it.
_JOB = "csd_job"
LABEL = "CSD Texture"


def apply_texture(obj: bpy.types.Object, image: bpy.types.Image, uv_map: str, job: str = "") -> list[str]:
    """Show ``image`` through the UV layer ``uv_map`` as the base colour of every material of ``obj``.

    A texture that we put there before is replaced, with all its edits. job: what ``job_of(image)`` returns from now
    on. Returns sentences about what the artist may not expect (a material that had to be copied or created).
    """
    notes: list[str] = []
    _ensure_slot(obj, notes)
    materials = _own_materials(obj, obj.material_slots, notes)
    former = {picture for material in materials for picture in _add_nodes(material, image, uv_map, 1)}
    image[_JOB] = job
    _remove_unused(bpy.data.images, former)
    return notes


def apply_edit(
    obj: bpy.types.Object, image: bpy.types.Image, uv_map: str, slots: tuple[int, ...], job: str
) -> list[str]:
    """Show ``image`` through ``uv_map`` as the base colour of the materials in ``slots``; ``undo_edit`` goes back.

    A material that lies in further slots of ``obj`` changes there too. An object without slots gets one; ``slots``
    is then of no account. Returns sentences like ``apply_texture``. Raises ``ValueError`` if there is no such slot.
    """
    notes: list[str] = []
    if _ensure_slot(obj, notes):
        slots = (0,)
    if not slots or not set(slots) <= set(range(len(obj.material_slots))):
        raise ValueError(f"'{obj.name}' has no material slots {list(slots)}; it has {len(obj.material_slots)} of them.")
    step = max(map(_step, _materials(obj)), default=0) + 1
    materials = {obj.material_slots[index].material for index in slots} - {None}
    chosen = [slot for i, slot in enumerate(obj.material_slots) if i in slots or slot.material in materials]
    former = {
        picture for material in _own_materials(obj, chosen, notes) for picture in _edit(material, image, uv_map, step)
    }
    image[_JOB] = job
    _remove_unused(bpy.data.images, former)
    return notes


def undo_edit(obj: bpy.types.Object) -> str:
    """Take back what the last ``apply_edit`` (or ``apply_texture``) put on ``obj``, and remove its image if unused.

    Returns the name of the image that is the base colour now, empty where none is. Raises ``ValueError`` if nothing
    of ours is on ``obj``.
    """
    step = max(map(_step, _materials(obj)), default=0)
    if not step:
        raise ValueError(f"'{obj.name}' carries no texture of ours, so there is no edit to undo.")
    undone = {material for material in _materials(obj) if _step(material) == step}
    indices = [i for i, slot in enumerate(obj.material_slots) if slot.material in undone]
    edited = {material for material in undone if _BEFORE in _own_node(material, "image")}
    images = {_step_back(material) for material in edited} | _take_away(obj, undone - edited)
    _remove_unused(bpy.data.images, images - {None})
    names = (_shown_name(slot.material) for i, slot in enumerate(obj.material_slots) if i in indices and slot.material)
    return next(filter(None, names), "")


def revert(obj: bpy.types.Object) -> int:
    """Remove all that was added to ``obj``, edits included. Returns the number of materials that were put back."""
    materials = {material for material in _materials(obj) if _own_nodes(material)}
    count = len(materials)
    _remove_unused(bpy.data.images, _take_away(obj, materials))
    return count


def job_of(image: bpy.types.Image) -> str:
    """The job whose result ``image`` is, empty if it is none of ours."""
    return image.get(_JOB, "")


def base_color_image(obj: bpy.types.Object) -> bpy.types.Image | None:
    """The image that we put on ``obj``, if it carries one."""
    nodes = (_own_node(material, "image") for material in _materials(obj))
    return next((node.image for node in nodes if node), None)


def _materials(obj: bpy.types.Object) -> list[bpy.types.Material]:
    """The materials in the slots of ``obj``, each once, in their order."""
    return list(dict.fromkeys(slot.material for slot in obj.material_slots if slot.material))


def _ensure_slot(obj: bpy.types.Object, notes: list[str]) -> bool:
    """Give an object without material slots one; returns whether it had none."""
    if obj.material_slots:
        return False
    obj.data.materials.append(_new_material(obj, "slot"))
    notes.append(f"'{obj.name}' had no material; a new one was added.")
    return True


def _own_materials(
    obj: bpy.types.Object, slots: Iterable[bpy.types.MaterialSlot], notes: list[str]
) -> set[bpy.types.Material]:
    """The materials in ``slots`` after each of them has become one that only ``obj`` uses."""
    slots = list(slots)
    copies: dict[bpy.types.Material, bpy.types.Material] = {}
    for slot in slots:
        _own_material(obj, slot, copies, notes)
    return {slot.material for slot in slots}


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


def _add_nodes(material: bpy.types.Material, image: bpy.types.Image, uv_map: str, step: int) -> list[bpy.types.Image]:
    """Our nodes in place of those of an earlier run, whose images are returned."""
    former = _remove_nodes(material)
    tree = material.node_tree
    active = tree.nodes.active.name if tree.nodes.active else ""
    shader = _principled(tree)
    texture = _labelled(tree, "ShaderNodeTexImage", "image")
    texture.image = image
    texture[_STEP] = step
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


def _edit(material: bpy.types.Material, image: bpy.types.Image, uv_map: str, step: int) -> list[bpy.types.Image]:
    """Show ``image`` on our nodes and remember what they show now; new nodes where the artist has removed some."""
    tree, texture, layer = material.node_tree, _own_node(material, "image"), _own_node(material, "uv")
    target = _socket(tree, texture[_TARGET], "inputs") if texture and layer else None
    if target is None:
        return _add_nodes(material, image, uv_map, step)
    before = {"uv_map": layer.uv_map, "step": texture.get(_STEP, 1)}
    if texture.image:
        before["image"] = texture.image
    # The artist may have put a node between ours and the shader.
    if not target.links or target.links[0].from_node != texture:
        before["source"] = _address(target.links[0].from_socket) if target.links else ["", ""]
        tree.links.new(texture.outputs[0], target)
    texture[_BEFORE] = [*(entry.to_dict() for entry in texture.get(_BEFORE, [])), before]
    texture.image, layer.uv_map, texture[_STEP] = image, uv_map, step
    if tree.nodes.active != texture:
        texture[_ACTIVE] = tree.nodes.active.name if tree.nodes.active else ""
        tree.nodes.active = texture
    return []


def _step_back(material: bpy.types.Material) -> bpy.types.Image | None:
    """The inverse of the last ``_edit``; returns the image that is shown no longer."""
    tree, texture, layer = material.node_tree, _own_node(material, "image"), _own_node(material, "uv")
    shown = texture.image
    *earlier, before = (entry.to_dict() for entry in texture[_BEFORE])
    texture.image, texture[_STEP] = before.get("image"), before["step"]
    if layer:
        layer.uv_map = before["uv_map"]
    target = _socket(tree, texture[_TARGET], "inputs")
    if "source" in before and target:
        source = _socket(tree, before["source"], "outputs")
        if source:
            tree.links.new(source, target)
        elif target.links:
            tree.links.remove(target.links[0])
    if earlier:
        texture[_BEFORE] = earlier
    else:
        del texture[_BEFORE]
    return shown


def _step(material: bpy.types.Material) -> int:
    """The number of the apply that the material shows, 0 if it shows nothing of ours."""
    texture = _own_node(material, "image")
    return texture.get(_STEP, 1) if texture else 0


def _shown_name(material: bpy.types.Material) -> str:
    shader = find_shader(material)
    output = follow(shader.node.inputs["Base Color"], shader.groups)[0] if shader else None
    image = getattr(output.node, "image", None) if output else None
    return image.name if image else ""


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
    node[_TARGET] = _address(socket)
    if socket.links:
        node[_FORMER] = _address(socket.links[0].from_socket)
    tree.links.new(node.outputs[0], socket)


def _own_nodes(material: bpy.types.Material) -> list[bpy.types.Node]:
    return [node for node in material.node_tree.nodes if ROLE in node] if material.node_tree else []


def _own_node(material: bpy.types.Material, role: str) -> bpy.types.Node | None:
    return next((node for node in _own_nodes(material) if node[ROLE] == role), None)


def _take_away(obj: bpy.types.Object, materials: set[bpy.types.Material]) -> set[bpy.types.Image]:
    """Give ``materials`` back as they were before us; returns the images that we showed on them."""
    images = {picture for material in materials for picture in _remove_nodes(material)}
    for slot in [slot for slot in obj.material_slots if slot.material in materials]:
        _give_back(obj, slot)
    _remove_unused(bpy.data.materials, materials)
    return images


def _remove_nodes(material: bpy.types.Material) -> list[bpy.types.Image]:
    """Put former links back and delete our nodes; returns the images they showed, before edits too."""
    tree = material.node_tree
    images = []
    for node in _own_nodes(material):
        if node[ROLE] == "image":
            shown = [node.image, *(entry.get("image") for entry in node.get(_BEFORE, []))]
            images += [picture for picture in shown if picture]
            # Removing a node does not give up the images that its properties point to; deleting the property does.
            if _BEFORE in node:
                del node[_BEFORE]
        if _FORMER in node:
            source = _socket(tree, node[_FORMER], "outputs")
            target = _socket(tree, node[_TARGET], "inputs")
            if source and target:
                tree.links.new(source, target)
    _restore_active(tree)
    for node in _own_nodes(material):
        tree.nodes.remove(node)
    return images


def _address(socket: bpy.types.NodeSocket) -> list[str]:
    return [socket.node.name, socket.identifier]


def _socket(tree: bpy.types.NodeTree, address: list[str], side: str) -> bpy.types.NodeSocket | None:
    """The socket at an ``_address``, or None if the artist has removed its node meanwhile."""
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
