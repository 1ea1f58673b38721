"""The window's session without a window: previews, queue, undo, saving and loading while a job runs.

The timer does not fire in ``--background``; ``pump`` does what it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest

from csd_addon.core.mesh import MeshData
from csd_addon.drive import apply_result
from csd_addon.drive.warm_worker import shared_worker
from csd_addon.jobs.folder import read_json
from csd_addon.scene.lookup import ObjectKey
from csd_addon.scene.material import base_color_image
from csd_addon.ui import output
from csd_addon.ui.properties import read_settings
from csd_addon.ui.session import HANDLERS, Item, session
from tests.scene.objects import base_color_source, checked, cube, datablocks, fingerprint, node_tree, principled

pytestmark = pytest.mark.usefixtures("addon")


def begin(*objects: bpy.types.Object, **values: object) -> None:
    """What a click on the button does."""
    scene = bpy.context.scene
    given = {"prompt": "red brick", "size": 64, "iterations": 100_000, **values}
    for name, value in given.items():
        setattr(scene.csd, name, value)
    settings, place = read_settings(scene, "texture"), output.place(scene)
    session.start([Item(ObjectKey.of(obj), settings, place) for obj in objects])


def pump(until: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "not reached in time"
        session.tick()
        time.sleep(0.01)


def shown() -> bool:
    return any("csd_preview" in material for material in bpy.data.materials)


def ended() -> bool:
    return not session.is_running


def own() -> bpy.types.Object:
    obj = cube("Own")
    obj.data.materials.append(principled("Own"))
    checked(obj.active_material)
    return obj


def state(obj: bpy.types.Object) -> tuple:
    return fingerprint(obj), node_tree(obj.active_material) if obj.active_material else None, datablocks()


def test_the_preview_shows_and_changes_while_the_job_runs() -> None:
    obj = own()
    begin(obj)
    pump(shown)
    image = base_color_source(obj.active_material).image
    first = tuple(image.pixels[:3])
    pump(lambda: tuple(image.pixels[:3]) != first)
    assert base_color_image(obj) is None and len(bpy.data.images) == 1


@pytest.mark.parametrize("make", [own, lambda: cube("Bare", uvs=False)], ids=["material", "nothing"])
def test_cancel_leaves_no_trace(make: Callable[[], bpy.types.Object]) -> None:
    obj = make()
    before = state(obj)
    begin(obj)
    pump(shown)
    session.cancel()
    pump(ended)
    assert state(obj) == before
    (item,) = session.items
    assert item.status == "cancelled" and "What was reached is kept in" in item.sentence
    assert (session.last_task.folder.checkpoint / "fake.txt").is_file()


def test_stop_and_keep_replaces_the_preview_by_the_result_in_one_undo_step() -> None:
    obj = cube("Bare", uvs=False)
    bpy.ops.ed.undo_push(message="start")
    before = state(obj)
    begin(obj)
    pump(shown)
    session.job.stop_and_keep()
    pump(ended)
    assert not shown() and base_color_image(obj).packed_file and len(bpy.data.images) == 1
    assert session.items[0].status == "done" and [layer.name for layer in obj.data.uv_layers] == ["CSD UV"]
    bpy.ops.ed.undo()
    assert state(bpy.data.objects["Bare"]) == before
    bpy.ops.ed.redo()
    assert base_color_image(bpy.data.objects["Bare"]) and not shown()


def test_undo_while_the_job_runs_keeps_the_preview_and_the_result_goes_on() -> None:
    obj = cube("Bare", uvs=False)
    bpy.ops.ed.undo_push(message="start")
    obj.location.x = 1
    bpy.ops.ed.undo_push(message="moved")
    begin(obj)
    pump(shown)
    bpy.ops.ed.undo()
    obj = bpy.data.objects["Bare"]
    assert obj.location.x == 0 and not shown(), "handlers only take away"
    pump(shown)
    session.job.stop_and_keep()
    pump(ended)
    assert base_color_image(obj) and session.items[0].status == "done"


def test_a_preview_that_could_not_be_shown_comes_when_it_can() -> None:
    obj = own()
    begin(obj)
    pump(shown)
    bpy.ops.object.mode_set(mode="EDIT")
    session.hide_preview()
    session.tick()
    assert not shown()
    # No newer preview helps.
    number = session.job.state.previews
    bpy.ops.object.mode_set(mode="OBJECT")
    session.tick()
    assert shown() or session.job.state.previews > number
    session.cancel()
    pump(ended)


def test_undo_of_something_else_while_the_job_runs() -> None:
    obj, other = cube("Bare", uvs=False), cube("Other")
    bpy.ops.ed.undo_push(message="start")
    other.location.x = 1
    bpy.ops.ed.undo_push(message="other moved")
    begin(obj)
    pump(shown)
    for undo in (bpy.ops.ed.undo, bpy.ops.ed.redo, bpy.ops.ed.undo):
        undo()
        obj = bpy.data.objects["Bare"]
        names = [slot.material.name for slot in obj.material_slots]
        assert not names and not obj.data.materials and not bpy.data.materials, "what no step holds is gone before"
        pump(shown)
        obj = bpy.data.objects["Bare"]
        names = [slot.material.name for slot in obj.material_slots]
        assert set(names) <= set(bpy.data.materials.keys()) and len(names) == len(obj.data.materials) == 1
    session.cancel()
    pump(ended)
    assert not bpy.data.materials and not bpy.data.images


def test_undo_between_two_steps_that_both_hold_the_preview() -> None:
    obj = cube("Bare", uvs=False)
    bpy.ops.ed.undo_push(message="start")
    begin(obj)
    pump(shown)
    for x in (1, 2):
        bpy.data.objects["Bare"].location.x = x
        bpy.ops.ed.undo_push(message="moved")
    bpy.ops.ed.undo()
    obj = bpy.data.objects["Bare"]
    assert obj.location.x == 1 and not shown() and not obj.material_slots
    pump(shown)
    obj = bpy.data.objects["Bare"]
    assert len(obj.material_slots) == len(obj.data.materials) == 1 and obj.material_slots[0].material
    session.cancel()
    pump(ended)
    assert len(obj.material_slots) == len(obj.data.materials) == 0 and not bpy.data.materials
    bpy.ops.ed.undo()
    obj = bpy.data.objects["Bare"]
    assert obj.location.x == 0 and len(obj.material_slots) == len(obj.data.materials) == 0 and not bpy.data.materials


def test_an_undo_step_made_while_the_job_ran_brings_no_preview_back() -> None:
    obj = own()
    bpy.ops.ed.undo_push(message="start")
    before = state(obj)
    begin(obj)
    pump(shown)
    obj.location.x = 1
    bpy.ops.ed.undo_push(message="moved while it ran")
    session.job.stop_and_keep()
    pump(ended)
    bpy.ops.ed.undo()
    obj = bpy.data.objects["Own"]
    assert obj.location.x == 1 and not shown() and base_color_image(obj) is None and not bpy.data.images
    bpy.ops.ed.undo()
    assert state(bpy.data.objects["Own"]) == before
    bpy.ops.ed.redo()
    bpy.ops.ed.redo()
    assert base_color_image(bpy.data.objects["Own"]) and not shown()


def test_a_file_that_is_saved_meanwhile_holds_no_preview(tmp_path: Path) -> None:
    obj = cube("Bare", uvs=False)
    begin(obj)
    pump(shown)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"), copy=True)
    assert not shown()
    pump(shown)
    with bpy.data.libraries.load(str(tmp_path / "saved.blend")) as (there, _):
        assert (there.objects, there.materials, there.images) == (["Bare"], [], [])
    session.cancel()
    pump(ended)


def test_a_file_that_holds_a_preview_all_the_same_is_cleaned_when_it_is_opened(tmp_path: Path) -> None:
    obj = own()
    begin(obj)
    pump(shown)
    sweep = dict(HANDLERS)["save_pre"]
    bpy.app.handlers.save_pre.remove(sweep)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "auto.blend"))
    bpy.app.handlers.save_pre.append(sweep)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "auto.blend"))
    assert not shown() and not bpy.data.images
    assert base_color_source(bpy.data.objects["Own"].active_material).bl_idname == "ShaderNodeTexChecker"


def test_opening_another_file_ends_the_job_and_says_so() -> None:
    begin(cube())
    pump(shown)
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not session.is_running and not bpy.data.images
    assert "Another file was opened" in session.items[0].sentence


def test_renaming_the_object_while_its_job_runs() -> None:
    obj = cube("Old")
    begin(obj)
    pump(shown)
    obj.name = "New"
    session.job.stop_and_keep()
    pump(ended)
    assert base_color_image(obj).name == "New_basecolor"


def test_deleting_the_object_while_its_job_runs() -> None:
    obj = cube("Gone")
    begin(obj)
    pump(shown)
    bpy.data.objects.remove(obj)
    session.job.stop_and_keep()
    pump(ended)
    (item,) = session.items
    assert item.status == "failed" and "The object 'Gone' is gone; its texture is kept in" in item.sentence
    assert not bpy.data.images and not shown()


def test_changing_the_mesh_while_its_new_uv_map_is_on_the_way() -> None:
    obj = cube("Bare", uvs=False)
    begin(obj)
    while session.job.poll().iteration < 1:
        time.sleep(0.01)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.subdivide()
    bpy.ops.object.mode_set(mode="OBJECT")
    session.job.stop_and_keep()
    pump(ended)
    assert "The faces of 'Bare' have changed meanwhile" in session.items[0].sentence
    assert not obj.data.uv_layers and not obj.material_slots


def test_several_objects_one_after_another_on_one_worker() -> None:
    objects = [cube("First"), cube("Flat"), cube("Third", uvs=False)]
    objects[1].scale.z = 0
    bpy.context.view_layer.update()
    begin(*objects, iterations=5)
    first = shared_worker.process.pid
    pump(ended)
    assert [item.status for item in session.items] == ["done", "failed", "done"]
    assert "'Flat' is scaled to nothing" in session.items[1].sentence
    assert [bool(base_color_image(obj)) for obj in objects] == [True, False, True]
    assert shared_worker.process.pid == first


def test_cancel_drops_what_waits_and_one_can_be_taken_out() -> None:
    objects = [cube(name) for name in ("First", "Second", "Third")]
    begin(*objects)
    session.drop(1)
    assert [item.key.name for item in session.items] == ["First", "Third"]
    session.drop(0)
    assert len(session.items) == 2, "what runs can't be taken out"
    session.cancel()
    pump(ended)
    assert [item.status for item in session.items] == ["cancelled", "cancelled"]
    assert not any(base_color_image(obj) for obj in objects)


def test_a_cancelled_job_can_be_resumed() -> None:
    obj = cube("Bare", uvs=False)
    begin(obj, iterations=60)
    pump(shown)
    session.cancel()
    pump(ended)
    folder = session.last_task.folder
    assert bpy.ops.csd.resume() == {"FINISHED"}
    assert session.items[0].status == "done" and base_color_image(obj)
    assert read_json(folder.report)["iterations"] == 60 and [u.name for u in obj.data.uv_layers] == ["CSD UV"]
    with pytest.raises(RuntimeError, match="is finished; there is nothing to go on with"):
        bpy.ops.csd.resume(folder=str(folder.path))


def test_a_lost_worker_is_a_sentence_and_leaves_no_preview() -> None:
    obj = own()
    before = state(obj)
    begin(obj)
    pump(shown)
    shared_worker.process.kill()
    pump(ended)
    (item,) = session.items
    assert item.status == "failed" and "killed by the system or by someone" in item.sentence and state(obj) == before
    assert bpy.ops.csd.copy_log.poll() and bpy.ops.csd.resume.poll()


def test_a_changed_mesh_is_not_resumed() -> None:
    obj = cube("Changed")
    begin(obj)
    pump(shown)
    session.cancel()
    pump(ended)
    obj.data.vertices[0].co.x += 1
    with pytest.raises(RuntimeError, match="The mesh, the pose or the UV map of 'Changed' has changed"):
        bpy.ops.csd.resume()
    folder = str(session.last_task.folder.path)
    bpy.data.objects.remove(obj)
    with pytest.raises(RuntimeError, match="The object 'Changed', whose texture was growing, is not in this file"):
        bpy.ops.csd.resume(folder=folder)


def test_nothing_to_resume_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "last_task", None)
    with pytest.raises(RuntimeError, match="There is no texture to go on with"):
        bpy.ops.csd.resume()


def test_an_image_beside_the_file_never_replaces_another(tmp_path: Path) -> None:
    obj = cube("Crate")
    with pytest.raises(ValueError, match="The file is not saved yet"):
        begin(obj, output="BESIDE")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "crate.blend"))
    (tmp_path / "textures").mkdir()
    (tmp_path / "textures" / "Crate_basecolor.png").write_bytes(b"the artist's")
    begin(obj, output="BESIDE", iterations=5)
    pump(ended)
    image = base_color_image(obj)
    assert image.filepath == "//textures/Crate_basecolor_02.png" and not image.packed_file
    assert (tmp_path / "textures" / "Crate_basecolor.png").read_bytes() == b"the artist's"


def test_the_result_waits_for_object_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    from csd_addon.ui import window

    obj = cube()
    begin(obj, iterations=5)
    monkeypatch.setattr(window, "is_busy", lambda: True)
    pump(lambda: session.job.state.ended)
    session.tick()
    assert session.is_running and base_color_image(obj) is None
    monkeypatch.setattr(window, "is_busy", lambda: False)
    pump(ended)
    assert base_color_image(obj)


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "queue"])
def test_an_error_that_nobody_foresaw_ends_the_job_and_frees_the_panel(
    others: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    obj = own()
    before = state(obj) if not others else None
    begin(obj, *(cube(f"Other {k}") for k in range(others)))
    pump(shown)
    worker, log = shared_worker.process, Path(session.last_log)

    def broken(*_: object) -> bool:
        raise KeyError("a preview of another kind.")

    with monkeypatch.context() as there:
        there.setattr(apply_result, "show", broken)
        pump(ended)
    item, *waiting = session.items
    assert item.status == "failed" and "ended unexpectedly ('a preview of another kind.')" in item.sentence
    assert str(log) in item.sentence and "\n" not in item.sentence and session.last_state.status == "failed"
    assert "Traceback" in log.read_text("utf-8") and "in broken" in log.read_text("utf-8")
    assert "in broken" in capsys.readouterr().err
    assert worker.exit_code() is not None and shared_worker.process is None and not shown()
    assert [each.status for each in waiting] == ["cancelled"] * others
    assert before is None or state(obj) == before
    # The panel is free: the next click works.
    assert bpy.ops.csd.texture.poll() and bpy.ops.csd.copy_log.poll()
    begin(obj, iterations=5)
    pump(ended)
    assert session.items[0].status == "done"


def test_an_error_that_nobody_foresaw_before_the_worker_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    obj = own()
    before = state(obj)
    monkeypatch.setattr(MeshData, "save", lambda *_: {}["missing"])
    begin(obj)
    pump(ended)
    (item,) = session.items
    assert item.status == "failed" and "ended unexpectedly" in item.sentence and state(obj) == before
    assert "missing" in Path(session.last_log).read_text("utf-8")


@pytest.mark.parametrize("make", [own, lambda: cube("Bare", uvs=False)], ids=["material", "nothing"])
def test_a_result_that_can_not_be_put_up_is_kept_and_the_object_is_as_it_was(
    make: Callable[[], bpy.types.Object], monkeypatch: pytest.MonkeyPatch
) -> None:
    obj = make()
    before = state(obj)
    with monkeypatch.context() as there:
        there.setattr(apply_result, "apply_texture", lambda *_: {}["nobody foresaw it"])
        begin(obj, iterations=5)
        pump(ended)
    (item,) = session.items
    assert item.status == "failed" and "could not be shown ('nobody foresaw it')" in item.sentence
    assert "Apply Again" in item.sentence and state(obj) == before
    assert session.last_task.folder.basecolor.is_file() and bpy.ops.csd.texture.poll()
