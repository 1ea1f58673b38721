"""A new texture on a UV map of several UDIM tiles: one image of tiles, from the preview to the undo."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.core.settings import JobSettings
from csd_addon.drive import apply_result, object_job
from csd_addon.jobs.folder import new_folder
from csd_addon.scene.base_color import read_pixels
from csd_addon.scene.material import base_color_image
from csd_addon.scene.preview import hide_previews
from csd_addon.scene.tiles import pictures
from tests.scene.objects import base_color_source, datablocks, fingerprint, image_of, node_tree
from tests.scene.tiled import SHAPES, tiled_cube

pytestmark = pytest.mark.usefixtures("addon")


@pytest.fixture
def obj(addon: None) -> bpy.types.Object:
    """A cube with faces on three tiles, and one image that repeats on them."""
    return tiled_cube(image_of(np.ones((4, 4, 3), np.float32)))


def blue(image: bpy.types.Image) -> dict[int, float]:
    """The fake worker gives each tile a blue of its own."""
    with pictures(image) as tiles:
        return {number: float(read_pixels(tile)[0][0, 0, 2]) for number, tile in tiles.items()}


def expected(seed: int = 0) -> dict[int, float]:
    return {n: pytest.approx(np.random.default_rng(seed + n).random(), abs=0.5 / 255) for n in SHAPES}


def test_each_tile_gets_an_image_of_its_own(obj: bpy.types.Object, tmp_path: Path) -> None:
    tree, before, counts = node_tree(obj.active_material), fingerprint(obj), datablocks()
    assert bpy.ops.csd.texture(prompt="red brick", size=64, iterations=4) == {"FINISHED"}
    image = base_color_image(obj)
    assert base_color_source(obj.active_material).image == image and fingerprint(obj) == before
    assert image.source == "TILED" and len(image.packed_files) == 3 and image.name == "Wall_basecolor"
    assert blue(image) == expected() and {tuple(tile.size) for tile in image.tiles} == {(64, 64)}
    assert bpy.ops.csd.revert() == {"FINISHED"}
    assert node_tree(obj.active_material) == tree and fingerprint(obj) == before and datablocks() == counts


def test_files_beside_the_blend(obj: bpy.types.Object, home: Path, tmp_path: Path) -> None:
    settings = JobSettings(prompt="red brick", size=64, iterations=4, seed=3)
    (tmp_path / "out").mkdir()
    # What an earlier run left there is no tile of this one.
    (tmp_path / "out" / "wall.1005.png").write_bytes(b"")
    task = object_job.prepare(obj, settings, new_folder(home / "jobs"))
    assert not task.notes
    job = object_job.run_blocking(task)
    apply_result.finish(task, Path(job.state.done.paths["basecolor"]), place=lambda *_: tmp_path / "out" / "wall")
    image = base_color_image(obj)
    assert blue(image) == expected(3) and Path(image.filepath).name == "wall.<UDIM>.png" and not image.packed_files
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"wall.{number}.png" for number in (*SHAPES, 1005)}


def test_the_preview_shows_every_tile_and_its_newest_pixels(obj: bpy.types.Object, home: Path) -> None:
    tree, counts = node_tree(obj.active_material), datablocks()
    settings = JobSettings(prompt="red brick", size=64, iterations=4)
    task = object_job.prepare(obj, settings, new_folder(home / "jobs"))
    assert not apply_result.show(task, task.folder.preview / "basecolor.png"), "there is none yet"
    job = object_job.run_blocking(task)
    assert apply_result.show(task, Path(job.state.preview))
    image = base_color_source(obj.active_material).image
    first = blue(image)
    assert image.source == "TILED" and list(first) == list(SHAPES) and len(set(first.values())) == 3
    for number in SHAPES:
        (task.folder.preview / f"basecolor.{number}.png").write_bytes(
            (task.folder.result / f"basecolor.{number}.png").read_bytes()
        )
    assert apply_result.show(task, Path(job.state.preview))
    assert base_color_source(obj.active_material).image == image and blue(image) == expected()
    assert {tuple(tile.size) for tile in image.tiles} == {(64, 64)}
    hide_previews()
    assert node_tree(obj.active_material) == tree and datablocks() == counts


def test_a_base_colour_that_is_no_image_is_not_baked_into_one_for_several_tiles(obj: bpy.types.Object) -> None:
    base_color_source(obj.active_material).mute = True
    with pytest.raises(RuntimeError, match="'Wall' is no image, and its UV map lies on several UDIM tiles"):
        bpy.ops.csd.edit(target="blue brick", remove="red brick", iterations=4)
