"""``edit`` on the terminal's whole road, with the bpy wheel and the fake worker, in processes of their own.

The fake worker inverts the source wherever its painted mask allows it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from csd_addon.cli.arguments import job_request, parser
from csd_addon.cli.main import main
from csd_addon.core.settings import JobSettings
from csd_addon.core.source import EditSource
from csd_addon.jobs.folder import read_json
from csd_addon.scene.base_color import read_pixels
from csd_addon.scene.tiles import pictures
from tests.scene.objects import (
    base_color_source,
    cube,
    image_of,
    link,
    principled,
    quarters,
    shader_of,
)
from tests.scene.test_edited_image import read_png
from tests.scene.test_terminal import LINUX, SECONDS, messages, sha, start_headless
from tests.scene.tiled import SHAPES, numbers_of, tile_files, tiled_cube, tiled_image

WORDS = ("--target", "blue brick", "--remove", "red brick", "--iterations", "4")


def picture_file(path: Path, *, gain: float = 1) -> Path:
    """A PNG of 16 x 16 texels in four colours."""
    path.parent.mkdir(exist_ok=True)
    image = image_of(quarters(16) * gain, "drawn")
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return path


def wall_file(tmp_path: Path) -> Path:
    """art/wall.blend: a wall with a picture beside it in pictures/, a plain door without UVs, and a camera."""
    (tmp_path / "art").mkdir()
    path = tmp_path / "art" / "wall.blend"
    picture = bpy.data.images.load(str(picture_file(tmp_path / "art" / "pictures" / "bricks.png")))
    wall = cube("Wall")
    wall.data.materials.append(principled("Bricks"))
    node = wall.active_material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = picture
    link(wall.active_material, node.outputs["Color"], shader_of(wall.active_material).inputs["Base Color"])
    wall.vertex_groups.new(name="Empty")
    wall.vertex_groups.new(name="Top").add([v.index for v in wall.data.vertices if v.co.z > 0], 1, "REPLACE")
    for polygon in wall.data.polygons:
        polygon.select = False
    door = cube("Door", uvs=False)
    door.data.materials.append(principled("Paint", (1, 0, 0, 1)))
    bpy.ops.object.camera_add()
    bpy.context.object.name = "Eye"
    bpy.ops.object.select_all(action="DESELECT")
    picture.filepath = "//pictures/bricks.png"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), relative_remap=False)
    return path


def edit(file: Path, tmp_path: Path, *words: object, out: str = "out") -> tuple[int, list[dict[str, Any]]]:
    """Exit code and messages of ``csd edit`` inside Blender, after the words have been read as on a terminal."""
    line = ["edit", str(file), "--output", str(tmp_path / out), *WORDS, *map(str, words)]
    child = start_headless(job_request(parser("csd").parse_args(line)), tmp_path)
    with child:
        said = list(messages(child.stdout))
        return child.wait(SECONDS), said


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def inverse(pixels: np.ndarray) -> np.ndarray:
    """The bytes that the fake worker makes of an 8-bit image's colours."""
    return 255 - colors(pixels)


def colors(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels[..., :3] * 255)


def shown(name: str) -> bpy.types.Image:
    return base_color_source(bpy.data.objects[name].active_material).image


def source_of(job: Path) -> np.ndarray:
    return EditSource.load(job / "source.npz").tiles[0].pixels


def painted_file(path: Path) -> Path:
    """A PNG, white on the right half."""
    painted = np.zeros((8, 8, 3), np.float32)
    painted[:, 4:] = 1
    mask = image_of(painted, "mask")
    mask.filepath_raw, mask.file_format = str(path), "PNG"
    mask.save()
    return path


