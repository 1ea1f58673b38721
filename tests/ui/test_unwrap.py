"""xatlas beside the window: its UVs reach the object, and whatever goes wrong ends in Smart UV Project and a sentence.

The worker's Python is a stand-in here, which writes a UV map of its own or misbehaves; the true one is in
``tests/worker/test_unwrap.py``.
"""

from __future__ import annotations

import sys
import textwrap
import time
from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.core.polygons import Polygons, load_layer, save_layer
from csd_addon.core.settings import JobSettings
from csd_addon.drive import apply_result, object_job, prepare_job
from csd_addon.drive.unwrap_xatlas import unwrap_in_pieces
from csd_addon.jobs.folder import JobFolder, new_folder
from csd_addon.scene.material import base_color_image
from csd_addon.scene.pieces import run_to_end
from csd_addon.scene.read_mesh import read_mesh
from csd_addon.scene.unwrap import polygons_of
from csd_addon.ui import past_runs
from tests.scene.objects import cube, datablocks, fingerprint

pytestmark = [
    pytest.mark.usefixtures("addon"),
    pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script that starts with #!"),
]

SETTINGS = JobSettings(prompt="red brick", size=64, iterations=4, unwrap="xatlas")
# Lays all loops on a spiral: no other unwrapping gives these.
SPIRAL = """
import numpy as np
with np.load(sys.argv[-2]) as mesh:
    turn = np.linspace(0, 6, mesh["loops"].max() + 1)
uvs = 0.5 + 0.08 * turn[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
with open(sys.argv[-1], "wb") as stream:
    np.savez(stream, uvs=uvs.astype(np.float32).ravel())
"""
BROKEN = {
    "crash": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "its process ended with SIGSEGV"),
    "exit": ("sys.exit(3)", "its process ended with exit code 3"),
    "none": ("raise ModuleNotFoundError(\"No module named 'xatlas'\")", "the worker's Python has no xatlas"),
    "hang": ("import time; time.sleep(600)", "it had not finished after 1 seconds"),
    "no answer": ("", "its answer is damaged"),
    "garbage": ("open(sys.argv[-1], 'wb').write(b'PK')", "its answer is damaged"),
    "zeros": (SPIRAL.replace("0.08", "0.0"), "its answer is no UV map"),
}


