"""Which image is an object's base colour, through which UV layer it is shown, and the numbers it holds.

Read from the nodes: active output, Principled BSDF, Base Color, Image Texture. Reroutes, node groups and muted nodes
are looked through. What is no image by itself (a plain colour, procedural nodes, a mapped image) has a reason
instead, and ``bake_base_color`` makes an image of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from .compat import nodes_of
from .read_mesh import active_uv_map

PRINCIPLED = "ShaderNodeBsdfPrincipled"
Groups = tuple[bpy.types.Node, ...]


@dataclass(frozen=True)
class BaseColor:
    """image: what is shown, None if no image is. uv_map: the layer that it is shown through.

    slots: indices of the material slots whose base colour is this image through this layer. reason: why there is no
    image, as words that follow "because"; empty where there is one.
    """

    image: bpy.types.Image | None
    uv_map: str
    slots: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Shader:
    """node: a Principled BSDF. entry: the input socket that gives way to what replaces it.

    groups: the group nodes that both lie in, outermost first.
    """

    node: bpy.types.Node
    entry: bpy.types.NodeSocket
    groups: Groups


class _NoImage(Exception):
    """The base colour is no image; the text says why."""


def find_base_color(obj: bpy.types.Object) -> BaseColor:
    """The image behind the base colour of the active material of ``obj`` (without one: of its first material).

    Raises ``ValueError`` with a sentence if the image can't be edited (a movie, its file is missing).
    """
    material = obj.active_material or next((slot.material for slot in obj.material_slots if slot.material), None)
    if material is None:
        return BaseColor(None, "", (), f"'{obj.name}' has no material")
    try:
        shown = _shown(obj, material)
    except _NoImage as reason:
        return BaseColor(None, "", (), str(reason))
    check_image(shown[0])
    slots = (i for i, slot in enumerate(obj.material_slots) if slot.material and _shows(obj, slot.material, shown))
    return BaseColor(*shown, tuple(slots), "")


def read_pixels(image: bpy.types.Image, size: int = 0, room: np.ndarray | None = None) -> tuple[np.ndarray, bool]:
    """The pixels of a single ``image``, (H, W, 4) float32 with row 0 at the top, and whether they are linear light.

    size: scaled so that the longer edge has so many pixels; 0 leaves them as they are. room: flat float32 memory for
    the numbers, taken where it fits.

    The numbers are those of ``image.pixels``: floats are linear light, times alpha unless alpha is channel packed;
    bytes are as encoded, straight, in 0..1. It may be a view that runs backwards through memory: at 2048 pixels a copy
    takes longer than reading. Raises ``ValueError`` like ``check_image``.
    """
    check_image(image)
    if size and size != max(image.size):
        return _read_scaled(image, size)
    count = len(image.pixels)
    values = room if room is not None and room.size == count else np.empty(count, np.float32)
    image.pixels.foreach_get(values)
    width, height = image.size
    return _rgba(values.reshape(height, width, -1)[::-1]), image.is_float or image.colorspace_settings.name != "sRGB"


def _read_scaled(image: bpy.types.Image, size: int) -> tuple[np.ndarray, bool]:
    pixels, linear = read_pixels(image)
    factor = size / max(image.size)
    # Not a copy of the image: that would read the file again and lose unsaved strokes.
    scaled = bpy.data.images.new("CSD scaled", *image.size, alpha=True, float_buffer=True)
    try:
        scaled.pixels.foreach_set(pixels[::-1].ravel())
        scaled.scale(*(max(1, round(edge * factor)) for edge in image.size))
        return read_pixels(scaled)[0], linear
    finally:
        bpy.data.images.remove(scaled)


def check_image(image: bpy.types.Image) -> None:
    """Raise ``ValueError`` with a sentence if ``image`` is no still picture whose pixels are there.

    Those of UDIM tiles are looked at when they are read (``tiles.pictures``).
    """
    if image.source == "TILED":
        return
    if image.source in {"SEQUENCE", "MOVIE"} or image.type == "MULTILAYER":
        kind = "has layers" if image.type == "MULTILAYER" else f"is a {image.source.lower()}"
        raise ValueError(f"The image '{image.name}' {kind}; use a single still image.")
    # Blender reads the file at the first look at the pixels.
    if len(image.pixels) == 0 or not image.has_data:
        path = bpy.path.abspath(image.filepath, library=image.library)
        raise ValueError(
            f"The image '{image.name}' has no pixels: {path} is missing or damaged; choose its file again."
        )


def find_shader(material: bpy.types.Material) -> Shader | None:
    """The Principled BSDF behind the active output, else (behind a Mix or Add Shader) the only one of the material."""
    tree = nodes_of(material)
    output = _active(tree, "ShaderNodeOutputMaterial") if tree else None
    if output is None:
        return None
    source, entry, groups = follow(output.inputs["Surface"])
    if source and source.node.bl_idname == PRINCIPLED:
        return Shader(source.node, entry, groups)
    used = [node for node in tree.nodes if node.bl_idname == PRINCIPLED and node.outputs[0].links]
    return Shader(used[0], output.inputs["Surface"], ()) if source and len(used) == 1 else None


def follow(
    entry: bpy.types.NodeSocket, groups: Groups = ()
) -> tuple[bpy.types.NodeSocket | None, bpy.types.NodeSocket, Groups]:
    """The output that feeds the input ``entry``, seen through reroutes, node groups and muted nodes.

    groups: the group nodes around ``entry``, outermost first. Returns the output (None where nothing is linked), the
    last input on the way to it, and the group nodes around that one.
    """
    while link := linked(entry):
        passed = _passed_on(link.from_socket, groups)
        if passed is None:
            return link.from_socket, entry, groups
        entry, groups = passed
    return None, entry, groups


def linked(entry: bpy.types.NodeSocket) -> bpy.types.NodeLink | None:
    """The link into ``entry`` that counts."""
    return next((link for link in entry.links if link.is_valid and not link.is_muted), None)


def _passed_on(output: bpy.types.NodeSocket, groups: Groups) -> tuple[bpy.types.NodeSocket, Groups] | None:
    """The input that ``output`` only passes on, and the groups around it; None if the node makes the value itself."""
    node, target = output.node, None
    if node.bl_idname == "NodeReroute":
        target = node.inputs[0]
    elif node.mute:
        target = next((link.from_socket for link in node.internal_links if link.to_socket == output), None)
    elif node.bl_idname == "ShaderNodeGroup" and node.node_tree:
        inner = _active(node.node_tree, "NodeGroupOutput")
        target, groups = inner and _namesake(inner.inputs, output), (*groups, node)
    elif node.bl_idname == "NodeGroupInput" and groups:
        target, groups = _namesake(groups[-1].inputs, output), groups[:-1]
    return (target, groups) if target else None


def _active(tree: bpy.types.NodeTree, kind: str) -> bpy.types.Node | None:
    return next((node for node in tree.nodes if node.bl_idname == kind and node.is_active_output), None)


def _namesake(sockets: bpy.types.bpy_prop_collection, like: bpy.types.NodeSocket) -> bpy.types.NodeSocket | None:
    return next((socket for socket in sockets if socket.identifier == like.identifier), None)


def _shows(obj: bpy.types.Object, material: bpy.types.Material, shown: tuple[bpy.types.Image, str]) -> bool:
    try:
        return _shown(obj, material) == shown
    except _NoImage:
        return False


def _shown(obj: bpy.types.Object, material: bpy.types.Material) -> tuple[bpy.types.Image, str]:
    """The image and the UV layer behind the base colour of ``material`` on ``obj``. Raises ``_NoImage``."""
    what = f"the base colour of '{material.name}'"
    if nodes_of(material) is None:
        raise _NoImage(f"{what} is a plain colour")
    shader = find_shader(material)
    if shader is None:
        raise _NoImage(f"the material '{material.name}' has no Principled BSDF, or more than one")
    output, _, groups = follow(shader.node.inputs["Base Color"], shader.groups)
    if output is None:
        raise _NoImage(f"{what} is a plain colour")
    node = output.node
    if node.mute:
        raise _NoImage(f"{what} comes from the muted node '{node.name}'")
    if node.bl_idname != "ShaderNodeTexImage" or output.name != "Color":
        raise _NoImage(f"{what} comes from procedural nodes")
    if node.image is None:
        raise _NoImage(f"{what} comes from an Image Texture without an image")
    if node.projection != "FLAT" or node.extension != "REPEAT":
        raise _NoImage(f"{what} is an image with the setting {node.projection.title()} {node.extension.title()}")
    return node.image, _uv_map(obj, node.inputs["Vector"], groups, what)


def _uv_map(obj: bpy.types.Object, vector: bpy.types.NodeSocket, groups: Groups, what: str) -> str:
    """The UV layer that reaches an image node's ``vector`` socket. Raises ``_NoImage`` if none does unchanged."""
    output, entry, _ = follow(vector, groups)
    if output:
        layer = _layer_of(output, what) or active_uv_map(obj)
    elif entry == vector:
        layer = active_uv_map(obj)
    else:
        # Only the image node itself falls back to UVs; a group's unlinked input is a constant.
        raise _NoImage(f"{what} is one point of an image")
    if not obj.data.uv_layers:
        raise _NoImage(f"{what} is an image, but '{obj.name}' has no UV map")
    if layer not in obj.data.uv_layers:
        raise _NoImage(f"{what} is shown through the UV map '{layer}', which '{obj.name}' does not have")
    return layer


def _layer_of(output: bpy.types.NodeSocket, what: str) -> str:
    """The UV layer that the node of ``output`` names, empty for the one that renders. Raises ``_NoImage``."""
    node = output.node
    if not node.mute:
        if node.bl_idname == "ShaderNodeUVMap" and not node.from_instancer:
            return node.uv_map
        if node.bl_idname == "ShaderNodeTexCoord" and output.name == "UV" and not node.from_instancer:
            return ""
        named = node.bl_idname == "ShaderNodeAttribute" and node.attribute_type == "GEOMETRY"
        if named and output.name in {"Vector", "Color"}:
            return node.attribute_name
    article = "an" if node.bl_label[:1] in "AEIOU" else "a"
    raise _NoImage(f"{what} is mapped through {article} {node.bl_label} node")


def _rgba(values: np.ndarray) -> np.ndarray:
    """(H, W, 1..4) to (H, W, 4): grey is repeated, alpha is 1 where there is none."""
    channels = values.shape[2]
    if channels == 4:
        return values
    color = values[..., :3] if channels == 3 else np.repeat(values[..., :1], 3, axis=2)
    alpha = values[..., 1:] if channels == 2 else np.ones_like(values[..., :1])
    return np.concatenate([color, alpha], axis=2)