def test_an_edit_of_a_blend_file_and_an_edit_of_the_edited_file(tmp_path: Path) -> None:
    source = wall_file(tmp_path)
    art = {path: sha(path) for path in (source, source.parent / "pictures" / "bricks.png")}
    code, said = edit(source, tmp_path, "--object", "Wall")
    out = tmp_path / "out"
    assert code == 0 and said[-1]["type"] == "done", said
    promised = {
        "wall.blend", "textures/Wall_basecolor.png", "preview.png", "report.json", "job/request.json", "job/job.json",
        "job/mesh.npz", "job/source.npz", "job/events.jsonl", "job/worker.log", "job/result/edited.npz",
        "job/result/report.json",
    }  # fmt: skip
    assert promised <= files(out) and not [name for name in files(out) if ".part" in name], files(out)
    assert {path: sha(path) for path in art} == art and files(source.parent) == {"wall.blend", "pictures/bricks.png"}
    report = read_json(out / "report.json")
    assert (report["object"], report["iterations"], report["warnings"]) == ("Wall", 4, [])
    assert read_json(out / "job" / "job.json")["source"] == {"image": "bricks.png", "job": ""}
    # Moved elsewhere, the file still finds its texture beside it.
    out.rename(tmp_path / "moved")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "moved" / "wall.blend"))
    image = shown("Wall")
    assert image.filepath == "//textures/Wall_basecolor.png" and image.name == "Wall_edited"
    assert np.array_equal(colors(read_pixels(image)[0]), inverse(quarters(16)))
    kept = bpy.data.images["bricks.png"]
    node = next(n for n in bpy.data.materials["Bricks"].node_tree.nodes if getattr(n, "image", None) == kept)
    assert node and Path(bpy.path.abspath(kept.filepath)).resolve() == source.parent / "pictures" / "bricks.png"
    assert np.array_equal(read_pixels(kept)[0][..., :3], quarters(16)), "the source is still there to go back to"
    assert base_color_source(bpy.data.objects["Door"].active_material) is None
    # And it can be edited again, in part and larger.
    mask = painted_file(tmp_path / "mask.png")
    words = ("--object", "Wall", "--mask", mask, "--size", 64)
    code, said = edit(tmp_path / "moved" / "wall.blend", tmp_path, *words, out="again")
    assert code == 0, said
    job = read_json(tmp_path / "again" / "job" / "job.json")
    assert job["source"] == {"image": "Wall_edited", "job": str(out / "job")}
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "again" / "wall.blend"))
    got, scaled = read_pixels(shown("Wall"))[0], source_of(tmp_path / "again" / "job")
    assert got.shape == (64, 64, 4) and np.array_equal(colors(got)[:, :32], colors(scaled)[:, :32])
    assert np.abs(colors(got)[:, 32:] - inverse(scaled)[:, 32:]).max() <= 1


def test_an_edit_of_tiles_writes_tiles(tmp_path: Path) -> None:
    art = tmp_path / "art"
    image = tiled_image(tile_files(art / "pictures", {1002: np.uint16}))
    wall = tiled_cube(image)
    # No face shows the last tile any more.
    for loop in [loop for polygon in wall.data.polygons[4:] for loop in polygon.loop_indices]:
        wall.data.uv_layers[0].uv[loop].vector.y -= 1
    image.filepath = "//pictures/wall.<UDIM>.png"
    bpy.ops.wm.save_as_mainfile(filepath=str(art / "wall.blend"), relative_remap=False)
    before = {name: sha(art / name) for name in files(art)}
    code, said = edit(art / "wall.blend", tmp_path)
    out = tmp_path / "out"
    assert code == 0 and {name: sha(art / name) for name in files(art)} == before, said
    assert {f"textures/Wall_basecolor.{number}.png" for number in SHAPES} <= files(out)
    assert read_json(out / "report.json")["warnings"] == []
    bpy.ops.wm.open_mainfile(filepath=str(out / "wall.blend"))
    result = shown("Wall")
    assert result.source == "TILED" and result.filepath == "//textures/Wall_basecolor.<UDIM>.png"
    for number in SHAPES:
        dtype = np.uint16 if number == 1002 else np.uint8
        stored, got = numbers_of(number, dtype), read_png((out / f"textures/Wall_basecolor.{number}.png").read_bytes())
        assert got.dtype.itemsize == stored.itemsize and np.array_equal(got[..., 3], stored[..., 3]), number
        same = np.array_equal(got, stored)
        assert same if number == 1011 else not same, number
        if number == 1001:
            assert np.array_equal(got[..., :3], 255 - stored[..., :3])
    # The tiles of the source are still there to go back to.
    (kept,) = [image for image in bpy.data.images if image.source == "TILED" and image != result]
    with pictures(kept) as tiles:
        assert np.abs(read_pixels(tiles[1011])[0] - numbers_of(1011) / 255).max() < 1e-6


