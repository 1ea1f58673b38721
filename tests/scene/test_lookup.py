"""An object is found again after renaming, undo and deletion of its namesakes."""

from __future__ import annotations

import bpy

from csd_addon.scene.lookup import ObjectKey
from tests.scene.objects import cube


def test_renamed_objects_are_found_by_identity() -> None:
    obj = cube("Old")
    key = ObjectKey.of(obj)
    obj.name = "New"
    cube("Old")
    assert key.find() == obj


def test_a_deleted_object_is_none() -> None:
    key = ObjectKey.of(cube("Gone"))
    bpy.data.objects.remove(bpy.data.objects["Gone"])
    assert key.find() is None


def test_found_again_after_undo() -> None:
    cube("Kept")
    bpy.ops.ed.undo_push(message="before")
    key = ObjectKey.of(bpy.data.objects["Kept"])
    bpy.data.objects["Kept"].location.x = 3
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    assert key.find() == bpy.data.objects["Kept"] and key.find().location.x == 0


def test_found_by_name_in_a_file_that_was_opened_again(tmp_path) -> None:
    key = ObjectKey.of(cube("Saved"))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    assert key.find() == bpy.data.objects["Saved"]
