"""What strikes the image of an edit while the job runs: the edit goes on, or ends in one sentence; nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.core.png import encode_png
from csd_addon.jobs.job import Job
from csd_addon.scene.base_color import read_pixels
from tests.scene.objects import base_color_source, cube, datablocks, fingerprint, link, principled, quarters, shader_of

pytestmark = pytest.mark.usefixtures("addon")

EDGE = 16


def write_picture(path: Path, edge: int, depth: int) -> None:
    dtype = np.uint16 if depth == 16 else np.uint8
    path.write_bytes(encode_png((quarters(edge) * (2**depth - 1)).astype(dtype)))


def wall(path: Path) -> bpy.types.Object:
    """A cube that shows the image at ``path``, in a saved file."""
    obj = cube("Wall")
    obj.data.materials.append(principled("Bricks"))
    node = obj.active_material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.load(str(path))
    link(obj.active_material, node.outputs["Color"], shader_of(obj.active_material).inputs["Base Color"])
    bpy.ops.wm.save_as_mainfile(filepath=str(path.with_name("wall.blend")))
    return obj


def edit_under_fire(strike: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> str:
    """Edit, and strike when the worker is done and Blender has not read its result; the sentence if it is refused."""
    wait = Job.wait

    def wait_and_strike(job: Job, *arguments: object, **more: object) -> object:
        state = wait(job, *arguments, **more)
        strike()
        return state

    with monkeypatch.context() as patch:
        patch.setattr(Job, "wait", wait_and_strike)
        try:
            assert bpy.ops.csd.edit(target="blue brick", remove="red brick", iterations=4) == {"FINISHED"}
        except RuntimeError as error:
            return str(error).removeprefix("Error: ").strip()
    return ""


SOURCE: dict[str, Callable[[Path, int], object]] = {
    "deleted": lambda path, depth: path.unlink(),
    "of another size": lambda path, depth: write_picture(path, EDGE // 2, depth),
    "of another depth": lambda path, depth: write_picture(path, EDGE, 24 - depth),
    "half": lambda path, depth: path.write_bytes(path.read_bytes()[:50]),
    "no image": lambda path, depth: path.write_bytes(b"nothing of the sort"),
    "a folder": lambda path, depth: (path.unlink(), path.mkdir()),
    "read-only": lambda path, depth: path.chmod(0o444),
    "its folder gone": lambda path, depth: shutil.rmtree(path.parent),
}


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("fault", SOURCE)
def test_a_source_that_is_struck_while_it_is_edited(
    fault: str, depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    path = folder / "bricks.png"
    write_picture(path, EDGE, depth)
    obj = wall(path)
    source = base_color_source(obj.active_material).image
    before, numbers = fingerprint(obj), read_pixels(source)[0]
    sentence = edit_under_fire(lambda: SOURCE[fault](path, depth), monkeypatch)
    print(sentence or "the edit is shown")
    assert sentence == "", "what was read before is enough"
    assert fingerprint(obj) == before and source.name in bpy.data.images
    edited = base_color_source(obj.active_material).image
    off = np.abs(read_pixels(edited)[0][..., :3] - (1 - numbers[..., :3])).max()
    print(f"off by {off:.4f}, at most {1.01 / 255:.4f}; {edited.filepath}")
    assert edited != source and tuple(edited.size) == (EDGE, EDGE) and off <= 1.01 / 255
    assert bpy.ops.csd.undo_edit() == {"FINISHED"} and base_color_source(obj.active_material).image == source


PLACE: dict[str, Callable[[Path], object]] = {
    "a file": lambda folder: folder.write_bytes(b""),
    "a link to nowhere": lambda folder: folder.symlink_to(folder.with_name("gone")),
    "a full device": lambda folder: folder.symlink_to("/dev/full"),
}


@pytest.mark.parametrize("kind", ["texture", "edit"])
@pytest.mark.parametrize("fault", PLACE)
def test_a_place_that_can_not_be_written(
    fault: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bricks.png"
    write_picture(path, EDGE, 8)
    obj = wall(path)
    bpy.context.scene.csd.output = "BESIDE"
    source, before, counts = base_color_source(obj.active_material).image, fingerprint(obj), datablocks()
    PLACE[fault](tmp_path / "textures")
    run = {"texture": lambda: bpy.ops.csd.texture(prompt="red brick", size=64, iterations=4),
           "edit": lambda: bpy.ops.csd.edit(target="blue brick", remove="red brick", iterations=4)}[kind]  # fmt: skip
    with pytest.raises(RuntimeError, match="textures") as caught:
        run()
    print(caught.value)
    assert "Traceback" not in str(caught.value) and str(caught.value).strip().count("\n") == 0
    assert fingerprint(obj) == before and datablocks() == counts
    assert base_color_source(obj.active_material).image == source
    (tmp_path / "textures").unlink()
    assert run() == {"FINISHED"} and len(list((tmp_path / "textures").glob("*.png"))) == 1
