"""The growing texture on the object's own material while a job runs, and its removal without a trace.

A preview lies above whatever the material shows, takes its link into Base Color over and gives it back. All that
belongs to it is marked with the job's name, on materials, meshes and the image, because no reference survives undo;
an undo step that was made while a job ran brings its preview back, and ``hide_previews`` takes that away too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ..core.udim import tiles_of
from .material import CREATED, NODELESS, ORIGINAL, ensure_slot, give_back, own_materials, remove_unused
from .texture_nodes import PREVIEW_ROLE, add_nodes, own_node, remove_nodes
from .tiles import load_files
from .unwrap import put_layer

# On materials, meshes and the image of a preview: the job that it belongs to.
_MARK = "csd_preview"
# On a material that was made (in 4.5: that got its nodes) for the preview.
_MADE = "csd_preview_made"
# On a mesh: the UV layer that was made for the preview.
_LAYER = "csd_preview_layer"


@dataclass(frozen=True)
class Preview:
    """One image. image: the file, whose pixels change. uv_map: the layer it is shown through.

    job: a name for what belongs to it. slots: the material slots that show it, None for all. uvs: of the layer where it
    is a new one (``take_layer``).
    """

    image: Path
    uv_map: str
    job: str
    slots: tuple[int, ...] | None = None
    uvs: np.ndarray | None = None


def show_preview(obj: bpy.types.Object, *previews: Preview) -> bool:
    """Show the newest pixels of ``previews``, images of one job, on ``obj``; returns whether they are to be seen.

    They are not where an image file or the UV layer is gone, or while the object is not in Object Mode.
    """
    if obj.type != "MESH" or obj.mode != "OBJECT" or not all(tiles_of(preview.image) for preview in previews):
        return False
    images = [_shown_image(obj, preview) for preview in previews]
    if None in images:
        hide_previews()
        return _put_up(obj, previews)
    for image in images:
        image.reload()
    return True


def hide_previews() -> None:
    """Take every preview in the file away."""
    materials = {block for block in bpy.data.materials if _is_marked(block)}
    for material in materials:
        remove_nodes(material, key=PREVIEW_ROLE)
        del material[_MARK]
    _give_slots_back({material for material in materials if _MADE in material})
    for image in [block for block in bpy.data.images if _is_marked(block)]:
        bpy.data.images.remove(image)
    for mesh in [block for block in bpy.data.meshes if _is_marked(block)]:
        _remove_layer(mesh)


def _is_marked(block: bpy.types.ID) -> bool:
    return block.library is None and _MARK in block


def _shown_image(obj: bpy.types.Object, preview: Preview) -> bpy.types.Image | None:
    """The image of ``preview`` if all the materials that should show it do."""
    slots = _slots(obj, preview)
    nodes = {_node_of(slot.material, preview.job) for slot in slots} if slots else {None}
    if None in nodes or preview.uv_map not in obj.data.uv_layers:
        return None
    images = {node.image for node in nodes}
    return images.pop() if len(images) == 1 else None


def _node_of(material: bpy.types.Material | None, job: str) -> bpy.types.Node | None:
    if material is None or material.get(_MARK) != job:
        return None
    return own_node(material, "image", key=PREVIEW_ROLE)


def _slots(obj: bpy.types.Object, preview: Preview) -> list[bpy.types.MaterialSlot]:
    return [slot for i, slot in enumerate(obj.material_slots) if preview.slots is None or i in preview.slots]


def _put_up(obj: bpy.types.Object, previews: Sequence[Preview]) -> bool:
    if not _ensure_layer(obj, previews[0]):
        return False
    had_nodes = {material: NODELESS not in material for material in bpy.data.materials}
    added = ensure_slot(obj, [])
    for preview in previews:
        _put_on(obj, list(obj.material_slots) if added else _slots(obj, preview), preview, had_nodes)
    return True


def _put_on(
    obj: bpy.types.Object, slots: Sequence[bpy.types.MaterialSlot], preview: Preview,
    had_nodes: Mapping[bpy.types.Material, bool],
) -> None:  # fmt: skip
    """had_nodes: of each material that was there before."""
    image = load_files(preview.image, tiles_of(preview.image))
    image.name, image[_MARK] = f"{obj.name} preview", preview.job
    for material in own_materials(obj, slots, []):
        add_nodes(material, image, preview.uv_map, 0, key=PREVIEW_ROLE)
        material[_MARK] = preview.job
        if material not in had_nodes or (had_nodes[material] and NODELESS in material):
            material[_MADE] = True


def _ensure_layer(obj: bpy.types.Object, preview: Preview) -> bool:
    """Whether ``obj`` has the UV layer of ``preview``, a new one added first."""
    if preview.uvs is None or preview.uv_map in obj.data.uv_layers:
        return preview.uv_map in obj.data.uv_layers
    if len(preview.uvs) != 2 * len(obj.data.loops):
        return False
    put_layer(obj, preview.uv_map, preview.uvs)
    obj.data[_MARK], obj.data[_LAYER] = preview.job, preview.uv_map
    return True


def _remove_layer(mesh: bpy.types.Mesh) -> None:
    layer = mesh.uv_layers.get(mesh[_LAYER])
    if layer:
        mesh.uv_layers.remove(layer)
    del mesh[_MARK], mesh[_LAYER]


def _give_slots_back(materials: set[bpy.types.Material]) -> None:
    """Put into slots what was there before a preview needed ``materials``."""
    own = {material for material in materials if ORIGINAL in material or CREATED in material}
    for material in materials:
        del material[_MADE]
    for obj in bpy.data.objects if materials else ():
        for slot in [slot for slot in obj.material_slots if slot.material in materials]:
            give_back(obj, slot)
    remove_unused(bpy.data.materials, own)