def test_an_edit_of_an_obj_with_its_mtl(tmp_path: Path) -> None:
    art = tmp_path / "art"
    picture = picture_file(art / "bricks.png", gain=0.5)
    (art / "wall.obj").write_text(
        "mtllib wall.mtl\no Wall\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
        "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nusemtl bricks\nf 1/1 2/2 3/3 4/4\n",
        encoding="utf-8",
    )
    (art / "wall.mtl").write_text("newmtl bricks\nKd 1 1 1\nmap_Kd bricks.png\n", encoding="utf-8")
    before = {name: sha(art / name) for name in files(art)}
    code, said = edit(art / "wall.obj", tmp_path)
    assert code == 0, said
    assert {name: sha(art / name) for name in files(art)} == before and len(before) == 3
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "out" / "wall.blend"))
    stored = read_pixels(bpy.data.images.load(str(picture)))[0]
    assert np.array_equal(colors(read_pixels(shown("Wall"))[0]), inverse(stored))
    assert set(np.unique(colors(stored))) == {0, 128}
    assert read_json(tmp_path / "out" / "report.json")["warnings"] == []


def test_a_plain_mesh_without_uvs_is_baked_first_and_says_so(tmp_path: Path) -> None:
    # What an earlier run left in the same folder is forgotten.
    for name, content in (("checkpoint/fake.txt", "3"), ("source.npz", "old"), ("result/edited.npz", "old")):
        path = tmp_path / "out" / "job" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    code, said = edit(wall_file(tmp_path), tmp_path, "--object", "Door", "--size", 64)
    assert code == 0, said
    assert not (tmp_path / "out" / "job" / "checkpoint" / "fake.txt").exists()
    sentences = [m["sentence"] for m in said if m["type"] == "warning"]
    assert len(sentences) == 2 and sentences == read_json(tmp_path / "out" / "report.json")["warnings"]
    assert "the base colour of 'Paint' is a plain colour: it was baked into one first." in sentences[0]
    assert "'Door' has no UV map. It was unwrapped into the new UV map 'CSD UV'." in sentences[1]
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "out" / "wall.blend"))
    middle = np.median(read_pixels(shown("Door"))[0].reshape(-1, 4), axis=0)
    print(f"the inverse of red is {middle}, expected 0, 1, 1, 1 +- 0.01")
    assert np.abs(middle - [0, 1, 1, 1]).max() < 0.01


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(("--mask", "Nowhere"), "The mask 'Nowhere' is no group, image, file or material of 'Wall'"),
     (("--mask", "faces"), "No face of 'Wall' is selected"),
     (("--mask", "group:Empty"), "No vertex of 'Wall' has a weight in the group 'Empty'"),
     (("--uv-map", "Second"), "shows its texture through the UV map 'UVMap', not 'Second'"),
     (("--object", "Eye"), "'Eye' is a camera, not a mesh"),
     (("--object", "Roof"), "no object 'Roof' in the scene; its meshes are: Door, Wall")],
)  # fmt: skip
def test_what_can_not_be_edited_ends_with_2_and_one_sentence(tmp_path: Path, words: tuple, sentence: str) -> None:
    source = wall_file(tmp_path)
    before = sha(source)
    code, said = edit(source, tmp_path, *(() if "--object" in words else ("--object", "Wall")), *words)
    errors = [m["sentence"] for m in said if m["type"] == "error"]
    assert code == 2 and len(errors) == 1 and sentence in errors[0] and said[-1]["type"] == "error", said
    assert sha(source) == before and (not (tmp_path / "out").exists() or files(tmp_path / "out") == set())


