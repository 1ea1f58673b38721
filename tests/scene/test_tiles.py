"""UDIM images: their tiles are read one by one, edited ones are written as such, and all others come along."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.core.settings import JobSettings
from csd_addon.scene.base_color import find_base_color, read_pixels
from csd_addon.scene.load_image import load_image
from csd_addon.scene.mask import painted_masks
from csd_addon.scene.original import find_original, read_source, tile_notes
from csd_addon.scene.pieces import run_to_end
from csd_addon.scene.read_mesh import read_snapshot
from csd_addon.scene.tiles import pictures
from tests.scene.edited import edited_image
from tests.scene.objects import image_of
from tests.scene.test_edited_image import floats, read_png, save_exr
from tests.scene.tiled import SHAPES, numbers_of, tile_files, tiled_cube, tiled_image

EDIT = JobSettings(kind="edit", target="blue brick", remove="red brick", size=0, uv_map="UVMap")


def shown(image: bpy.types.Image) -> dict[int, np.ndarray]:
    with pictures(image) as tiles:
        return {number: read_pixels(tile)[0] for number, tile in tiles.items()}


def files_of(image: bpy.types.Image) -> dict[int, np.ndarray]:
    """The integers in the files, or in what is packed."""
    if image.packed_files:
        return {part.tile_number: read_png(bytes(part.packed_file.data)) for part in image.packed_files}
    path = bpy.path.abspath(image.filepath)
    return {t.number: read_png(Path(path.replace("<UDIM>", str(t.number))).read_bytes()) for t in image.tiles}


@pytest.mark.parametrize("kind", ["files", "packed", "UVTILE", "painted", "painted, PREMUL", "generated"])
def test_every_tile_has_its_own_pixels_and_no_image_stays(tmp_path: Path, kind: str) -> None:
    expected = {number: numbers_of(number) / 255 for number in SHAPES}
    if kind == "UVTILE":
        first, names = tmp_path / "m_u1_v1.png", {1001: "u1_v1", 1002: "u2_v1", 1011: "u1_v2"}
        tile_files(tmp_path, name="{}.png")
        for number, place in names.items():
            (tmp_path / f"{number}.png").rename(tmp_path / f"m_{place}.png")
        image = tiled_image(first)
        assert "<UVTILE>" in image.filepath
    elif kind == "generated":
        image = bpy.data.images.new("Made", 8, 8, alpha=True, tiled=True)
        with bpy.context.temp_override(edit_image=image):
            bpy.ops.image.tile_add(number=1012, fill=True, color=(0.2, 0.4, 0.6, 1), width=6, height=4, alpha=True)
        expected = {1001: np.full((8, 8, 4), (0, 0, 0, 1)), 1012: np.full((4, 6, 4), (0.2, 0.4, 0.6, 1))}
    else:
        image = tiled_image(tile_files(tmp_path))
    if kind == "packed":
        image.pack()
        for file in tmp_path.iterdir():
            file.unlink()
    if kind.startswith("painted"):
        image.alpha_mode = "PREMUL" if "PREMUL" in kind else "STRAIGHT"
        expected = shown(image)
        expected[1001] = np.random.default_rng(1).integers(0, 256, expected[1001].shape) / 255
        image.pixels.foreach_set(expected[1001][::-1].astype(np.float32).ravel())
        assert image.is_dirty
    image.tiles.active_index = 1
    before = len(bpy.data.images)
    got = shown(image)
    assert list(got) == list(expected) and len(bpy.data.images) == before
    for number, pixels in got.items():
        assert pixels.shape == expected[number].shape and np.abs(pixels - expected[number]).max() < 1e-6, number
    assert image.is_dirty is kind.startswith("painted") and image.source == "TILED" and image.file_format == "PNG"


def test_tiles_keep_the_way_in_which_their_image_is_read(tmp_path: Path) -> None:
    image = tiled_image(tile_files(tmp_path))
    image.colorspace_settings.name, image.alpha_mode = "Non-Color", "CHANNEL_PACKED"
    with pictures(image, {1002, 1005}) as tiles:
        (tile,) = tiles.values()
        assert (tile.colorspace_settings.name, tile.alpha_mode) == ("Non-Color", "CHANNEL_PACKED")


def test_a_single_image_is_its_own_only_tile() -> None:
    image = image_of(np.ones((2, 2, 3), np.float32))
    with pictures(image, {1002}) as tiles:
        assert tiles == {0: image}
    assert image.name in bpy.data.images


def edited(source: bpy.types.Image, path: Path, *numbers: int, pack: bool = False) -> bpy.types.Image:
    """An edit that paints the lower half of these tiles."""
    pixels = {number: values for number, values in shown(source).items() if number in numbers}
    for values in pixels.values():
        values[len(values) // 2 :] = (0.25, 0.5, 0.75, 1)
    return edited_image(source, pixels, "Edited", path, pack=pack)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("deep", [{}, {1002: np.uint16}], ids=["8 bits", "8 and 16 bits"])
@pytest.mark.parametrize("alpha_mode", ["STRAIGHT", "CHANNEL_PACKED", "PREMUL"])
def test_each_tile_is_stored_as_it_was_and_unedited_texels_keep_their_bytes(
    tmp_path: Path, alpha_mode: str, deep: dict, pack: bool
) -> None:
    source = tiled_image(tile_files(tmp_path / "art", deep))
    source.alpha_mode = alpha_mode
    image = edited(source, tmp_path / "out" / "Cube.1001_x", 1001, 1002, pack=pack)
    assert image.source == "TILED" and image.alpha_mode == alpha_mode and image.name == "Edited"
    assert Path(image.filepath).name == "Cube.1001_x.<UDIM>.png" and bool(image.packed_files) is pack
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"Cube.1001_x.{n}.png" for n in SHAPES]
    got = files_of(image)
    assert list(got) == list(SHAPES) and [tile.number for tile in image.tiles] == list(SHAPES)
    for number, values in got.items():
        stored = numbers_of(number, deep.get(number, np.uint8))
        kept = len(values) if number == 1011 else len(values) // 2
        assert values.itemsize == stored.itemsize and values.shape == stored.shape
        assert np.array_equal(values[:kept], stored[:kept]) and not np.array_equal(values[kept:], stored[:kept])
    assert shown(image)[1001][8:] == pytest.approx(np.broadcast_to((0.25, 0.5, 0.75, 1), (8, 16, 4)), abs=0.002)


def test_tiles_that_an_earlier_run_left_in_the_folder_are_not_taken_in(tmp_path: Path) -> None:
    tile_files(tmp_path / "out", name="wall.1001.{}.png")
    source = tiled_image(tile_files(tmp_path / "art"))
    source.tiles.remove(source.tiles[0])
    assert [tile.number for tile in source.tiles] == [1002, 1011]
    image = edited(source, tmp_path / "out" / "wall.1001", 1011)
    assert [tile.number for tile in image.tiles] == [1002, 1011] and list(shown(image)) == [1002, 1011]
    assert np.array_equal(files_of(image)[1002], numbers_of(1002))


def test_bytes_and_full_floats_in_one_image_become_floats(tmp_path: Path) -> None:
    # Blender goes by the content of a file, not by its ending.
    first = tile_files(tmp_path / "art")
    save_exr(first.with_name("wall.1002.png"), floats(), 32)
    source = tiled_image(first)
    source.colorspace_settings.name = "Non-Color"
    image = edited(source, tmp_path / "out" / "wall", 1011)
    assert Path(image.filepath).name == "wall.<UDIM>.exr"
    got = shown(image)
    assert np.array_equal(got[1002], floats()) and np.abs(got[1001] - numbers_of(1001) / 255).max() < 1e-7


def test_a_packed_result_survives_saving_without_its_files(tmp_path: Path) -> None:
    image = edited(tiled_image(tile_files(tmp_path / "art")), tmp_path / "out" / "wall", 1002, pack=True)
    expected = shown(image)
    image.use_fake_user = True
    for file in (tmp_path / "out").iterdir():
        file.unlink()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    again = bpy.data.images["Edited"]
    assert again.filepath == "//textures/wall.<UDIM>.png" and tuple(again.size) == (16, 16)
    got = shown(again)
    assert list(got) == list(SHAPES) and all(np.array_equal(got[n], expected[n]) for n in got)


def test_unsaved_changes_of_more_than_8_bits_are_a_sentence(tmp_path: Path) -> None:
    image = tiled_image(tile_files(tmp_path, dict.fromkeys(SHAPES, np.uint16)))
    image.pixels.foreach_set(np.zeros(len(image.pixels), np.float32))
    with pytest.raises(ValueError, match="'wall.1001.png' has more than 8 bits and changes that are not saved"):
        shown(image)


def test_files_that_are_not_there_are_a_sentence(tmp_path: Path) -> None:
    for tiles in ([0], [1001, 1002]):
        with pytest.raises(ValueError, match="The texture .*none.png can't be loaded"):
            load_image(tmp_path / "none.png", "None", pack=False, tiles=tiles)


def test_the_source_of_an_edit_holds_the_tiles_that_its_faces_show(tmp_path: Path) -> None:
    obj = tiled_cube(tiled_image(tile_files(tmp_path)))
    assert find_base_color(obj).image.source == "TILED"
    original = find_original(obj, EDIT)
    assert (original.slots, original.uv_map, original.notes) == ((0,), "UVMap", ())
    source = read_source(obj, original, EDIT, read_snapshot(obj))
    assert source.number.tolist() == [n for n in SHAPES for _ in range(4)]
    assert {n: tile.pixels.shape[:2] for n, tile in source.tiles.items()} == SHAPES
    assert all(np.abs(tile.pixels - numbers_of(n) / 255).max() < 1e-6 for n, tile in source.tiles.items())
    assert not any(tile.linear for tile in source.tiles.values())
    low, high = source.corner_uvs[:, :, 1].min(), source.corner_uvs[:, :, 1].max()
    assert low == pytest.approx(0.0625) and high == pytest.approx(0.9375), "places inside their tiles"


def test_tiles_that_no_face_shows_are_not_read_and_may_be_missing(tmp_path: Path) -> None:
    image = tiled_image(tile_files(tmp_path))
    obj = tiled_cube(image)
    (tmp_path / "wall.1011.png").unlink()
    with pytest.raises(ValueError, match=r"Tile 1011 of the image .* has no pixels: .*wall.1011.png is missing"):
        read_source(obj, find_original(obj, EDIT), EDIT, read_snapshot(obj))
    for loop in [loop for polygon in obj.data.polygons[4:] for loop in polygon.loop_indices]:
        obj.data.uv_layers[0].uv[loop].vector.y -= 1
    source = read_source(obj, find_original(obj, EDIT), EDIT, read_snapshot(obj))
    assert list(source.tiles) == [1001, 1002]
    assert len(bpy.data.images) == 1, "nothing stays of a refusal either"


def test_faces_off_all_tiles_show_nothing(tmp_path: Path) -> None:
    image = tiled_image(tile_files(tmp_path))
    obj = tiled_cube(image)
    image.tiles.remove(image.tiles.get(1002))
    source = read_source(obj, find_original(obj, EDIT), EDIT, read_snapshot(obj))
    assert source.number.tolist() == [1001] * 4 + [-1] * 4 + [1011] * 4
    for loop in obj.data.uv_layers[0].uv:
        loop.vector.x -= 5
    with pytest.raises(ValueError, match="No face of 'Wall' lies on a tile of the image 'wall.1001.png'"):
        read_source(obj, find_original(obj, EDIT), EDIT, read_snapshot(obj))


def test_faces_across_the_edge_of_a_tile_are_told(tmp_path: Path) -> None:
    obj = tiled_cube(tiled_image(tile_files(tmp_path)))
    obj.data.uv_layers[0].uv[obj.data.polygons[1].loop_indices[1]].vector.x = 1.2
    (note,) = tile_notes(obj, find_original(obj, EDIT), read_snapshot(obj))
    assert "1 triangles of 'Wall' reach over the edge of a UDIM tile" in note or "2 triangles" in note


def test_painted_masks_for_every_tile(tmp_path: Path) -> None:
    image = tiled_image(tile_files(tmp_path))
    obj = tiled_cube(image)
    image_of(np.ones((2, 3, 3), np.float32) * [[[1], [0], [0.5]]], "One")
    one = run_to_end(painted_masks(obj, "image:One", [1001, 1011]))
    assert list(one) == [1001, 1011] and all(np.allclose(w, [[1, 0, 0.5]] * 2, atol=0.01) for w in one.values())
    many = run_to_end(painted_masks(obj, "image:wall.1001.png", [1001, 1011, 1012]))
    assert {n: w.shape for n, w in many.items()} == {1001: (16, 16), 1011: (8, 20), 1012: (1, 1)}
    expected = (numbers_of(1011)[..., :3] / 255) @ [0.2126, 0.7152, 0.0722]
    assert np.allclose(many[1011], expected, atol=1e-6) and many[1012] == 0, "a tile that is not there is black"
    with pytest.raises(ValueError, match="The mask image 'wall.1001.png' is black"):
        run_to_end(painted_masks(obj, "image:wall.1001.png", [1012]))
