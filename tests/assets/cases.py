"""Hard assets, made by script: what artists really have in their files.

Each case builds its scene into an empty file and returns the object that is to be textured. Everything random comes
from the seed, so both Blenders and all machines see the same assets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from tests.scene.objects import principled

SEED = 7
Build = Callable[[Path], bpy.types.Object]


@dataclass(frozen=True)
class Case:
    """build: gets a scratch folder. refused: words of the one sentence that the case must end in, empty where it must
    end in a texture. note: words that the artist must be told. unwrapped: whether it gets a new UV layer. shared:
    whether faces share texels, so that no single texel can be right for all of them. images: as in the settings.
    heavy: takes more than seconds.
    """

    name: str
    build: Build
    refused: str = ""
    note: str = ""
    warned: str = ""
    unwrapped: bool = False
    shared: bool = False
    images: str = "one"
    heavy: bool = False


CASES: dict[str, Case] = {}


def case(name: str, **facts: str | bool) -> Callable[[Build], Build]:
    """Register the decorated function as the hard case ``name``."""

    def register(build: Build) -> Build:
        CASES[name] = Case(name, build, **facts)
        return build

    return register


# --- What the cases are made of ------------------------------------------------------------------------------


def ball(name: str = "Ball", segments: int = 32) -> bpy.types.Object:
    """A dented sphere of radius 1 with Blender's UVs of a sphere."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=segments, ring_count=segments // 2, calc_uvs=True)
    obj = bpy.context.object
    obj.name = obj.data.name = name
    _dent(obj.data)
    # Blender's own charts go up to the image's border, which is a case of its own.
    change_uvs(obj, lambda uv: 0.02 + 0.96 * uv)
    return obj


def _dent(mesh: bpy.types.Mesh) -> None:
    wave = np.random.default_rng(SEED).normal(size=(3, 3))
    places = _positions(mesh)
    places *= 1 + 0.08 * np.sin(places @ wave * 2).mean(axis=1, keepdims=True)
    mesh.vertices.foreach_set("co", places.astype(np.float32).ravel())
    mesh.update()


def box(name: str = "Box") -> bpy.types.Object:
    """Blender's cube with its cross of six charts."""
    bpy.ops.mesh.primitive_cube_add(calc_uvs=True)
    bpy.context.object.name = bpy.context.object.data.name = name
    return bpy.context.object


