"""An edit in the window: pixels are read, files written and the result put up over several ticks of the timer."""

from __future__ import annotations

import time
from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.jobs.folder import read_json
from csd_addon.scene import write_image
from csd_addon.scene.base_color import read_pixels
from csd_addon.scene.lookup import ObjectKey
from csd_addon.scene.material import base_color_image
from csd_addon.ui.properties import read_settings
from csd_addon.ui.session import Item, session
from tests.scene.objects import (
    cube,
    datablocks,
    fingerprint,
    image_of,
    link,
    node_tree,
    principled,
    quarters,
    shader_of,
)
from tests.ui.test_session import ended, pump, shown

pytestmark = pytest.mark.usefixtures("addon")


@pytest.fixture
def obj(addon: None) -> bpy.types.Object:
    """A cube that shows an image with strokes that are not saved."""
    made = cube("Wall")
    made.data.materials.append(principled("Bricks"))
    image = image_of(quarters(16), "drawn")
    image.pack()
    image.pixels[:4] = (0.5, 0.25, 0.125, 1)
    node = made.active_material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    link(made.active_material, node.outputs["Color"], shader_of(made.active_material).inputs["Base Color"])
    return made


def begin(obj: bpy.types.Object, place: object = None, **values: object) -> None:
    """What a click on Edit does."""
    given = {"target": "blue brick", "remove": "red brick", "iterations": 4, **values}
    for name, value in given.items():
        setattr(bpy.context.scene.csd, name, value)
    settings = read_settings(bpy.context.scene, "edit")
    session.start([Item(ObjectKey.of(obj), settings, place)])


def folders(home: Path) -> list[Path]:
    return list((home / "jobs").iterdir()) if (home / "jobs").is_dir() else []


def finishing() -> bool:
    return session.is_finishing


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written files take 0.3 s: a thread that is quicker than a tick would leave nothing to look at."""
    write = write_image._write_png
    monkeypatch.setattr(write_image, "_write_png", lambda *given: (write(*given), time.sleep(0.3)))


def test_the_click_reads_no_pixels_and_the_result_is_that_of_one_call(obj: bpy.types.Object, home: Path) -> None:
    before, (pixels, _) = fingerprint(obj), read_pixels(bpy.data.images["drawn"])
    begin(obj)
    (folder,) = folders(home)
    assert session.job.is_preparing and not (folder / "source.npz").exists()
    assert read_json(folder / "job.json")["object"] == "Wall", "the history finds whose run it is"
    pump(ended)
    assert session.items[0].status == "done" and fingerprint(obj) == before
    edited = read_pixels(base_color_image(obj))[0]
    assert np.array_equal(np.rint(edited * 255)[..., :3], 255 - np.rint(pixels * 255)[..., :3])
    assert np.array_equal(read_pixels(bpy.data.images["drawn"])[0], pixels) and bpy.data.images["drawn"].is_dirty


def test_cancel_before_the_worker_begins_leaves_nothing(obj: bpy.types.Object, home: Path) -> None:
    tree, counts = node_tree(obj.active_material), datablocks()
    for ticks in (0, 1):
        begin(obj)
        for _ in range(ticks):
            session.tick()
        session.cancel()
        pump(ended)
        assert folders(home) == [] and session.items[0].sentence == "Cancelled before it began."
    assert node_tree(obj.active_material) == tree and datablocks() == counts


def test_a_black_mask_is_a_sentence_and_leaves_nothing(obj: bpy.types.Object, home: Path) -> None:
    image_of(np.zeros((4, 4, 3), np.float32), "Black")
    tree, counts = node_tree(obj.active_material), datablocks()
    begin(obj, mask="image:Black")
    pump(ended)
    (item,) = session.items
    assert item.status == "failed" and "The mask image 'Black' is black" in item.sentence
    assert folders(home) == [] and node_tree(obj.active_material) == tree and datablocks() == counts


def test_an_image_that_goes_between_two_ticks_is_a_sentence(obj: bpy.types.Object, home: Path) -> None:
    begin(obj)
    bpy.data.images.remove(bpy.data.images["drawn"])
    pump(ended)
    assert "The image 'drawn', from which the edit started, is gone" in session.items[0].sentence
    assert folders(home) == []


@pytest.mark.usefixtures("slow_disk")
def test_nothing_changes_before_the_last_piece_and_the_preview_stays(obj: bpy.types.Object) -> None:
    begin(obj, iterations=100_000)
    pump(shown)
    session.job.stop_and_keep()
    pump(finishing)
    counts, ticks = datablocks(), 0
    while finishing():
        assert shown() and datablocks() == counts
        session.tick()
        ticks += 1
    print(f"the result took {ticks} ticks")
    assert ticks > 2 and ended() and not shown() and base_color_image(obj).name == "Wall_edited"


@pytest.mark.usefixtures("slow_disk")
def test_another_file_while_the_result_is_written_leaves_no_file_behind(obj: bpy.types.Object, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    begin(obj, lambda *_: folder / "wall")
    pump(lambda: any(folder.iterdir()))
    assert finishing() and [path.name for path in folder.iterdir()] == ["wall.part.png"]
    bpy.ops.wm.read_homefile(use_empty=True)
    assert ended() and not finishing() and not bpy.data.images and not list(folder.iterdir())


@pytest.mark.usefixtures("slow_disk")
def test_the_object_goes_while_the_result_is_written(obj: bpy.types.Object) -> None:
    begin(obj)
    pump(finishing)
    bpy.data.objects.remove(obj)
    pump(ended)
    assert "The object 'Wall' is gone; its texture is kept in" in session.items[0].sentence
    assert {image.name for image in bpy.data.images} == {"drawn"}
