"""Losses compared from the panel: the job, its progress, its end, what stands in the way; the object stays as it is."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

from csd_addon.jobs.comparison import PICTURES
from csd_addon.scene.lookup import ObjectKey
from csd_addon.ui import comparisons, diagnosis, obstacles, past_runs, progress
from csd_addon.ui.session import Item, session
from tests.scene.objects import cube
from tests.ui.test_obstacles import Layout
from tests.ui.test_session import ended, own, pump, state

pytestmark = pytest.mark.usefixtures("addon")


def begin(obj: bpy.types.Object, **values: object) -> None:
    """What a click on the button does."""
    scene = bpy.context.scene
    for name, value in {"prompt": "red brick", "diagnosis_steps": 10, **values}.items():
        setattr(scene.csd, name, value)

    class Unset:
        class properties:  # noqa: N801 - as Blender names it
            is_property_set = staticmethod(lambda name: False)

    session.start([Item(ObjectKey.of(obj), diagnosis.settings_of(scene, Unset))])


def test_a_script_gets_the_figures_and_the_object_stays_as_it_is(home: Path) -> None:
    obj = own()
    before = state(obj)
    bpy.context.scene.csd.prompt = "red brick"
    assert bpy.ops.csd.diagnose("EXEC_DEFAULT", iterations=10, uv_map="not there") == {"FINISHED"}
    assert state(obj) == before
    newest = comparisons.newest()
    assert newest.words == "red brick" and newest.folder.path.parent == home / "diagnoses"
    assert [verdict.shows for verdict in newest.verdicts] == [True, True, True]
    assert newest.pictures.keys() == PICTURES.keys()
    assert diagnosis.verdict_text(newest.verdicts[2]) == "Shows: The classifier score alone suffices"
    past_runs.refresh()
    assert past_runs.entries() == (), "the history is of textures"


def test_an_object_without_uvs_gets_none() -> None:
    obj = cube("Bare", uvs=False)
    before = state(obj)
    assert bpy.ops.csd.diagnose("EXEC_DEFAULT", prompt="red brick", iterations=10) == {"FINISHED"}
    assert state(obj) == before and not obj.data.uv_layers


def test_the_window_shows_each_run_and_its_end() -> None:
    obj = own()
    before = state(obj)
    begin(obj)
    told, steps = [], []

    def look() -> bool:
        if session.job:
            told.append(progress.progress_text(session.job.state))
            steps.append(session.job.state.iteration)
        return ended()

    pump(look)
    runs = [text for text in dict.fromkeys(told) if text.startswith("Run ")]
    print(runs)
    assert runs[0].startswith("Run 1 of 7") and any(text.startswith("Run 7 of 7, ") for text in runs)
    assert steps == sorted(steps) and steps[-1] > 60, "one bar for all runs"
    (item,) = session.items
    assert (item.status, item.sentence) == ("done", "The comparison is finished: look below, under Diagnostics.")
    assert state(obj) == before and comparisons.newest() is None
    comparisons.wake()
    assert bpy.app.timers.is_registered(comparisons.refresh), "the panel looks at the disk when a job has ended"
    comparisons.refresh()
    assert comparisons.newest().words == "red brick" and set(comparisons._previews) == set(
        map(str, comparisons.newest().pictures.values())
    )


def test_cancel_leaves_nothing_to_show() -> None:
    obj = own()
    before = state(obj)
    begin(obj, diagnosis_steps=10_000)
    pump(lambda: session.job.state.iteration > 0)
    with pytest.raises(RuntimeError, match="already growing"):
        bpy.ops.csd.diagnose("EXEC_DEFAULT")
    session.cancel()
    pump(ended)
    (item,) = session.items
    assert item.status == "cancelled" and "only of use when it is complete" in item.sentence
    comparisons.refresh()
    assert comparisons.newest() is None and state(obj) == before and not session.can_resume


def test_a_lost_worker_is_told() -> None:
    cube()
    begin(bpy.context.object, prompt="crash")
    pump(ended)
    (item,) = session.items
    assert item.status == "failed" and "exit code 11" in item.sentence
    with pytest.raises(RuntimeError, match="exit code 11"):
        bpy.ops.csd.diagnose("EXEC_DEFAULT", iterations=10)


def test_what_stands_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstacles, "_FRESH", -1)

    def found() -> str:
        obstacle = obstacles.find_for_diagnosis(bpy.context)
        return obstacle.sentence if obstacle else ""

    scene = bpy.context.scene
    assert found() == "Select the mesh that should get a texture."
    cube()
    assert found().startswith("Write a prompt")
    scene.csd.prompt = "red brick"
    scene.csd.uv_map, scene.csd.output = "gone", "BESIDE"
    assert found() == "", "where a result would go does not matter"
    scene.csd.teacher = "no such teacher"
    assert "no such teacher" in found()
    scene.csd.teacher, scene.csd.mode = "mini", "EDIT"
    assert found().startswith("Losses are compared on new textures")
    layout = Layout()
    obstacles.find_for_diagnosis(bpy.context).remedy(layout)
    ((name, arguments),) = layout.buttons
    assert name == "wm.context_set_enum"
    bpy.ops.wm.context_set_enum(**vars(arguments))
    assert found() == ""
    scene.csd.prompt = " "
    with pytest.raises(RuntimeError, match="The prompt is empty"):
        bpy.ops.csd.diagnose("EXEC_DEFAULT")
