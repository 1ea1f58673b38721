"""The history: what runs leave behind is listed, recalled, applied again and deleted; ``draw`` only reads memory."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest

import csd_addon
from csd_addon.core.settings import JobSettings
from csd_addon.drive import object_job
from csd_addon.drive.apply_kept import entry_settings
from csd_addon.jobs.folder import new_folder, read_json
from csd_addon.jobs.history import Entry
from csd_addon.scene.material import base_color_image
from csd_addon.scene.tiles import pictures
from csd_addon.ui import guidance, history, past_runs, properties
from csd_addon.ui.session import session
from tests.scene.objects import cube, datablocks, fingerprint, rigged_cube
from tests.scene.tiled import tile_files, tiled_cube, tiled_image
from tests.ui.conftest import NAME

pytestmark = pytest.mark.usefixtures("addon")


def texture(**arguments) -> str:
    """Texture the active object; returns the name of the job folder."""
    before = {path.name for path in past_runs.folder().glob("*")}
    values = {"prompt": "red brick", "size": 64, "iterations": 4, **arguments}
    assert bpy.ops.csd.texture("EXEC_DEFAULT", **values) == {"FINISHED"}
    (made,) = {path.name for path in past_runs.folder().glob("*")} - before
    past_runs.refresh()
    return made


def edit(**arguments) -> str:
    before = {path.name for path in past_runs.folder().glob("*")}
    values = {"target": "blue brick", "remove": "red brick", "iterations": 4, **arguments}
    assert bpy.ops.csd.edit("EXEC_DEFAULT", **values) == {"FINISHED"}
    (made,) = {path.name for path in past_runs.folder().glob("*")} - before
    past_runs.refresh()
    return made


def pixels(image: bpy.types.Image) -> np.ndarray:
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    return values


def work() -> int:
    """Do what the timer would do, to the end; returns the number of pieces."""
    pieces = 0
    while past_runs._work() is not None:
        pieces += 1
        assert pieces < 50
    return pieces


def loaded(entry: Entry, kind: str = "thumbnail") -> bool:
    """Whether the picture is in memory; Blender gives it a number for drawing only where there is a window."""
    return past_runs._previews.get(past_runs._key(entry, kind)) is not None


def refused(operator, words: str, **arguments) -> None:
    obj = bpy.context.object
    before, counts = fingerprint(obj), datablocks()
    with pytest.raises(RuntimeError, match=words) as caught:
        operator("EXEC_DEFAULT", **arguments)
    assert "Traceback" not in str(caught.value)
    assert datablocks() == counts and fingerprint(obj) == before


def test_recall_fills_the_settings_in() -> None:
    cube()
    name = texture(prompt="mossy stone", negative="dust", seed=77, size=128, preset="draft", loss="sds")
    scene = bpy.context.scene.csd
    scene.prompt, scene.seed, scene.size, scene.preset, scene.target = "x", 1, 64, "paper", "kept"
    assert bpy.ops.csd.recall_settings(run=name) == {"FINISHED"}
    assert (scene.prompt, scene.negative, scene.seed, scene.size) == ("mossy stone", "dust", 77, 128)
    assert (scene.preset, scene.loss, scene.iterations, scene.target) == ("draft", "sds", 4, "kept")
    assert properties.read_settings(bpy.context.scene, "texture").to_json() | {"uv_map": ""} == (
        read_json(past_runs.folder() / name / "job.json")["settings"] | {"uv_map": "", "target": "kept"}
    )


def test_recall_brings_the_mode_and_own_values_back() -> None:
    cube()
    texture()
    scene = bpy.context.scene.csd
    scene.guidance.own_guidance = scene.guidance.own_views = True
    scene.guidance.w1, scene.guidance.kappa, scene.guidance.elevation = 2.5, (0.25, 0.125), (-10, 40)
    name = edit()
    kept = read_json(past_runs.folder() / name / "job.json")["settings"]["expert"]
    scene.mode, scene.guidance.own_guidance, scene.guidance.own_views = "TEXTURE", False, False
    scene.guidance.w1 = 1.0
    assert bpy.ops.csd.recall_settings(run=name) == {"FINISHED"}
    assert scene.mode == "EDIT" and expert("edit") == kept and scene.guidance.w1 == 2.5
    first = past_runs.entries()[-1].folder.path.name
    assert bpy.ops.csd.recall_settings(run=first) == {"FINISHED"}
    assert scene.mode == "TEXTURE" and expert("texture") == {}
    numbers = {"w2": 0.5, "t_min": [0.0, 0.1, 0.2, 1.0], "levels": 8}
    own = JobSettings(prompt="red brick", method="distill", expert=numbers)
    assert guidance.recall(scene.guidance, own) == {"levels"}
    assert tuple(scene.guidance.w2) == (0.5, 0.5) and scene.guidance.t_min == pytest.approx(0.2)
    # A run of an earlier version had such numbers and did not say by which method.
    assert guidance.recall(scene.guidance, replace(own, method="auto")) == {"w2", "t_min", "levels"}
    scene.method = "distill"
    assert (expert("texture")["w2"], expert("texture")["t_min"]) == (0.5, [0.0, 0.1, 0.2, 1.0]), "as they were"


def expert(kind: str) -> dict:
    return dict(properties.read_settings(bpy.context.scene, kind).expert)


def test_recalling_an_edit_leaves_the_size_of_new_textures_alone() -> None:
    cube()
    texture()
    name = edit(strength=0.5, keep="nothing")
    scene = bpy.context.scene.csd
    scene.size, scene.target, scene.strength = 256, "x", 1.0
    assert bpy.ops.csd.recall_settings(run=name) == {"FINISHED"}
    assert (scene.target, scene.remove, scene.keep, scene.size) == ("blue brick", "red brick", "nothing", 256)
    assert scene.strength == pytest.approx(0.5)


def test_applied_again_after_revert_it_is_the_same_texture() -> None:
    obj = rigged_cube()
    before = fingerprint(obj)
    name = texture(seed=5)
    made = pixels(base_color_image(obj))
    bpy.ops.csd.revert()
    assert base_color_image(obj) is None
    assert bpy.ops.csd.apply_again(run=name) == {"FINISHED"}
    assert (pixels(base_color_image(obj)) == made).all() and base_color_image(obj).packed_file
    texture(seed=6)
    assert (pixels(base_color_image(obj)) != made).any()
    assert bpy.ops.csd.apply_again(run=name) == {"FINISHED"}
    assert (pixels(base_color_image(obj)) == made).all() and fingerprint(obj) == before
    assert len([image for image in bpy.data.images if image.packed_file]) == 1, "the other one is gone"


def test_an_image_of_tiles_is_applied_again_whole(tmp_path: Path) -> None:
    obj = tiled_cube(tiled_image(tile_files(tmp_path / "art")))
    name = texture()
    with pictures(base_color_image(obj)) as tiles:
        made = {number: pixels(tile) for number, tile in tiles.items()}
    assert list(made) == [1001, 1002, 1011] and past_runs.entries()[0].picture.name == "basecolor.1001.png"
    bpy.ops.csd.revert()
    assert bpy.ops.csd.apply_again(run=name) == {"FINISHED"}
    with pictures(base_color_image(obj)) as tiles:
        assert all((pixels(tile) == made.pop(number)).all() for number, tile in tiles.items()) and not made
    work()
    assert loaded(past_runs.entries()[0])


def test_an_edit_is_applied_again_on_what_it_started_from() -> None:
    obj = cube()
    texture(seed=1)
    source = pixels(base_color_image(obj))
    name = edit()
    made = pixels(base_color_image(obj))
    bpy.ops.csd.undo_edit()
    assert (pixels(base_color_image(obj)) == source).all()
    assert bpy.ops.csd.apply_again(run=name) == {"FINISHED"}
    assert (pixels(base_color_image(obj)) == made).all()
    bpy.ops.csd.undo_edit()
    assert (pixels(base_color_image(obj)) == source).all(), "it lies on the texture that it started from"
    texture(seed=2)
    refused(bpy.ops.csd.apply_again, "started from another texture than the one that 'Cube' shows", run=name)


def test_an_object_in_another_pose_or_shape_takes_it() -> None:
    obj = cube()
    name = texture()
    bpy.ops.csd.revert()
    obj.data.vertices[0].co *= 1.5
    assert bpy.ops.csd.apply_again(run=name) == {"FINISHED"}


def test_the_uv_layer_that_went_with_the_texture_comes_back_with_it() -> None:
    obj = cube(uvs=False)
    name = texture()
    made = pixels(base_color_image(obj))
    (layer,) = obj.data.uv_layers
    bpy.ops.csd.revert()
    obj.data.uv_layers.remove(layer)
    assert bpy.ops.csd.apply_again(run=name) == {"FINISHED"}
    assert len(obj.data.uv_layers) == 1 and (pixels(base_color_image(obj)) == made).all()
    bpy.ops.csd.revert()
    obj.data.uv_layers.remove(obj.data.uv_layers[0])
    bpy.ops.mesh.primitive_monkey_add(calc_uvs=False)
    refused(bpy.ops.csd.apply_again, "the mesh has changed, or it is another one", run=name)


@pytest.mark.parametrize("change", ["moved UVs", "more faces", "no such UV map", "another object"])
def test_an_object_that_has_changed_is_refused(change: str) -> None:
    obj = cube()
    name = texture()
    bpy.ops.csd.revert()
    words = "has changed"
    if change == "moved UVs":
        obj.data.uv_layers[0].uv[3].vector.x += 0.01
    elif change == "more faces":
        obj.modifiers.new("Bevel", "BEVEL")
    elif change == "no such UV map":
        obj.data.uv_layers[0].name, words = "Other", "has no UV map 'UVMap'"
    else:
        bpy.ops.mesh.primitive_monkey_add()
        words = "the mesh has changed, or it is another one"
    refused(bpy.ops.csd.apply_again, words, run=name)


def test_a_run_without_a_result_is_refused() -> None:
    cube()
    name = texture()
    shutil.rmtree(past_runs.folder() / name / "result")
    refused(bpy.ops.csd.apply_again, "has no result that could be applied", run=name)
    past_runs.refresh()
    refused(bpy.ops.csd.apply_again, "has no result that could be applied", run=name)
    with pytest.raises(RuntimeError, match="is no longer in the history"):
        bpy.ops.csd.apply_again(run="job-unknown")


def test_damaged_folders_are_listed_and_say_what_is_wrong() -> None:
    cube()
    whole, damaged, strange = texture(), texture(), texture()
    (past_runs.folder() / damaged / "job.json").write_text("{", encoding="utf-8")
    job = read_json(past_runs.folder() / strange / "job.json")
    job["settings"] |= {"seed": "seven", "unheard_of": 1}
    (past_runs.folder() / strange / "job.json").write_text(json.dumps(job), encoding="utf-8")
    past_runs.refresh()
    assert {e.folder.path.name: e.state for e in past_runs.entries()} == {
        whole: "done", damaged: "damaged", strange: "done",
    }  # fmt: skip
    work()
    refused(bpy.ops.csd.recall_settings, "job.json is missing or damaged", run=damaged)
    refused(bpy.ops.csd.recall_settings, "Unknown setting in job.json: unheard_of", run=strange)
    job["settings"].pop("unheard_of")
    (past_runs.folder() / strange / "job.json").write_text(json.dumps(job), encoding="utf-8")
    past_runs.refresh()
    refused(bpy.ops.csd.recall_settings, "damaged", run=strange)


def test_delete_takes_one_folder_and_leaves_the_texture() -> None:
    obj = cube()
    first, second = texture(seed=1), texture(seed=2)
    assert bpy.ops.csd.delete_run("EXEC_DEFAULT", run=second) == {"FINISHED"}
    assert [e.folder.path.name for e in past_runs.entries()] == [first]
    assert not (past_runs.folder() / second).exists() and base_color_image(obj).packed_file
    with pytest.raises(RuntimeError, match="no longer in the history"):
        bpy.ops.csd.delete_run("EXEC_DEFAULT", run=second)


def test_a_running_job_is_not_deleted() -> None:
    bpy.context.scene.csd.prompt, bpy.context.scene.csd.iterations = "red brick", 100_000
    settings = properties.read_settings(bpy.context.scene, "texture")
    task = object_job.prepare(cube(), settings, new_folder(past_runs.folder()))
    job = object_job.launch(task)
    session.begin(task, job)
    while job.poll().iteration < 3:
        time.sleep(0.02)
    past_runs.refresh()
    (entry,) = past_runs.entries()
    assert entry.state == "unfinished" and history._ending(entry) == "Growing"
    with pytest.raises(RuntimeError, match="This run is still growing"):
        bpy.ops.csd.delete_run("EXEC_DEFAULT", run=task.folder.path.name)
    session.end()
    work()
    (entry,) = past_runs.entries()
    assert entry.state == "cancelled" and history._ending(entry) == "Cancelled" and loaded(entry)
    assert entry.thumbnail == entry.folder.thumbnail, "as far as it had grown"


def test_pictures_are_loaded_once_and_freed(home: Path) -> None:
    obj = cube()
    names = [texture(seed=seed) for seed in range(past_runs.PAGE + 2)]
    counts = datablocks()
    pieces = work()
    assert datablocks() == counts and obj, "nothing is left in the file"
    assert pieces == past_runs.PAGE + 1, "the shown ones, and one plot"
    entries = past_runs.entries()
    assert [e.folder.path.name for e in entries] == names[::-1]
    assert [loaded(e) for e in entries] == [True] * past_runs.PAGE + [False] * 2
    assert past_runs.last() is entries[0] and loaded(entries[0], "plot")
    assert entries[0].thumbnail.read_bytes()[:4] == b"\x89PNG"
    assert work() == 0
    bpy.ops.csd.more_history()
    assert work() == 2 and all(loaded(e) for e in entries)
    csd_addon.unregister()
    assert not bpy.app.timers.is_registered(past_runs._work) and past_runs._previews is None
    assert past_runs.entries() is None and past_runs.icon(entries[0], "thumbnail") == 0
    csd_addon.register(NAME)
    past_runs.refresh()
    assert work() == past_runs.PAGE + 1


def test_a_run_that_died_shows_its_last_preview_and_one_without_shows_nothing() -> None:
    cube()
    died, bare = texture(seed=1), texture(seed=2)
    for name in (died, bare):
        for path in ("thumbnail.png", "norms.png", "result/report.json", "result/basecolor.png"):
            (past_runs.folder() / name / path).unlink()
    shutil.rmtree(past_runs.folder() / bare / "preview")
    past_runs.refresh()
    assert work() == 1
    shown = {entry.folder.path.name: entry for entry in past_runs.entries()}
    assert loaded(shown[died]) and shown[died].thumbnail == shown[died].folder.preview / "basecolor.png"
    assert not loaded(shown[bare]) and not loaded(shown[died], "plot") and work() == 0


def test_a_kept_run_has_no_checkpoint_and_a_cancelled_one_does() -> None:
    obj = cube()
    bpy.context.scene.csd.prompt, bpy.context.scene.csd.iterations = "red brick", 100_000
    task, job = object_job.start(obj, properties.read_settings(bpy.context.scene, "texture"))
    while job.poll().iteration < 3:
        time.sleep(0.02)
    job.cancel()
    job.wait()
    assert [path.name for path in task.folder.checkpoint.iterdir()] == ["fake.txt"]
    job = object_job.launch(task, resume=True)
    while job.poll().iteration < 3:
        time.sleep(0.02)
    job.stop_and_keep()
    assert job.wait().done and not list(task.folder.checkpoint.iterdir())


def test_the_list_is_read_when_a_panel_asks_and_after_each_job(home: Path) -> None:
    assert past_runs.entries() is None and not bpy.app.timers.is_registered(past_runs._work)
    past_runs.wake()
    assert past_runs.entries() is None and bpy.app.timers.is_registered(past_runs._work)
    work()
    assert past_runs.entries() == () and not home.exists(), "looking writes nothing"
    bpy.app.timers.unregister(past_runs._work)
    past_runs.wake()
    assert not bpy.app.timers.is_registered(past_runs._work), "nothing has happened"
    session.last_state = object()
    past_runs.wake()
    assert bpy.app.timers.is_registered(past_runs._work)
    session.last_state = None


def test_ages_and_sizes_are_words() -> None:
    ages = {5: "just now", 61: "1 min ago", 3599: "59 min ago", 7300: "2 h ago", 90000 * 3: "3 d ago", -4: "just now"}
    assert {seconds: history.age_text(seconds) for seconds in ages} == ages
    sizes = {0: "0 kB", 999_000: "999 kB", 1_500_000: "1.5 MB", 2_340_000_000: "2.3 GB"}
    assert {size: history.size_text(size) for size in sizes} == sizes


def test_the_settings_of_every_run_are_whole() -> None:
    cube()
    texture()
    assert isinstance(entry_settings(past_runs.entries()[0]), JobSettings)
