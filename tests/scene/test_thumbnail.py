"""The history's small picture, from files of all kinds; nothing of it stays in the file that is open."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.core.png import encode_png
from csd_addon.scene.base_color import read_pixels
from csd_addon.scene.thumbnail import write_thumbnail
from tests import shapes
from tests.scene.objects import datablocks
from tests.scene.tiled import tile_files

RED = (200, 40, 40)


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    shapes.cube().save(tmp_path / "mesh.npz")
    return tmp_path / "mesh.npz"


def plain(path: Path, edge: int = 32, dtype: type = np.uint8) -> Path:
    """A red PNG."""
    values = np.empty((edge, edge, 3), np.float64)
    values[:] = RED
    path.write_bytes(encode_png((values / 255 * np.iinfo(dtype).max).astype(dtype)))
    return path


def shown(path: Path) -> np.ndarray:
    """(N, 3) colours of the opaque pixels, 0..255."""
    image = bpy.data.images.load(str(path))
    pixels = read_pixels(image)[0]
    bpy.data.images.remove(image)
    return pixels[pixels[..., 3] == 1][:, :3] * 255


@pytest.mark.parametrize(("edge", "dtype"), [(32, np.uint8), (2048, np.uint8), (32, np.uint16)])
def test_bytes_and_sixteen_bits_of_any_size(mesh: Path, tmp_path: Path, edge: int, dtype: type) -> None:
    before = datablocks()
    target = tmp_path / "thumbnail.png"
    write_thumbnail(mesh, plain(tmp_path / "basecolor.png", edge, dtype), target)
    assert datablocks() == before and not list(tmp_path.glob("*.part"))
    colors = shown(target)
    brightest = colors[colors[:, 0].argmax()]
    print(brightest)
    # Shading darkens the red of 200, and takes red and green down alike.
    assert 120 < brightest[0] <= 201 and brightest[0] / brightest[1] == pytest.approx(5, rel=0.1)


def test_linear_floats_are_shown_as_encoded(mesh: Path, tmp_path: Path) -> None:
    image = bpy.data.images.new("float", 16, 16, float_buffer=True)
    image.pixels.foreach_set(np.tile(np.float32([0.5, 0.5, 0.5, 1]), 256))
    image.file_format = "OPEN_EXR"
    image.save(filepath=str(tmp_path / "edited.exr"))
    bpy.data.images.remove(image)
    write_thumbnail(mesh, tmp_path / "edited.exr", tmp_path / "thumbnail.png")
    assert shown(tmp_path / "thumbnail.png").max() > 0.7 * 188, "half of the light is 188 of 255"


def test_all_tiles_are_found_by_one_of_them(tmp_path: Path) -> None:
    cube = shapes.cube()
    number = np.repeat([1001, 1002, 1011], 4)
    offset = np.stack([(number - 1001) % 10, (number - 1001) // 10], axis=1)
    type(cube)(
        cube.positions, cube.triangles, cube.corner_normals, (cube.corner_uvs + offset[:, None]).astype(np.float32)
    ).save(tmp_path / "mesh.npz")
    first = tile_files(tmp_path / "result", name="basecolor.{}.png")
    write_thumbnail(tmp_path / "mesh.npz", first, tmp_path / "all.png")
    colors = shown(tmp_path / "all.png")
    assert (np.ptp(colors, axis=1) < 1).mean() < 0.1, "no face is left grey"
    (tmp_path / "result" / "basecolor.1002.png").unlink()
    write_thumbnail(tmp_path / "mesh.npz", first, tmp_path / "some.png")
    assert (np.ptp(shown(tmp_path / "some.png"), axis=1) < 1).mean() > 0.1


def test_damaged_files_are_sentences(mesh: Path, tmp_path: Path) -> None:
    before, texture = datablocks(), plain(tmp_path / "basecolor.png")
    with pytest.raises(ValueError, match="mesh file .* is damaged or missing"):
        write_thumbnail(texture, texture, tmp_path / "thumbnail.png")
    texture.write_bytes(b"no image")
    with pytest.raises(ValueError):
        write_thumbnail(mesh, texture, tmp_path / "thumbnail.png")
    assert datablocks() == before and not (tmp_path / "thumbnail.png").exists()
