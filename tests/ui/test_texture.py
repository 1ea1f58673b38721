"""``bpy.ops.csd.texture`` in ``--background``: the whole road from a prompt to a texture, and every refusal."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.core.settings import JobSettings
from csd_addon.drive import apply_result, object_job
from csd_addon.drive.warm_worker import FAKE_VARIABLE, shared_worker
from csd_addon.jobs.folder import read_json
from csd_addon.scene.material import base_color_image
from tests.scene.objects import base_color_source, cube, datablocks, fingerprint, node_tree, rigged_cube

pytestmark = pytest.mark.usefixtures("addon")


def texture(**arguments) -> set[str]:
    return bpy.ops.csd.texture(**{"prompt": "red brick", "size": 64, "iterations": 4, **arguments})


def refused(obj: bpy.types.Object, home: Path, words: str, **arguments) -> None:
    """The operator raises a sentence with ``words`` in it and changes nothing."""
    before, counts = fingerprint(obj) if obj.type == "MESH" else None, datablocks()
    with pytest.raises(RuntimeError, match=words) as caught:
        texture(**arguments)
    print(caught.value)
    assert "Traceback" not in str(caught.value)
    assert datablocks() == counts and (before is None or fingerprint(obj) == before)


def job_folders(home: Path) -> list[Path]:
    return sorted((home / "jobs").glob("*")) if (home / "jobs").is_dir() else []


def test_the_texture_is_on_the_material_and_the_asset_is_untouched() -> None:
    obj = rigged_cube()
    before = fingerprint(obj)
    assert texture() == {"FINISHED"}
    image = base_color_image(obj)
    assert image.packed_file and tuple(image.size) == (64, 64) and image.name == "Rigged_basecolor"
    assert fingerprint(obj) == before
    node = base_color_source(obj.active_material)
    assert node.image == image and node.inputs["Vector"].links[0].from_node.uv_map == obj.data.uv_layers[0].name
    # The fake paints u in red and v in green: bottom left is dark, top right is bright.
    pixels = np.empty(64 * 64 * 4, np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(64, 64, 4)
    assert pixels[0, 0, :2].max() < 0.02 and pixels[-1, -1, :2].min() > 0.98


def test_one_undo_step_takes_everything_back() -> None:
    cube("Bare", uvs=False)
    before, counts = fingerprint(bpy.data.objects["Bare"]), datablocks()
    bpy.ops.ed.undo_push(message="Before")
    assert texture() == {"FINISHED"}
    bpy.ops.ed.undo_push(message="Texture")
    assert fingerprint(bpy.data.objects["Bare"]) != before and bpy.data.images
    bpy.ops.ed.undo()
    assert fingerprint(bpy.data.objects["Bare"]) == before and datablocks() == counts
    bpy.ops.ed.redo()
    assert base_color_image(bpy.data.objects["Bare"]).packed_file


def test_revert_is_the_inverse() -> None:
    obj = rigged_cube()
    before, trees, counts = fingerprint(obj), [node_tree(s.material) for s in obj.material_slots], datablocks()
    texture()
    assert bpy.ops.csd.revert() == {"FINISHED"}
    assert fingerprint(obj) == before and [node_tree(s.material) for s in obj.material_slots] == trees
    assert datablocks() == counts


def test_texturing_again_replaces_the_image_under_the_same_name() -> None:
    obj = rigged_cube()
    texture(seed=1)
    texture(seed=2)
    assert [i.name for i in bpy.data.images] == ["Rigged_basecolor"] and base_color_image(obj).packed_file


def test_a_mesh_without_uvs_is_unwrapped_with_a_note(capfd: pytest.CaptureFixture) -> None:
    obj = cube("Bare", uvs=False)
    assert texture() == {"FINISHED"}
    assert [layer.name for layer in obj.data.uv_layers] == ["CSD UV"]
    assert "'Bare' has no UV map. It was unwrapped into the new UV map 'CSD UV'." in capfd.readouterr().out


def test_collapsed_uvs_are_left_alone_and_a_new_layer_is_used() -> None:
    obj = cube("Collapsed")
    obj.data.uv_layers[0].uv.foreach_set("vector", np.zeros(2 * len(obj.data.loops), np.float32))
    assert texture() == {"FINISHED"}
    assert [layer.name for layer in obj.data.uv_layers] == ["UVMap", "CSD UV"]
    assert base_color_source(obj.active_material).inputs["Vector"].links[0].from_node.uv_map == "CSD UV"


def test_edit_mode() -> None:
    obj = cube("Edited", uvs=False)
    bpy.ops.object.mode_set(mode="EDIT")
    assert texture() == {"FINISHED"} and obj.mode == "EDIT"
    bpy.ops.object.mode_set(mode="OBJECT")
    assert base_color_image(obj) and [layer.name for layer in obj.data.uv_layers] == ["CSD UV"]


def test_arguments_override_the_scene_and_the_rest_is_the_scenes(home: Path) -> None:
    cube()
    scene = bpy.context.scene.csd
    scene.prompt, scene.seed, scene.size, scene.preset = "of the scene", 7, 128, "draft"
    bpy.ops.csd.texture(size=64, iterations=3)
    used = read_json(job_folders(home)[0] / "job.json")["settings"]
    assert (used["prompt"], used["seed"], used["size"], used["preset"]) == ("of the scene", 7, 64, "draft")
    assert used["iterations"] == 3 and scene.size == 128
    bpy.ops.csd.texture(prompt="of the call", size=64, iterations=3)
    prompts = {read_json(folder / "job.json")["settings"]["prompt"] for folder in job_folders(home)}
    assert prompts == {"of the scene", "of the call"}


def test_the_chosen_uv_map_is_used(home: Path) -> None:
    obj = rigged_cube()
    texture(uv_map="Second")
    assert base_color_source(obj.active_material).inputs["Vector"].links[0].from_node.uv_map == "Second"


def test_an_empty_prompt_changes_nothing(home: Path) -> None:
    refused(cube(uvs=False), home, "The prompt is empty: write what the texture should show", prompt="  ")
    assert job_folders(home) == [] and shared_worker.process is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"uv_map": "Nope"}, "has no UV map called 'Nope'; its UV maps are: none"),
     ({"prompt": "crash"}, "exit code 11")],
    ids=["unknown UV map", "worker that crashes"],
)  # fmt: skip
def test_refusals_leave_no_uv_layer(home: Path, arguments: dict, words: str) -> None:
    refused(cube(uvs=False), home, words, **arguments)


def test_the_next_job_after_a_crash_has_a_new_worker() -> None:
    obj = cube()
    with pytest.raises(RuntimeError):
        texture(prompt="crash")
    assert texture() == {"FINISHED"} and base_color_image(obj)


def test_a_camera_is_a_sentence(home: Path) -> None:
    bpy.ops.object.camera_add()
    refused(bpy.context.object, home, "'Camera' is a camera, not a mesh")
    assert job_folders(home) == []


def test_broken_vertices_are_a_sentence(home: Path) -> None:
    obj = cube("Broken", uvs=False)
    obj.data.vertices[0].co.x = float("nan")
    refused(obj, home, "'Broken' has 1 vertices whose position is not a number")
    assert job_folders(home) == []


def test_modifiers_that_drop_the_uvs_are_a_sentence(home: Path) -> None:
    obj = cube("Blob")
    obj.modifiers.new("Remesh", "REMESH").mode = "VOXEL"
    obj.modifiers[0].voxel_size = 0.5
    refused(obj, home, "After its modifiers 'Blob' has no UV map: apply")
    assert job_folders(home) == []


def test_a_missing_runtime_is_a_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FAKE_VARIABLE)
    monkeypatch.delenv("CSD_WORKER_PYTHON", raising=False)
    refused(cube(uvs=False), home, "The texture runtime is not installed: use Install Runtime")
    assert job_folders(home) == []


def test_a_missing_teacher_is_a_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FAKE_VARIABLE)
    refused(cube(uvs=False), home, "nowhere", teacher=str(home / "nowhere"))
    assert job_folders(home) == []


def test_a_full_disk_is_a_sentence(home: Path) -> None:
    home.mkdir()
    (home / "jobs").write_text("a file where the folder should be", encoding="utf-8")
    refused(cube(uvs=False), home, "jobs")


def test_a_job_folder_that_can_not_be_written_leaves_no_uv_layer(home: Path, monkeypatch) -> None:
    monkeypatch.setattr("csd_addon.core.mesh.MeshData.save", lambda self, path: shutil.copy("/dev/null", path / "x"))
    refused(cube(uvs=False), home, "mesh.npz")


def test_poll_says_why_not() -> None:
    bpy.context.view_layer.objects.active = None
    with pytest.raises(RuntimeError, match="Select the mesh that should get a texture"):
        texture()
    cube()
    with pytest.raises(RuntimeError, match="carries no texture of CSD Texture"):
        bpy.ops.csd.revert()
    assert not bpy.ops.csd.stop_and_keep.poll() and not bpy.ops.csd.cancel.poll() and not bpy.ops.csd.copy_log.poll()


def test_a_job_under_way_is_ended_when_another_file_is_opened(home: Path) -> None:
    from csd_addon.jobs.folder import new_folder
    from csd_addon.ui import properties
    from csd_addon.ui.session import session

    bpy.context.scene.csd.prompt, bpy.context.scene.csd.iterations = "red brick", 100_000
    task = object_job.prepare(cube(), properties.read_settings(bpy.context.scene, "texture"), new_folder(home / "jobs"))
    job = object_job.launch(task)
    session.begin(task, job)
    while job.poll().iteration < 3:
        time.sleep(0.02)
    assert bpy.ops.csd.stop_and_keep.poll()
    with pytest.raises(RuntimeError, match="A texture is already growing: stop or cancel it first"):
        texture()
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not session.is_running and session.last_state.status == "cancelled"
    assert (task.folder.checkpoint / "fake.txt").is_file(), "the checkpoint is kept"


def test_before_and_after_and_before_again() -> None:
    obj = rigged_cube()
    former = base_color_source(obj.active_material)
    former = former and former.name
    texture()
    own = base_color_source(obj.active_material).name
    seen = []
    for _ in range(4):
        assert bpy.ops.csd.compare() == {"FINISHED"}
        source = base_color_source(obj.active_material)
        seen.append(source and source.name)
    assert seen == [former, own, former, own] and former != own


def test_a_result_that_can_not_be_put_up_leaves_no_new_uv_layer(home: Path) -> None:
    obj = cube("Bare", uvs=False)
    before, counts = fingerprint(obj), datablocks()
    task, job = object_job.start(obj, JobSettings(prompt="red brick", size=64, iterations=4))
    state = object_job.wait(job).state
    result = Path(state.done.paths["basecolor"])
    result.write_bytes(result.read_bytes()[:-20])
    with pytest.raises(ValueError, match="basecolor.png can't be loaded: the file is damaged"):
        apply_result.finish(task, result, place=None)
    assert fingerprint(obj) == before and datablocks() == counts
