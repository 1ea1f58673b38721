"""Which materials of an object get which image, where each of them has its own.

Images are counted as in ``core.images``. Slots that hold the same material share one; a material that no face shows
gets none, and neither does one that is not in the object's slots (Geometry Nodes put it on the faces).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from .material import CREATED, ORIGINAL


@dataclass(frozen=True)
class MaterialImage:
    """material: the name of the artist's that shows the image, empty for an empty slot. slots: their indices."""

    material: str
    slots: tuple[int, ...]

    @staticmethod
    def from_json(values: Any) -> MaterialImage:
        """What ``dataclasses.asdict`` made. Raises ``ValueError`` if it is no such thing."""
        try:
            return MaterialImage(str(values["material"]), tuple(int(slot) for slot in values["slots"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("The job does not say which materials its images are for.") from error


def material_images(obj: bpy.types.Object, material: np.ndarray) -> tuple[MaterialImage, ...]:
    """The images of ``obj``. material: ``MeshSnapshot.material``.

    Raises ``ValueError`` with a sentence if no face shows a material of its slots."""
    if not obj.material_slots:
        return (MaterialImage("", (0,)),)
    used = set(material.tolist())
    slots: dict[object, list[int]] = {}
    for index, slot in enumerate(obj.material_slots):
        slots.setdefault(slot.material or index, []).append(index)
    shown = [own for own in slots.values() if used & set(own)]
    found = [MaterialImage(_artists_name(obj.material_slots[own[0]].material), tuple(own)) for own in shown]
    if not found:
        raise ValueError(
            f"No face of '{obj.name}' shows a material of its slots, so none can have an image of its own: use one "
            "image for all."
        )
    return tuple(found)


def _artists_name(material: bpy.types.Material | None) -> str:
    """The name of what the artist had in the slot: not of our copy of it, and none where there was nothing."""
    if material is None or CREATED in material:
        return ""
    return (material.get(ORIGINAL) or material).name


def image_of_faces(obj: bpy.types.Object, images: Sequence[MaterialImage], material: np.ndarray) -> np.ndarray:
    """(T,) int32, the image that each triangle shows, -1 for none. material: ``MeshSnapshot.material``."""
    table = np.full(max(len(obj.material_slots), int(material.max(initial=0)) + 1), -1, np.int32)
    for number, image in enumerate(images):
        table[list(image.slots)] = number
    return np.asarray(table[material])


def require_same_images(
    obj: bpy.types.Object, images: Sequence[MaterialImage], material: np.ndarray, kept: np.ndarray | None
) -> None:
    """Raise ``ValueError`` with a sentence unless the faces of ``obj`` show the images as they did for a job.

    material: ``MeshSnapshot.material``. kept: the job's ``MeshData.image``.
    """
    if not images:
        return
    slots = max(len(obj.material_slots), 1)
    fits = all(slot in range(slots) for image in images for slot in image.slots)
    if kept is None or not fits or not np.array_equal(image_of_faces(obj, images, material), kept):
        raise ValueError(
            f"The faces of '{obj.name}' have other materials than when this texture was made, one image for each: "
            "give them back, or make the texture anew."
        )