def test_a_missing_image_file_ends_with_2_and_its_path(tmp_path: Path) -> None:
    source = wall_file(tmp_path)
    picture = source.parent / "pictures" / "bricks.png"
    picture.unlink()
    code, said = edit(source, tmp_path, "--object", "Wall")
    words = f"The image 'bricks.png' has no pixels: {picture} is missing or damaged"
    assert code == 2 and words in said[-1]["sentence"] and not (tmp_path / "out").exists()


def test_a_crashing_worker_ends_with_4_and_writes_no_blend(tmp_path: Path) -> None:
    code, said = edit(wall_file(tmp_path), tmp_path, "--object", "Wall", "--target", "crash")
    assert code == 4 and "exit code 11" in said[-1]["sentence"]
    assert not (tmp_path / "out" / "wall.blend").exists() and not (tmp_path / "out" / "textures").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(("--target", " "), "The target is empty"),
     (("--remove", "Blue  BRICK"), "Target and remove say the same"),
     (("--strength", "2"), "'strength' is 2.0; it must lie between 0.0 and 1.0"),
     (("--strength", "much"), "invalid float value: 'much'"),
     (("--keep", "all"), "invalid choice: 'all'"),
     (("--size", "10"), "'size' is 10; it must lie between 64 and 8192"),
     (("--prompt", "red brick"), "Unrecognized arguments: --prompt")],
)  # fmt: skip
def test_wrong_words_end_with_2_before_blender_is_started(
    tmp_path: Path, capfd: pytest.CaptureFixture, words: tuple, sentence: str
) -> None:
    file = tmp_path / "wall.obj"
    file.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", encoding="utf-8")
    assert main(["edit", str(file), "--output", str(tmp_path / "out"), *WORDS, *words]) == 2
    said = capfd.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and not said.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wall.obj"]


def test_the_words_of_an_edit_become_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "wall.obj"
    file.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", encoding="utf-8")
    more = ["--strength", "0.5", "--mask", "group:Top", "--keep", "nothing", "--seed", "3", "--loss", "sds"]
    line = ["edit", str(file), "--output", str(tmp_path / "out"), *WORDS, *more]
    assert job_request(parser("csd").parse_args(line)).settings == JobSettings(
        kind="edit", target="blue brick", remove="red brick", iterations=4, size=0, strength=0.5, mask="group:Top",
        keep="nothing", seed=3, loss="sds",
    )  # fmt: skip


@LINUX
def test_a_cancelled_edit_is_resumed_from_its_folder(tmp_path: Path) -> None:
    source = wall_file(tmp_path)
    line = ["edit", str(source), "--output", str(tmp_path / "out"), *WORDS, "--object", "Wall", "--iterations", "150"]
    request = job_request(parser("csd").parse_args(line))
    child = start_headless(request, tmp_path)
    with child:
        said = messages(child.stdout)
        reached = next(m["iteration"] for m in said if m["type"] == "progress" and m["iteration"] > 3)
        child.stdin.write("cancel\n")
        child.stdin.flush()
        assert [m["type"] for m in said][-1] != "done" and child.wait(SECONDS) == 130
    assert not (tmp_path / "out" / "wall.blend").exists()
    child = start_headless(request.resumed(), tmp_path)
    with child:
        said = list(messages(child.stdout))
        assert child.wait(SECONDS) == 0, said
    first = next(m["iteration"] for m in said if m["type"] == "progress")
    assert first > reached - 1 and (tmp_path / "out" / "wall.blend").is_file()
