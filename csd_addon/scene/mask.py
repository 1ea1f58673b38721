"""Where an edit may change something, from one word or two to weights.

A mask is one string: "" is everything, "faces" the selected faces, "group:NAME" a vertex group (soft),
"material:NAME" the faces of a material, "image:NAME" a painted image or a file, white = may change. A word without
such a beginning is looked up as group, image, file and material, in this order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

from ..core.udim import FIRST
from .base_color import read_pixels
from .pieces import Pieces, in_thread
from .read_mesh import MeshSnapshot
from .tiles import pictures

_KINDS = ("group", "material", "image")
# Rec.709 luminance.
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def vertex_group(obj: bpy.types.Object, mask: str) -> str:
    """The vertex group that ``mask`` may mean, whose weights ``read_snapshot`` has to read; empty if there is none."""
    name = mask.removeprefix("group:")
    return name if name in obj.vertex_groups else ""


def corner_mask(obj: bpy.types.Object, mask: str, seen: MeshSnapshot) -> np.ndarray:
    """Weights (T, 3) float32 in 0..1 of the corners of ``seen``; ones for an image.

    seen: of ``obj``, with the weights of ``vertex_group(obj, mask)``. Raises ``ValueError`` with a sentence if there is
    no such mask or it selects nothing.
    """
    kind, name = _find(obj, mask)
    weights = np.ones(seen.triangles.shape, np.float32)
    if kind == "faces":
        weights[:] = seen.selected[seen.polygon, None]
    elif kind == "material":
        slots = [i for i, slot in enumerate(obj.material_slots) if slot.material and slot.material.name == name]
        weights[:] = np.isin(seen.material, slots)[:, None]
    elif kind == "group":
        weights = seen.groups[name][seen.triangles]
    if len(weights) and not weights.any():
        raise ValueError(_NOTHING[kind].format(obj=obj.name, name=name))
    return weights


def painted_masks(obj: bpy.types.Object, mask: str, numbers: Collection[int]) -> Pieces[dict[int, np.ndarray]]:
    """For each UDIM tile in ``numbers`` (0 for a single image) the luminance of the image that ``mask`` names.

    It comes in pieces, the first of which reads the pixels. (h, w) float32 in 0..1, row 0 at the top; (1, 1) ones where
    ``mask`` names none. A single mask image repeats on every tile; of a tiled one, a tile that is not there is black,
    and a single image takes the first one. Alpha does not count. Raises ``ValueError`` with a sentence if there is no
    such mask, the image can't be read or it is black all over.
    """
    (kind, name), owner = _find(obj, mask), obj.name
    if kind != "image":
        return dict.fromkeys(numbers, np.ones((1, 1), np.float32))
    with _mask_image(name) as image, pictures(image, {n or FIRST for n in numbers}) as found:
        colors = {n: read_pixels(picture)[0] for n, picture in found.items()}
    weights = yield from in_thread(_luminance, colors)
    if not any(weight.any() for weight in weights.values()):
        raise ValueError(_NOTHING["image"].format(obj=owner, name=name))
    black = np.zeros((1, 1), np.float32)
    return {n: weights.get(0, weights.get(n or FIRST, black)) for n in numbers}


def _luminance(colors: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    return {number: (values[..., :3] @ _LUMINANCE).clip(0, 1) for number, values in colors.items()}


_NOTHING = {
    "": "'{obj}' has no faces.",
    "faces": "No face of '{obj}' is selected; select the faces that may change in Edit Mode, or clear the mask.",
    "group": "No vertex of '{obj}' has a weight in the group '{name}'; assign the vertices that may change to it.",
    "material": "No face of '{obj}' has the material '{name}'; assign it in Edit Mode or choose another mask.",
    "image": "The mask image '{name}' is black, so nothing of '{obj}' may change; paint white where it may.",
}


def _find(obj: bpy.types.Object, mask: str) -> tuple[str, str]:
    """What ``mask`` means on ``obj``: kind ("", "faces", "group", "material" or "image") and name."""
    if mask in ("", "faces"):
        return mask, ""
    kind, colon, name = mask.partition(":")
    if colon and kind in _KINDS:
        if name in _names(obj)[kind] or (kind == "image" and _path(name).is_file()):
            return kind, name
        raise ValueError(f"'{obj.name}' has no {kind} '{name}' for a mask; {_choice(obj)}")
    names = _names(obj)
    for kind in ("group", "image", "material"):
        if mask in names[kind] or (kind == "image" and _path(mask).is_file()):
            return kind, mask
    raise ValueError(f"The mask '{mask}' is no group, image, file or material of '{obj.name}'; {_choice(obj)}")


def _names(obj: bpy.types.Object) -> dict[str, list[str]]:
    return {
        "group": [group.name for group in obj.vertex_groups],
        "material": [slot.material.name for slot in obj.material_slots if slot.material],
        "image": [image.name for image in bpy.data.images],
    }


def _choice(obj: bpy.types.Object) -> str:
    kinds = [f"{kind}s: {', '.join(names) or 'none'}" for kind, names in _names(obj).items()]
    return f"it has 'faces', {'; '.join(kinds)}."


def _path(name: str) -> Path:
    return Path(bpy.path.abspath(name))


@contextmanager
def _mask_image(name: str) -> Iterator[bpy.types.Image]:
    """The image of the .blend called ``name``, or that file for the time of the block."""
    image = bpy.data.images.get(name)
    if image:
        yield image
        return
    image = bpy.data.images.load(str(_path(name)), check_existing=False)
    try:
        yield image
    finally:
        bpy.data.images.remove(image)
