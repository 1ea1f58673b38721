"""The texture on the object's own material, the edits upon it, and their removal.

Our nodes (``texture_nodes``) go into every material that shows the texture; a material that other objects use is
copied for this object first. ``undo_edit`` goes back by one step, ``revert`` to what the artist had.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import bpy
import numpy as np

from .compare import show_after
from .compat import disable_nodes, enable_nodes
from .texture_nodes import (
    BEFORE,
    add_nodes,
    edit_nodes,
    own_node,
    own_nodes,
    remove_nodes,
    shown_name,
    step_back,
    step_of,
)

ORIGINAL = "csd_original"
# On a material that we made: "slot" where we added its slot too, else "material".
CREATED = "csd_created"
NODELESS = "csd_had_no_nodes"
# On an image: the job that made it.
_JOB = "csd_job"


def apply_texture(obj: bpy.types.Object, image: bpy.types.Image, uv_map: str, job: str = "") -> list[str]:
    """Show ``image`` through the UV layer ``uv_map`` as the base colour of every material of ``obj``.

    A texture that we put there before is replaced, with all its edits. job: what ``job_of(image)`` returns from now
    on. Returns sentences about what the artist may not expect (a material that had to be copied or created).
    """
    slots = tuple(range(max(len(obj.material_slots), 1)))
    return apply_textures(obj, [(image, slots)], uv_map, job)


def apply_textures(
    obj: bpy.types.Object, images: Sequence[tuple[bpy.types.Image, tuple[int, ...]]], uv_map: str, job: str
) -> list[str]:
    """``apply_texture`` with an image for each of several groups of slots; other materials lose what we put there.

    Raises ``ValueError`` with a sentence, and changes nothing, if a slot is gone or a material would have two images.
    """
    _require_apart(obj, [slots for _, slots in images])
    show_after(obj)
    notes: list[str] = []
    ensure_slot(obj, notes)
    former: set[bpy.types.Image] = set()
    shown: set[bpy.types.Material] = set()
    for image, slots in images:
        own = own_materials(obj, [obj.material_slots[index] for index in slots], notes)
        former.update(picture for material in own for picture in add_nodes(material, image, uv_map, 1))
        shown |= own
        image[_JOB] = job
    former |= _take_away(obj, {material for material in _materials(obj) if own_nodes(material)} - shown)
    remove_unused(bpy.data.images, former)
    return notes


def _require_apart(obj: bpy.types.Object, groups: Sequence[tuple[int, ...]]) -> None:
    """Raise ``ValueError`` unless each of the ``groups`` of slots is there and has materials of its own."""
    count = len(obj.material_slots)
    materials = [
        {obj.material_slots[index].material for index in slots if index < count} - {None} for slots in groups
    ]
    missing = max(index for slots in groups for index in slots) >= max(count, 1)
    if missing or sum(map(len, materials)) > len(set[bpy.types.Material]().union(*materials)):
        raise ValueError(
            f"The material slots of '{obj.name}' have changed meanwhile, so its images no longer fit; give them back, "
            "then apply the texture again from the history."
        )


def apply_edit(
    obj: bpy.types.Object, image: bpy.types.Image, uv_map: str, slots: tuple[int, ...], job: str
) -> list[str]:
    """Show ``image`` through ``uv_map`` as the base colour of the materials in ``slots``; ``undo_edit`` goes back.

    A material that lies in further slots of ``obj`` changes there too. An object without slots gets one; ``slots``
    is then of no account. Returns sentences like ``apply_texture``. Raises ``ValueError`` if there is no such slot.
    """
    show_after(obj)
    notes: list[str] = []
    if ensure_slot(obj, notes):
        slots = (0,)
    if not slots or not set(slots) <= set(range(len(obj.material_slots))):
        raise ValueError(f"'{obj.name}' has no material slots {list(slots)}; it has {len(obj.material_slots)} of them.")
    step = max(map(step_of, _materials(obj)), default=0) + 1
    materials = {obj.material_slots[index].material for index in slots} - {None}
    chosen = [slot for i, slot in enumerate(obj.material_slots) if i in slots or slot.material in materials]
    owned = own_materials(obj, chosen, notes)
    former = {picture for material in owned for picture in edit_nodes(material, image, uv_map, step)}
    image[_JOB] = job
    remove_unused(bpy.data.images, former)
    return notes


def undo_edit(obj: bpy.types.Object) -> str:
    """Take back what the last ``apply_edit`` (or ``apply_texture``) put on ``obj``, and remove its image if unused.

    Returns the name of the image that is the base colour now, empty where none is. Raises ``ValueError`` if nothing
    of ours is on ``obj``.
    """
    step = max(map(step_of, _materials(obj)), default=0)
    if not step:
        raise ValueError(f"'{obj.name}' carries no texture of ours, so there is no edit to undo.")
    show_after(obj)
    undone = {material for material in _materials(obj) if step_of(material) == step}
    indices = [i for i, slot in enumerate(obj.material_slots) if slot.material in undone]
    edited = {material for material in undone if BEFORE in own_node(material, "image")}
    images = {step_back(material) for material in edited} | _take_away(obj, undone - edited)
    remove_unused(bpy.data.images, images - {None})
    names = (shown_name(slot.material) for i, slot in enumerate(obj.material_slots) if i in indices and slot.material)
    return next(filter(None, names), "")


def revert(obj: bpy.types.Object) -> int:
    """Remove all that was added to ``obj``, edits included. Returns the number of materials that were put back."""
    show_after(obj)
    materials = {material for material in _materials(obj) if own_nodes(material)}
    count = len(materials)
    remove_unused(bpy.data.images, _take_away(obj, materials))
    return count


def job_of(image: bpy.types.Image) -> str:
    """The job whose result ``image`` is, empty if it is none of ours."""
    return image.get(_JOB, "")


def base_color_image(obj: bpy.types.Object) -> bpy.types.Image | None:
    """The image that we put on ``obj``, if it carries one."""
    nodes = (own_node(material, "image") for material in _materials(obj))
    return next((node.image for node in nodes if node), None)


def carries_texture(obj: bpy.types.Object) -> bool:
    """Whether ``obj`` carries a texture of ours, even while it shows what was there before (``compare``)."""
    return any(own_node(material, "image") for material in _materials(obj))


def is_edited(obj: bpy.types.Object) -> bool:
    """Whether ``undo_edit`` goes back to another texture of ours; otherwise it goes where ``revert`` goes."""
    nodes = (own_node(material, "image") for material in _materials(obj))
    return any(node and BEFORE in node for node in nodes)


def _materials(obj: bpy.types.Object) -> list[bpy.types.Material]:
    """The materials in the slots of ``obj``, each once, in their order."""
    return list(dict.fromkeys(slot.material for slot in obj.material_slots if slot.material))


def ensure_slot(obj: bpy.types.Object, notes: list[str]) -> bool:
    """Give an object without material slots one; returns whether it had none."""
    if obj.material_slots:
        return False
    obj.data.materials.append(_new_material(obj, "slot"))
    notes.append(f"'{obj.name}' had no material; a new one was added.")
    return True


def own_materials(
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
    material[CREATED] = created
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
        slot.material[ORIGINAL] = material
        if material.library:
            notes.append(f"The material '{material.name}' comes from a library; '{obj.name}' got its own copy.")
        else:
            notes.append(
                f"The material '{material.name}' is used by other objects too; '{obj.name}' got its own copy."
            )
    if enable_nodes(slot.material):
        slot.material[NODELESS] = True


def shared_materials(obj: bpy.types.Object) -> list[bpy.types.Material]:
    """The materials of ``obj`` that other objects use too, so that ``obj`` needs copies before a texture."""
    return [material for material in _materials(obj) if material.users > 1 and _used_elsewhere(material, obj)]


def _used_elsewhere(material: bpy.types.Material, obj: bpy.types.Object) -> bool:
    others = (o for o in bpy.data.objects if o is not obj and o.data is not obj.data)
    return any(slot.material is material for other in others for slot in other.material_slots)


def _take_away(obj: bpy.types.Object, materials: set[bpy.types.Material]) -> set[bpy.types.Image]:
    """Give ``materials`` back as they were before us; returns the images that we showed on them."""
    images = {picture for material in materials for picture in remove_nodes(material)}
    for slot in [slot for slot in obj.material_slots if slot.material in materials]:
        give_back(obj, slot)
    remove_unused(bpy.data.materials, materials)
    return images


def give_back(obj: bpy.types.Object, slot: bpy.types.MaterialSlot) -> None:
    """Put into ``slot`` what was there before; a slot that we added goes too, unless there are more by now."""
    material = slot.material
    if ORIGINAL in material:
        slot.material = material[ORIGINAL]
    elif CREATED in material:
        slot.material = None
        if material[CREATED] == "slot" and len(obj.material_slots) == 1:
            _remove_slots(obj.data)
    elif NODELESS in material:
        del material[NODELESS]
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


def remove_unused(collection: bpy.types.bpy_prop_collection, blocks: Iterable[bpy.types.ID]) -> None:
    for block in blocks:
        if block.users == 0:
            collection.remove(block)
