"""The rendered contact sheet: eight views, right way up, and a scene that never noticed."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.scene import contact_sheet
from csd_addon.scene.contact_sheet import COLUMNS, VIEWS, render_contact_sheet
from csd_addon.scene.load_image import load_image
from csd_addon.scene.material import apply_texture
from tests.scene.objects import cube, datablocks, fingerprint
from tests.scene.test_write_image import shown, write_png

TILE = 32


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_sheet, "TILE", TILE)
    monkeypatch.setattr(contact_sheet, "_SAMPLES", 2)


def textured_cube(tmp_path: Path) -> bpy.types.Object:
    obj = cube("Painted")
    for vertex in obj.data.vertices:
        vertex.co.z *= 3
    obj.location = (30, -4, 2)
    bpy.context.view_layer.update()
    red = write_png(tmp_path / "red.png", np.full((4, 4, 3), (255, 0, 0), np.uint8))
    apply_texture(obj, load_image(red, "red", pack=True), "UVMap")
    return obj


def test_eight_views_are_drawn_and_nothing_stays_behind(tmp_path: Path) -> None:
    obj = textured_cube(tmp_path)
    before, counts, scene = fingerprint(obj), datablocks(), bpy.context.scene
    target = tmp_path / "preview.png"
    render_contact_sheet([obj], target)
    assert "Render Result" in bpy.data.images, "Blender's own buffer, which any rendering leaves"
    bpy.data.images.remove(bpy.data.images["Render Result"])
    assert fingerprint(obj) == before and datablocks() == counts and bpy.context.scene == scene
    assert list(obj.users_collection) == [scene.collection] and obj.users_scene == (scene,)
    sheet = shown(load_image(target, "sheet", pack=False))[::-1].astype(int)
    assert sheet.shape == (TILE * len(VIEWS) // COLUMNS, TILE * COLUMNS, 3)
    heights = []
    for number in range(len(VIEWS)):
        row, column = divmod(number, COLUMNS)
        tile = sheet[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        middle, corner = tile[TILE // 2, TILE // 2], tile[0, 0]
        red = tile[..., 0] > tile[..., 1] + 40
        heights.append(int(red.any(axis=1).sum()))
        print(f"tile {number}: middle {middle}, corner {corner}, height {heights[-1]} of {TILE}")
        assert middle[0] > middle[1] + 40, "the object stands in the middle, with its texture"
        assert np.ptp(corner) < 10, "the background is grey"
    assert max(heights[6:]) < min(heights[:6]), "the views from above and below, where a tower is short, come last"


def test_an_unwritable_target_is_an_error_and_leaves_no_scene(tmp_path: Path) -> None:
    obj = textured_cube(tmp_path)
    scenes, images = len(bpy.data.scenes), set(bpy.data.images)
    with pytest.raises(OSError, match="preview.png can't be written"):
        render_contact_sheet([obj], tmp_path / "red.png" / "preview.png")
    assert len(bpy.data.scenes) == scenes and {i.name for i in set(bpy.data.images) - images} <= {"Render Result"}