def interpreter(tmp_path: Path, code: str) -> Path:
    """An executable that takes the place of the worker's Python."""
    path = tmp_path / "python"
    path.write_text(f"#!{sys.executable}\nimport sys\n{textwrap.dedent(code)}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Let this code run where a mesh is unwrapped; the fake worker stays what it is."""

    def use(code: str) -> None:
        path = interpreter(tmp_path, code)
        monkeypatch.setattr(prepare_job, "interpreter", lambda: path)

    return use


def uvs_of(obj: bpy.types.Object) -> np.ndarray:
    values = np.empty(2 * len(obj.data.loops), np.float32)
    obj.data.uv_layers["CSD UV"].uv.foreach_get("vector", values)
    return values


def spiral(count: int) -> np.ndarray:
    turn = np.linspace(0, 6, count)
    return (0.5 + 0.08 * turn[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)).astype(np.float32).ravel()


@pytest.mark.parametrize("way", ["prepared", "beside the window"])
def test_its_uvs_reach_the_job_and_the_object(way: str, stand_in, home: Path) -> None:
    obj = cube("Bare", uvs=False)
    stand_in(SPIRAL)
    before, counts = fingerprint(obj), datablocks()
    if way == "prepared":
        task = object_job.prepare(obj, SETTINGS, new_folder(home / "jobs"))
        assert fingerprint(obj) == before and datablocks() == counts, "nothing has changed yet"
        job = object_job.run_blocking(task)
    else:
        task, job = object_job.start(obj, SETTINGS)
        job.wait()
    assert np.array_equal(task.uvs, spiral(24)) and np.array_equal(load_layer(task.folder.layer), task.uvs)
    assert not task.folder.polygons.exists()
    apply_result.finish(task, Path(job.state.done.paths["basecolor"]), place=None)
    assert np.array_equal(uvs_of(obj), spiral(24)) and base_color_image(obj)
    kept = read_mesh(obj, "CSD UV").corner_uvs
    with np.load(task.folder.mesh) as arrays:
        assert np.array_equal(arrays["corner_uvs"], kept)
    assert not [note for note in task.notes if "xatlas" in note]


@pytest.mark.parametrize("fault", BROKEN)
def test_a_failure_is_a_sentence_and_smart_uv_project(
    fault: str, stand_in, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, words = BROKEN[fault]
    obj = cube("Bare", uvs=False)
    smart = object_job.prepare(obj, JobSettings(prompt="x"), new_folder(home / "jobs")).uvs.copy()
    stand_in(code)
    seconds = 1 if fault == "hang" else 60
    monkeypatch.setattr(prepare_job, "unwrap_in_pieces", lambda *given: unwrap_in_pieces(*given, seconds=seconds))
    task = object_job.prepare(obj, SETTINGS, new_folder(home / "jobs"))
    assert np.array_equal(task.uvs, smart) and np.array_equal(load_layer(task.folder.layer), smart)
    (note,) = [note for note in task.notes if "xatlas" in note]
    print(note)
    assert note == f"xatlas gave no UV map, because {words}: 'Bare' has Smart UV Project's."
    assert "uv layers" in fingerprint(obj) and not obj.data.uv_layers


def test_where_there_are_uvs_nothing_is_unwrapped(stand_in, home: Path) -> None:
    stand_in("sys.exit(3)")
    task = object_job.prepare(cube("Own"), SETTINGS, new_folder(home / "jobs"))
    assert task.uvs is None and not task.notes and not task.folder.layer.exists()


def test_cancelled_it_ends_at_once(stand_in, home: Path) -> None:
    obj = cube("Bare", uvs=False)
    stand_in("import time; open(sys.argv[-1] + '.pid', 'w').write(str(__import__('os').getpid())); time.sleep(600)")
    task, job = object_job.start(obj, SETTINGS)
    mark = task.folder.path / "layer.npz.pid"
    began = time.monotonic()
    while not (mark.is_file() and mark.read_text()) and time.monotonic() - began < 30:
        job.poll()
    pid = int(mark.read_text())
    job.cancel()
    assert job.state.status == "cancelled" and not task.folder.path.exists()
    assert not Path(f"/proc/{pid}").exists() and not obj.data.uv_layers


def test_a_kept_result_comes_back_with_its_uvs(stand_in, home: Path) -> None:
    obj = cube("Bare", uvs=False)
    stand_in(SPIRAL)
    task, job = object_job.start(obj, SETTINGS)
    job.wait()
    past_runs.refresh()
    assert bpy.ops.csd.apply_again(run=task.folder.path.name) == {"FINISHED"}
    assert np.array_equal(uvs_of(obj), spiral(24))
    bpy.ops.csd.revert()
    obj.data.uv_layers.remove(obj.data.uv_layers[0])
    task.folder.layer.write_bytes(b"PK")
    with pytest.raises(RuntimeError, match=r"layer\.npz is damaged or missing"):
        bpy.ops.csd.apply_again(run=task.folder.path.name)
    assert not obj.data.uv_layers


def test_a_cancelled_run_is_resumed_with_its_uvs(stand_in) -> None:
    obj = cube("Bare", uvs=False)
    stand_in(SPIRAL)
    task, job = object_job.start(obj, JobSettings(prompt="x", size=64, iterations=60, unwrap="xatlas"))
    while job.state.iteration < 2:
        job.poll()
    job.cancel()
    job.wait()
    assert bpy.ops.csd.resume(folder=str(task.folder.path)) == {"FINISHED"}
    assert np.array_equal(uvs_of(obj), spiral(24)) and base_color_image(obj)


def test_what_is_unwrapped_is_the_objects_own_mesh(tmp_path: Path) -> None:
    obj = cube("Bare", uvs=False)
    obj.modifiers.new("Bevel", "BEVEL")
    obj.data.polygons[0].use_smooth = True
    polygons_of(obj).save(tmp_path / "polygons.npz")
    found = Polygons.load(tmp_path / "polygons.npz")
    assert found.positions.shape == (8, 3) and found.triangles.shape == (12, 3) and len(np.unique(found.loops)) == 24
    assert np.bincount(found.polygon).tolist() == [2] * 6
    vertex_of_loop = np.array([loop.vertex_index for loop in obj.data.loops])
    assert np.array_equal(vertex_of_loop[found.loops], found.triangles)


def test_a_damaged_layer_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "layer.npz"
    for uvs in (np.zeros((3, 2), np.float32), np.zeros(6), np.full(6, np.nan, np.float32)):
        save_layer(path, uvs)
        with pytest.raises(ValueError, match=r"The UV map .*layer\.npz is damaged or missing: it holds no UV map\."):
            load_layer(path)


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job").create()
    trouble = run_to_end(unwrap_in_pieces(tmp_path / "nothing", tmp_path, folder))
    assert trouble.startswith("its process can't be started (") and "nothing" in trouble
