"""Depth and margin of the image: from the settings to the job, and from the result to the image in Blender."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

from csd_addon.jobs.folder import read_json
from csd_addon.scene.material import base_color_image
from tests.scene.objects import cube

pytestmark = pytest.mark.usefixtures("addon")


def texture(**arguments) -> bpy.types.Image:
    assert bpy.ops.csd.texture(prompt="red brick", size=64, iterations=4, **arguments) == {"FINISHED"}
    return base_color_image(bpy.context.object)


def edit(**arguments) -> bpy.types.Image:
    assert bpy.ops.csd.edit(target="blue brick", remove="red brick", iterations=4, **arguments) == {"FINISHED"}
    return base_color_image(bpy.context.object)


def bits(image: bpy.types.Image) -> int:
    """Bits of a channel, as the header of its PNG has them."""
    data = image.packed_file.data if image.packed_file else Path(bpy.path.abspath(image.filepath)).read_bytes()
    assert bytes(data[:4]) == b"\x89PNG"
    return data[24]


@pytest.mark.parametrize("output", ["PACK", "BESIDE"])
def test_the_depth_that_is_chosen_is_the_images(tmp_path: Path, output: str) -> None:
    cube()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    settings = bpy.context.scene.csd
    settings.output = output
    assert bits(texture()) == 8
    settings.depth = "16"
    image = texture()
    assert bits(image) == 16 and image.is_float and bool(image.packed_file) is (output == "PACK")
    assert bits(edit(depth="auto")) == 16, "as the source"
    assert bits(edit(depth="8")) == 8
    assert bits(edit()) == 16, "as the scene says"


def test_depth_margin_and_front_reach_the_job(home: Path) -> None:
    cube()
    settings = bpy.context.scene.csd
    settings.depth, settings.margin, settings.front, settings.overlaps = "16", 9, "left", "average"
    texture(margin=11)
    (folder,) = (home / "jobs").iterdir()
    told = read_json(folder / "job.json")["settings"]
    assert (told["depth"], told["margin"], told["front"]) == ("16", 11, "left") and told["overlaps"] == "average"


@pytest.mark.parametrize("output", ["PACK", "BESIDE"])
def test_the_map_of_the_unseen_lies_beside_the_image(home: Path, tmp_path: Path, output: str) -> None:
    cube()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.context.scene.csd.output, bpy.context.scene.csd.unseen_map = output, True
    texture()
    beside = tmp_path / "textures" / "Cube_basecolor_unseen.png"
    assert beside.is_file() is (output == "BESIDE")
    (folder,) = (home / "jobs").iterdir()
    assert (folder / "result" / "unseen.png").is_file()


def test_undersides_and_front_are_recalled_from_a_run(home: Path) -> None:
    cube()
    scene = bpy.context.scene.csd
    scene.guidance.undersides, scene.front = False, "back"
    texture()
    (folder,) = (home / "jobs").iterdir()
    assert read_json(folder / "job.json")["settings"]["expert"] == {"undersides": False}
    scene.guidance.undersides, scene.front = True, "front"
    assert bpy.ops.csd.recall_settings(run=folder.name) == {"FINISHED"}
    assert not scene.guidance.undersides and scene.front == "back" and not scene.guidance.own_views
