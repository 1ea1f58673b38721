"""A new UV layer where there is none; nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.core.checks import check_uvs
from csd_addon.scene.read_mesh import read_mesh
from csd_addon.scene.unwrap import LAYER_NAME, unwrap_into_new_layer
from tests.scene.objects import cube, datablocks, fingerprint, rigged_cube


def without_new_layer(parts: dict, name: str) -> dict:
    """The fingerprint without what a new UV layer must add."""
    kept = {key: value for key, value in parts.items() if key != f"attribute {name}"}
    return {**kept, "uv layers": [entry for entry in kept["uv layers"] if entry[0] != name]}


def charts_are_usable(obj: bpy.types.Object, layer: str) -> bool:
    mesh = read_mesh(obj, layer)
    uvs = mesh.corner_uvs
    inside = uvs.min() >= 0 and uvs.max() <= 1
    return bool(inside and not check_uvs(mesh, obj.name) and np.abs(mesh.uv_areas()).sum() > 0.3)


def test_a_mesh_without_uvs_gets_one_layer_that_renders() -> None:
    obj = cube(uvs=False)
    before = fingerprint(obj)
    name = unwrap_into_new_layer(obj)
    assert name == LAYER_NAME and charts_are_usable(obj, name)
    assert [(u.name, u.active_render) for u in obj.data.uv_layers] == [(name, True)]
    assert without_new_layer(fingerprint(obj), name) == before


def test_other_layers_stay_byte_for_byte() -> None:
    obj = rigged_cube()
    before, counts = fingerprint(obj), datablocks()
    name = unwrap_into_new_layer(obj)
    assert charts_are_usable(obj, name) and without_new_layer(fingerprint(obj), name) == before
    assert datablocks() == counts, "the temporary copy left something behind"


def test_twice_gives_two_layers() -> None:
    obj = cube(uvs=False)
    first, second = unwrap_into_new_layer(obj), unwrap_into_new_layer(obj)
    assert first != second and {first, second} == {u.name for u in obj.data.uv_layers}


def test_active_object_and_selection_are_restored() -> None:
    obj, other, third = cube("A", uvs=False), cube("B"), cube("C")
    for one, state in ((obj, False), (other, True), (third, True)):
        one.select_set(state)
    bpy.context.view_layer.objects.active = other
    unwrap_into_new_layer(obj)
    assert bpy.context.view_layer.objects.active is other
    assert [o.select_get() for o in (obj, other, third)] == [False, True, True]


def test_no_active_object() -> None:
    obj = cube(uvs=False)
    obj.select_set(False)
    bpy.context.view_layer.objects.active = None
    unwrap_into_new_layer(obj)
    assert bpy.context.view_layer.objects.active is None and not obj.select_get()


def test_selected_and_hidden_faces_keep_their_state() -> None:
    obj = cube(uvs=False)
    for number, polygon in enumerate(obj.data.polygons):
        polygon.select, polygon.hide = number in (1, 2), number == 5
    before = fingerprint(obj)
    name = unwrap_into_new_layer(obj)
    assert without_new_layer(fingerprint(obj), name) == before
    assert charts_are_usable(obj, name), "hidden faces are unwrapped too"


def test_an_object_in_edit_mode_stays_in_it_with_its_edits() -> None:
    import bmesh

    obj = cube(uvs=False)
    bpy.ops.object.mode_set(mode="EDIT")
    editing = bmesh.from_edit_mesh(obj.data)
    editing.faces.ensure_lookup_table()
    for number, face in enumerate(editing.faces):
        face.select_set(number == 4)
    editing.verts.ensure_lookup_table()
    editing.verts[0].co.z = -1.5
    bmesh.update_edit_mesh(obj.data)
    name = unwrap_into_new_layer(obj)
    assert obj.mode == "EDIT" and charts_are_usable(obj, name)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert [p.select for p in obj.data.polygons] == [number == 4 for number in range(6)]
    assert obj.data.vertices[0].co.z == -1.5


def test_another_object_in_edit_mode() -> None:
    obj, other = cube("A", uvs=False), cube("B")
    bpy.ops.object.mode_set(mode="EDIT")
    unwrap_into_new_layer(obj)
    assert other.mode == "EDIT" and bpy.context.view_layer.objects.active is other


@pytest.mark.parametrize("hide", ["hide_viewport", "hide_set", "hide_select"])
def test_hidden_objects(hide: str) -> None:
    obj = cube(uvs=False)
    obj.hide_set(True) if hide == "hide_set" else setattr(obj, hide, True)
    before = fingerprint(obj)
    name = unwrap_into_new_layer(obj)
    assert charts_are_usable(obj, name) and without_new_layer(fingerprint(obj), name) == before


def test_a_linked_mesh_is_a_sentence(tmp_path: Path) -> None:
    cube("Linked", uvs=False)
    library = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(library))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(library), link=True) as (source, target):
        target.objects = source.objects
    obj = target.objects[0]
    bpy.context.scene.collection.objects.link(obj)
    with pytest.raises(ValueError, match="'Linked' comes from a linked library"):
        unwrap_into_new_layer(obj)


def test_eight_layers_are_a_sentence_and_leave_nothing() -> None:
    obj = cube("Full")
    while obj.data.uv_layers.new(name="More"):
        pass
    before, counts = fingerprint(obj), datablocks()
    with pytest.raises(ValueError, match="'Full' can't take another UV map; remove one of its 8"):
        unwrap_into_new_layer(obj)
    assert fingerprint(obj) == before and datablocks() == counts