def made_of(name: str, vertices: list, faces: list, uvs: list | None, edges: list | None = None) -> bpy.types.Object:
    """An object from its parts; ``uvs``: one pair for each corner, or None for no UV layer."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, edges or [], faces)
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    if uvs is not None:
        mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", np.array(uvs, np.float32).ravel())
    bpy.context.view_layer.objects.active = obj
    obj.select_set(True)
    bpy.context.view_layer.update()
    return obj


def change_uvs(obj: bpy.types.Object, change: Callable[[np.ndarray], np.ndarray], layer: int = 0) -> None:
    """Replace the (loops, 2) UVs of a layer by ``change`` of them."""
    data = obj.data.uv_layers[layer].uv
    values = np.empty(2 * len(obj.data.loops), np.float32)
    data.foreach_get("vector", values)
    data.foreach_set("vector", np.asarray(change(values.reshape(-1, 2)), np.float32).ravel())
    obj.data.update()


def _positions(mesh: bpy.types.Mesh) -> np.ndarray:
    places = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", places)
    return places.reshape(-1, 3)


def _of_face(obj: bpy.types.Object) -> np.ndarray:
    """(loops,) number of the face of each corner."""
    return np.repeat(np.arange(len(obj.data.polygons)), [p.loop_total for p in obj.data.polygons])


def _edit(obj: bpy.types.Object, change: Callable[[Any], object]) -> None:
    # Comes with bpy, and can't be found before it.
    import bmesh

    mesh = bmesh.new()
    mesh.from_mesh(obj.data)
    change(mesh)
    mesh.to_mesh(obj.data)
    mesh.free()
    obj.data.update()


# --- Materials and UV layers ---------------------------------------------------------------------------------


@case("several materials")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    for name in ("Red", "Green", "Blue"):
        obj.data.materials.append(principled(name))
    for polygon in obj.data.polygons:
        polygon.material_index = polygon.index % 3
    return obj


@case("empty slots and a material on the object", note="empty material slot")
def _(_: Path) -> bpy.types.Object:
    obj = box()
    for name in ("Mesh's", None, "Object's"):
        obj.data.materials.append(principled(name) if name else None)
    obj.material_slots[2].link = "OBJECT"
    obj.material_slots[2].material = principled("On the object")
    for polygon in obj.data.polygons:
        polygon.material_index = polygon.index % 3
    return obj


def _on_each_other() -> bpy.types.Object:
    """A box of two materials, each of which fills the whole UV map."""
    obj = box()
    for name in ("Wood", "Iron"):
        obj.data.materials.append(principled(name))
    for polygon in obj.data.polygons:
        polygon.material_index = polygon.index % 2
    corners = np.array([(0.03, 0.05), (0.31, 0.05), (0.31, 0.95), (0.03, 0.95)])
    change_uvs(obj, lambda uv: np.tile(corners, (6, 1)) + np.stack([_of_face(obj) // 2 / 3, 0 * _of_face(obj)], 1))
    return obj


@case("materials that lie on each other, one image", shared=True, warned="set Images to one per material")
def _(_: Path) -> bpy.types.Object:
    return _on_each_other()


@case("materials that lie on each other, an image for each", images="material")
def _(_: Path) -> bpy.types.Object:
    return _on_each_other()


@case("materials on each other and on UDIM tiles, an image for each", images="material", warned="lies on 3 UDIM tiles")
def _(_: Path) -> bpy.types.Object:
    obj = _on_each_other()
    change_uvs(obj, lambda uv: uv + np.stack([_of_face(obj) // 2, 0 * _of_face(obj)], 1))
    return obj


@case("empty and repeated slots, an image for each", images="material", note="empty material slot")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    wood = principled("Wood")
    for material in (wood, None, principled("Spare"), wood):
        obj.data.materials.append(material)
    for polygon in obj.data.polygons:
        polygon.material_index = (0, 1, 3)[polygon.index % 3]
    return obj


@case("several UV layers")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    for number in range(2):
        obj.data.uv_layers.new(name=f"Layer {number}")
        change_uvs(obj, lambda uv: uv * 0.5, number + 1)
    obj.data.uv_layers.active_index = 2
    obj.data.uv_layers[1].active_render = True
    return obj


@case("mirrored UVs", shared=True, warned="several faces")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    change_uvs(obj, lambda uv: np.stack([np.abs(uv[:, 0] - 0.5) * 1.9 + 0.02, uv[:, 1]], 1))
    return obj


@case("overlapping UVs", shared=True, warned="several faces")
def _(_: Path) -> bpy.types.Object:
    obj = box()
    corners = np.array([(0.05, 0.05), (0.95, 0.05), (0.95, 0.95), (0.05, 0.95)])
    change_uvs(obj, lambda uv: np.tile(corners, (6, 1)))
    return obj


@case("UVs outside 0-1")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    change_uvs(obj, lambda uv: uv + [-0.3, 0.45])
    return obj


@case("charts up to the image's border")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    change_uvs(obj, lambda uv: (uv - 0.02) / 0.96)
    return obj


@case("UDIM tiles 1001-1004", warned="lies on 4 UDIM tiles")
def _(_: Path) -> bpy.types.Object:
    obj = box()
    corners = np.array([(0.05, 0.05), (0.45, 0.05), (0.45, 0.95), (0.05, 0.95)])
    place = np.array([(0, 0), (0.5, 0), (1, 0), (1.5, 0), (2, 0), (3, 0)])
    change_uvs(obj, lambda uv: np.tile(corners, (6, 1)) + place[_of_face(obj)])
    return obj


@case("no UVs", unwrapped=True, note="has no UV map. It was unwrapped into the new UV map")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    obj.data.uv_layers.remove(obj.data.uv_layers[0])
    return obj


@case("UVs that are no numbers", unwrapped=True, note="coordinates that are not numbers")
def _(_: Path) -> bpy.types.Object:
    obj = box()
    change_uvs(obj, lambda uv: np.where(np.arange(len(uv))[:, None] == 5, np.nan, uv))
    return obj


@case("collapsed UVs", unwrapped=True, note="collapsed to points or lines")
def _(_: Path) -> bpy.types.Object:
    obj = box()
    change_uvs(obj, lambda uv: uv * 0 + 0.5)
    return obj


@case("a sliver of a UV chart", note="squeezed in the UV map")
def _(_: Path) -> bpy.types.Object:
    obj = box()
    change_uvs(obj, lambda uv: np.where((_of_face(obj) == 2)[:, None], uv * [1, 0.001] + [0, 0.003], uv))
    return obj


# --- Geometry ------------------------------------------------------------------------------------------------


@case("faces without area", note="without area")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    places = _positions(obj.data)
    for polygon in list(obj.data.polygons)[100:110]:
        places[list(polygon.vertices)] = places[polygon.vertices[0]]
    obj.data.vertices.foreach_set("co", places.ravel())
    obj.data.update()
    return obj


@case("UV faces without area", note="no area in the UV map")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    face = _of_face(obj)

    def flatten(uv: np.ndarray) -> np.ndarray:
        uv = uv.copy()
        for number in range(200, 220):
            uv[face == number] = uv[np.flatnonzero(face == number)[0]]
        return uv

    change_uvs(obj, flatten)
    return obj


@case("n-gons, a star and a bent one")
def _(_: Path) -> bpy.types.Object:
    angle = np.arange(22) * math.tau / 22
    radius = np.where(np.arange(22) % 2, 0.35, 1.0)
    star = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    bend = 0.1 * star[:, :1] * star[:, 1:]
    vertices = np.concatenate([np.c_[star, bend], np.c_[star, bend + 0.4]])
    sides = [(i, (i + 1) % 22, 22 + (i + 1) % 22, 22 + i) for i in range(22)]
    faces = [tuple(range(21, -1, -1)), tuple(range(22, 44)), *sides]
    uvs = [(0.25 + 0.2 * x, 0.75 + 0.2 * y) for x, y in star[::-1]]
    uvs += [(0.75 + 0.2 * x, 0.75 + 0.2 * y) for x, y in star]
    for i in range(22):
        low, high = 0.02 + i / 23, 0.02 + (i + 0.9) / 23
        uvs += [(low, 0.05), (high, 0.05), (high, 0.45), (low, 0.45)]
    return made_of("Star", vertices.tolist(), faces, uvs)


@case("non-manifold")
def _(_: Path) -> bpy.types.Object:
    # Three sheets meet in one edge, two more touch in one vertex.
    vertices = [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (-1, 1, 0), (-1, 1, 1), (-1, -1, 0), (-1, -1, 1),
                (0, 1, 2), (1, 1, 2)]  # fmt: skip
    faces = [(0, 2, 3, 1), (0, 1, 5, 4), (0, 6, 7, 1), (1, 8, 9)]
    uvs = []
    for number, face in enumerate(faces):
        x, y = 0.05 + 0.5 * (number % 2), 0.05 + 0.5 * (number // 2)
        uvs += [(x, y), (x + 0.4, y), (x + 0.4, y + 0.4), (x, y + 0.4)][: len(face)]
    return made_of("Fins", vertices, faces, uvs)


@case("loose edges and vertices")
def _(_: Path) -> bpy.types.Object:
    obj = ball()

    def litter(mesh: Any) -> None:
        far = [mesh.verts.new((900.0 + i, 5.0, -3.0)) for i in range(4)]
        mesh.edges.new(far[:2])
        mesh.edges.new((far[2], far[3]))

    _edit(obj, litter)
    return obj


@case("thin sheets with two sides")
def _(_: Path) -> bpy.types.Object:
    obj = box()
    obj.scale = (1, 1, 0.002)
    bpy.context.view_layer.update()
    return obj


@case("interior faces")
def _(_: Path) -> bpy.types.Object:
    # A closed box in a closed box: no camera ever sees the inner one.
    outer = box()
    bpy.ops.mesh.primitive_cube_add(calc_uvs=True, size=1)
    inner = bpy.context.object
    change_uvs(inner, lambda uv: uv * 0.3 + [0.65, 0.0])
    change_uvs(outer, lambda uv: uv * 0.6)
    outer.select_set(True)
    bpy.context.view_layer.objects.active = outer
    bpy.ops.object.join()
    return outer


@case("custom normals")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    generator = np.random.default_rng(SEED)
    normals = generator.normal(size=(len(obj.data.loops), 3))
    obj.data.normals_split_custom_set(normals / np.linalg.norm(normals, axis=1, keepdims=True))
    return obj


@case("one million triangles", heavy=True)
def _(_: Path) -> bpy.types.Object:
    bpy.ops.mesh.primitive_uv_sphere_add(segments=1000, ring_count=500, calc_uvs=True)
    obj = bpy.context.object
    obj.name = "Million"
    _dent(obj.data)
    change_uvs(obj, lambda uv: 0.02 + 0.96 * uv)
    return obj


@case("all vertices in one point", refused="no surface area")
def _(_: Path) -> bpy.types.Object:
    return made_of("Point", [(1, 1, 1)] * 3, [(0, 1, 2)], [(0, 0), (1, 0), (0, 1)])


@case("edges only", refused="has no faces")
def _(_: Path) -> bpy.types.Object:
    return made_of("Wire", [(0, 0, 0), (1, 0, 0)], [], None, [(0, 1)])


# --- Users, transforms, sizes and names ----------------------------------------------------------------------


@case("a mesh of several users")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    obj.data.materials.append(principled("Shared"))
    for number in range(3):
        twin = obj.copy()
        twin.location.x = 3.0 * number + 3
        bpy.context.scene.collection.objects.link(twin)
    bpy.context.view_layer.update()
    return obj


@case("an instanced collection", refused="'Crowd' is an empty, not a mesh")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    collection = bpy.data.collections.new("Crowd")
    collection.objects.link(obj)
    empty = bpy.data.objects.new("Crowd", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", collection
    bpy.context.scene.collection.objects.link(empty)
    bpy.context.view_layer.objects.active = empty
    return empty


@case("an object that is instanced on faces")
def _(_: Path) -> bpy.types.Object:
    parent, obj = box("Carrier"), ball()
    obj.parent, parent.instance_type = parent, "FACES"
    bpy.context.view_layer.update()
    return obj


@case("negative and uneven scale")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    obj.scale, obj.rotation_euler = (-1, 2.5, 0.6), (0.3, 0.2, 0.9)
    bpy.context.view_layer.update()
    return obj


@case("scaled to nothing", refused="is scaled to nothing along an axis")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    obj.scale = (1, 0, 1)
    bpy.context.view_layer.update()
    return obj


@case("parents with transforms")
def _(_: Path) -> bpy.types.Object:
    above = None
    for number in range(3):
        empty = bpy.data.objects.new(f"Parent {number}", None)
        bpy.context.scene.collection.objects.link(empty)
        empty.scale, empty.rotation_euler = (1.0 + number, 1, 0.7), (0.4 * number, 0.3, 0)
        empty.location, empty.parent = (number, 2, -5), above
        above = empty
    obj = ball()
    obj.parent = above
    bpy.context.view_layer.update()
    return obj


def _sized(metres: float) -> Build:
    def build(_: Path) -> bpy.types.Object:
        obj = ball()
        obj.data.vertices.foreach_set("co", (_positions(obj.data) * metres / 2).ravel())
        obj.data.update()
        return obj

    return build


for _words, _metres in (("one metre", 1.0), ("one kilometre", 1000.0), ("one millimetre", 0.001)):
    case(_words)(_sized(_metres))


@case("far from the origin of its mesh")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    obj.data.vertices.foreach_set("co", (_positions(obj.data) + np.float32([3000, -2000, 500])).ravel())
    obj.data.update()
    return obj


@case("a name in other scripts, with slashes")
def _(_: Path) -> bpy.types.Object:
    obj = box("../Стул/椅子\\🪑 \"quoted\" %s {0}")
    obj.data.uv_layers[0].name = "УВ ../карта 🗺"
    obj.data.materials.append(principled("材质/{}"))
    return obj


@case("the longest name")
def _(_: Path) -> bpy.types.Object:
    return box("Ü" * 31 + "x")


# --- Modifiers, rigs and other kinds -------------------------------------------------------------------------


@case("subdivision, mirror and array", shared=True, warned="several faces")
def _(_: Path) -> bpy.types.Object:
    obj = ball(segments=16)
    obj.modifiers.new("Mirror", "MIRROR").use_axis = (True, False, False)
    obj.modifiers.new("Subdivision", "SUBSURF").levels = 2
    obj.modifiers.new("Array", "ARRAY").count = 3
    return obj


@case("a modifier that rebuilds the mesh", refused="apply the modifier that rebuilds the mesh")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    obj.modifiers.new("Remesh", "REMESH").voxel_size = 0.2
    return obj


@case("an armature with a pose", note="rest pose")
def _(_: Path) -> bpy.types.Object:
    return posed(ball())


def posed(obj: bpy.types.Object) -> bpy.types.Object:
    """``obj`` under an armature of one bone, which is turned and stretched."""
    bpy.ops.object.armature_add()
    rig = bpy.context.object
    rig.name = "Rig"
    group = obj.vertex_groups.new(name=rig.data.bones[0].name)
    group.add(list(range(0, len(obj.data.vertices), 2)), 1.0, "REPLACE")
    obj.modifiers.new("Armature", "ARMATURE").object = rig
    bone = rig.pose.bones[0]
    bone.rotation_mode, bone.rotation_euler, bone.scale = "XYZ", (0.8, 0.2, 0.4), (1, 1.6, 1)
    bpy.context.view_layer.objects.active = obj
    bpy.context.view_layer.update()
    return obj


@case("shape keys and a driver")
def _(_: Path) -> bpy.types.Object:
    obj = ball()
    obj.shape_key_add(name="Basis")
    key = obj.shape_key_add(name="Smile")
    for point in key.data:
        point.co.z *= 1.4
    key.value = 0.5
    obj["mood"] = 0.75
    driver = key.driver_add("value").driver
    driver.expression = "0.25 + 0.25"
    bpy.context.view_layer.update()
    return obj


@case("a linked object", refused="comes from a linked library")
def _(scratch: Path) -> bpy.types.Object:
    return linked(scratch)


def linked(scratch: Path) -> bpy.types.Object:
    """A ball from another file, linked into an empty one."""
    ball("Far")
    path = scratch / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(path), link=True) as (_, wanted):
        wanted.objects = ["Far"]
    obj = bpy.data.objects["Far"]
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    bpy.context.view_layer.update()
    return obj


@case("an override of a linked object", refused="comes from a linked library")
def _(scratch: Path) -> bpy.types.Object:
    obj = linked(scratch).override_create(remap_local_usages=True)
    bpy.context.view_layer.objects.active = obj
    return obj


@case("a curve", refused="convert it to a mesh first")
def _(_: Path) -> bpy.types.Object:
    bpy.ops.curve.primitive_bezier_circle_add()
    bpy.context.object.data.bevel_depth = 0.2
    return bpy.context.object


@case("a text", refused="convert it to a mesh first")
def _(_: Path) -> bpy.types.Object:
    bpy.ops.object.text_add()
    return bpy.context.object


@case("a hidden object")
def _(_: Path) -> bpy.types.Object:
    obj = box("Hidden")
    obj.modifiers.new("Subdivision", "SUBSURF").levels = 2
    obj.hide_set(True)
    obj.hide_render = True
    return obj


@case("an object disabled in viewports", refused="is disabled in viewports")
def _(_: Path) -> bpy.types.Object:
    obj = box("Disabled")
    obj.modifiers.new("Subdivision", "SUBSURF").levels = 2
    obj.hide_viewport = True
    bpy.context.view_layer.update()
    return obj


@case("an object in an excluded collection", refused="is disabled in viewports")
def _(_: Path) -> bpy.types.Object:
    obj = box("Excluded")
    collection = bpy.data.collections.new("Attic")
    bpy.context.scene.collection.children.link(collection)
    collection.objects.link(obj)
    bpy.context.scene.collection.objects.unlink(obj)
    obj.modifiers.new("Subdivision", "SUBSURF").levels = 2
    bpy.context.view_layer.layer_collection.children["Attic"].exclude = True
    bpy.context.view_layer.update()
    return obj
