"""An edited image is stored like its source, and where nothing was edited the stored numbers are the same."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.core.color import encode_srgb
from csd_addon.scene.base_color import read_pixels
from tests.png import COLOR_TYPES, read_png
from tests.scene.edited import edited_image

H, W = 12, 20


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """(H, W, 1..4) uint8 or uint16, row 0 at the top."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, channels = pixels.shape
    color = next(color for color, count in COLOR_TYPES.items() if count == channels)
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, color, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def integers(dtype: type, channels: int) -> np.ndarray:
    """Random integers with the extremes of colour, and texels of alpha 0, 1 and full among them."""
    top = np.iinfo(dtype).max
    values = np.random.default_rng(7).integers(0, top, (H, W, channels), dtype, endpoint=True)
    values[:2, :, : channels - 1] = 0
    values[2:4, :, : channels - 1] = top
    if channels in (2, 4):
        values[:, :5, -1], values[:, 5, -1], values[:, 6:9, -1] = 0, 1, top
    return values


def loaded(path: Path, space: str = "sRGB", alpha_mode: str = "STRAIGHT") -> bpy.types.Image:
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name, image.alpha_mode = space, alpha_mode
    return image


def file_of(image: bpy.types.Image) -> bytes:
    return bytes(image.packed_file.data) if image.packed_file else Path(bpy.path.abspath(image.filepath)).read_bytes()


def raw(path: Path) -> np.ndarray:
    """The floats of an OpenEXR file as they stand there."""
    return read_pixels(loaded(path, "Non-Color"))[0]


def save_exr(path: Path, values: np.ndarray, depth: int, *, alpha: bool = True) -> Path:
    scene, image = bpy.data.scenes.new("Writer"), bpy.data.images.new("Writer", W, H, alpha=True, float_buffer=True)
    image.alpha_mode = "CHANNEL_PACKED"
    image.pixels.foreach_set(values[::-1].ravel())
    settings = scene.render.image_settings
    settings.file_format, settings.color_depth, settings.color_mode = "OPEN_EXR", str(depth), "RGBA" if alpha else "RGB"
    image.save_render(str(path), scene=scene)
    bpy.data.images.remove(image)
    bpy.data.scenes.remove(scene)
    return path


def floats() -> np.ndarray:
    """Random floats that are halves too: negative, large and tiny ones, alpha 0 under colour."""
    rng = np.random.default_rng(3)
    values = rng.standard_normal((H, W, 4)) * 10.0 ** rng.integers(-3, 4, (H, W, 4))
    values[..., 3] = rng.random((H, W))
    values[:, :5, 3], values[:, 5:8, 3] = 0, 1
    return values.astype(np.float16).astype(np.float32)


def edited(source: bpy.types.Image, tmp_path: Path, *, pack: bool = False) -> tuple[bpy.types.Image, np.ndarray]:
    """The result of an edit that sets the lower right quarter to one opaque colour, and where it is (H, W) bool."""
    pixels, _ = read_pixels(source)
    where = np.zeros((H, W), bool)
    where[H // 2 :, W // 2 :] = True
    pixels[where] = (0.25, 0.5, 0.75, 1)
    return edited_image(source, {0: pixels}, "Edited", tmp_path / "Cube.001_basecolor", pack=pack), where


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("space", ["sRGB", "Non-Color", "Display P3", "Linear Rec.709"])
@pytest.mark.parametrize("alpha_mode", ["STRAIGHT", "CHANNEL_PACKED", "PREMUL", "NONE"])
def test_8_bits_are_identical(tmp_path: Path, space: str, alpha_mode: str, pack: bool) -> None:
    values = integers(np.uint8, 4)
    source = loaded(write_png(tmp_path / "source.png", values), space, alpha_mode)
    before = read_pixels(source)[0]
    image, where = edited(source, tmp_path, pack=pack)
    assert (image.colorspace_settings.name, image.alpha_mode) == (space, alpha_mode)
    assert Path(image.filepath).name == "Cube.001_basecolor.png" and bool(image.packed_file) is pack
    written = read_png(file_of(image))
    assert written.dtype == np.uint8 and np.array_equal(written[~where], values[~where])
    assert (written[where][:, :3] == [64, 128, 191]).all()
    again = read_pixels(image)[0]
    assert np.array_equal(again[~where], before[~where]) and np.allclose(again[where], (0.25, 0.5, 0.75, 1), atol=0.002)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("space", ["sRGB", "Non-Color", "Display P3", "Linear Rec.709"])
@pytest.mark.parametrize("alpha_mode", ["STRAIGHT", "CHANNEL_PACKED", "PREMUL", "NONE"])
def test_16_bits_are_identical(tmp_path: Path, space: str, alpha_mode: str, pack: bool) -> None:
    values = integers(np.uint16, 4)
    source = loaded(write_png(tmp_path / "source.png", values), space, alpha_mode)
    before = read_pixels(source)[0]
    image, where = edited(source, tmp_path, pack=pack)
    assert (image.colorspace_settings.name, image.alpha_mode) == (space, alpha_mode)
    written = read_png(file_of(image))
    assert written.dtype.itemsize == 2 and np.array_equal(written[~where], values[~where])
    again = read_pixels(image)[0]
    assert np.array_equal(again[~where], before[~where])
    # Non-Color knows no alpha; else the edit means linear light and is found again to 16 bits.
    assert np.allclose(again[where], (0.25, 0.5, 0.75, 1), atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha_mode", ["STRAIGHT", "CHANNEL_PACKED", "PREMUL"])
def test_an_edit_that_is_half_transparent_is_found_again(tmp_path: Path, dtype: type, alpha_mode: str) -> None:
    source = loaded(write_png(tmp_path / "source.png", integers(dtype, 4)), "sRGB", alpha_mode)
    pixels, _ = read_pixels(source)
    pixels[5:] = (0.1, 0.2, 0.3, 0.5)
    image = edited_image(source, {0: pixels}, "Edited", tmp_path / "edited", pack=False)
    assert np.allclose(read_pixels(image)[0][5:], pixels[5:], atol=1.1 / 255 if dtype == np.uint8 else 1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_source_without_alpha_stays_without(tmp_path: Path, dtype: type, channels: int) -> None:
    values = integers(dtype, channels)
    source = loaded(write_png(tmp_path / "source.png", values))
    image, where = edited(source, tmp_path)
    written = read_png(file_of(image))
    expected = values if channels == 3 else np.repeat(values[..., :1], 3, axis=2)
    assert written.dtype.itemsize == np.dtype(dtype).itemsize and written.shape[2] == (4 if channels == 2 else 3)
    assert np.array_equal(written[~where][:, :3], expected[~where])
    if channels == 2:
        assert np.array_equal(written[~where][:, 3], values[~where][:, 1])


@pytest.mark.parametrize("depth", [16, 32])
@pytest.mark.parametrize("space", ["Linear Rec.709", "Non-Color", "sRGB"])
@pytest.mark.parametrize("alpha_mode", ["STRAIGHT", "CHANNEL_PACKED", "PREMUL", "NONE"])
def test_exr_floats_are_identical(tmp_path: Path, depth: int, space: str, alpha_mode: str) -> None:
    values = floats()
    if depth == 32:
        values *= np.float32(1 / 3)
    source = loaded(save_exr(tmp_path / "source.exr", values, depth), space, alpha_mode)
    before = read_pixels(source)[0]
    image, where = edited(source, tmp_path)
    assert (image.colorspace_settings.name, image.alpha_mode) == (space, alpha_mode)
    path = Path(bpy.path.abspath(image.filepath))
    assert path.name == "Cube.001_basecolor.exr" and np.array_equal(raw(path)[~where], values[~where])
    again = read_pixels(image)[0]
    assert np.array_equal(again[~where], before[~where])
    assert np.allclose(again[where], (0.25, 0.5, 0.75, 1), atol=2e-3 if depth == 16 else 1e-4)
    # The type of the first channel in the header: 1 is half, 2 is float.
    head = path.read_bytes()
    start = head.find(b"channels\0chlist\0") + 20
    assert head[start + 2] == (1 if depth == 16 else 2)


def test_a_packed_source_whose_file_is_gone(tmp_path: Path) -> None:
    values = integers(np.uint16, 4)
    source = loaded(write_png(tmp_path / "source.png", values))
    source.pack()
    (tmp_path / "source.png").unlink()
    image, where = edited(source, tmp_path)
    assert np.array_equal(read_png(file_of(image))[~where], values[~where])


def test_a_packed_half_exr(tmp_path: Path) -> None:
    values = floats()
    source = loaded(save_exr(tmp_path / "source.exr", values, 16), "Linear Rec.709", "PREMUL")
    source.pack()
    (tmp_path / "source.exr").unlink()
    image, where = edited(source, tmp_path)
    assert np.array_equal(raw(Path(bpy.path.abspath(image.filepath)))[~where], values[~where])


def test_a_jpeg_and_a_tiff_of_16_bits_become_png(tmp_path: Path) -> None:
    scene, picture = bpy.data.scenes.new("Writer"), bpy.data.images.new("Writer", W, H, alpha=True, float_buffer=True)
    picture.pixels.foreach_set(np.random.default_rng(1).random(H * W * 4, np.float32))
    settings = scene.render.image_settings
    for kind, depth, color in (("JPEG", 8, "RGB"), ("TIFF", 16, "RGBA"), ("TIFF", 16, "RGB")):
        settings.file_format, settings.color_mode = kind, color
        settings.color_depth = str(depth)
        picture.save_render(str(tmp_path / "source.any"), scene=scene)
        source = loaded(tmp_path / "source.any")
        before = read_pixels(source)[0]
        image, where = edited(source, tmp_path)
        assert image.filepath.endswith(".png")
        written = read_png(file_of(image))
        assert written.dtype.itemsize * 8 == depth and written.shape[2] == len(color)
        assert np.array_equal(read_pixels(image)[0][~where], before[~where])


@pytest.mark.parametrize("alpha_mode", ["STRAIGHT", "CHANNEL_PACKED", "PREMUL"])
@pytest.mark.parametrize("float_buffer", [False, True])
def test_an_image_that_lives_in_blender_only(tmp_path: Path, float_buffer: bool, alpha_mode: str) -> None:
    source = bpy.data.images.new("Painted", W, H, alpha=True, float_buffer=float_buffer)
    source.alpha_mode = alpha_mode
    values = floats() if float_buffer else integers(np.uint8, 4).astype(np.float32) / 255
    source.pixels.foreach_set(values.ravel())
    before = read_pixels(source)[0]
    image, where = edited(source, tmp_path)
    assert image.filepath.endswith(".exr" if float_buffer else ".png") and image.is_float is float_buffer
    assert np.array_equal(read_pixels(image)[0][~where], before[~where])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_strokes_that_are_not_saved_yet_are_kept(tmp_path: Path, dtype: type) -> None:
    values = integers(dtype, 4)
    source = loaded(write_png(tmp_path / "source.png", values))
    painted = read_pixels(source)[0]
    painted[:3, :3] = (0.5, 0.25, 0.125, 1)
    source.pixels.foreach_set(painted[::-1].ravel())
    before = read_pixels(source)[0]
    image, where = edited(source, tmp_path)
    strokes = np.zeros((H, W), bool)
    strokes[:3, :3] = True
    assert np.array_equal(read_png(file_of(image))[~where & ~strokes], values[~where & ~strokes])
    step = 0 if dtype == np.uint8 else 1e-4
    assert np.allclose(read_pixels(image)[0][strokes], before[strokes], atol=step)
    assert source.is_dirty and np.array_equal(read_pixels(source)[0], before), "the source is not touched"


def test_without_a_source_it_is_8_bit_srgb(tmp_path: Path) -> None:
    pixels = integers(np.uint8, 4).astype(np.float32) / 255
    image = edited_image(None, {0: pixels}, "Baked", tmp_path / "baked.png", pack=True)
    assert image.name == "Baked" and image.colorspace_settings.name == "sRGB" and not image.is_float
    assert np.array_equal(read_png(file_of(image)), np.rint(pixels * 255))
    pixels[..., 3] = 1
    opaque = edited_image(None, {0: pixels}, "Opaque", tmp_path / "baked.png", pack=True)
    assert read_png(file_of(opaque)).shape[2] == 3


def test_numbers_out_of_range_are_cut_off_in_integers(tmp_path: Path) -> None:
    pixels = np.tile(np.array([-0.5, 1.5, 0.5, 1], np.float32), (H, W, 1))
    image = edited_image(None, {0: pixels}, "Cut", tmp_path / "cut", pack=False)
    assert read_png(file_of(image))[0, 0].tolist() == [0, 255, 128]


def test_a_result_of_another_size(tmp_path: Path) -> None:
    source = loaded(write_png(tmp_path / "source.png", integers(np.uint16, 4)))
    image = edited_image(source, {0: np.full((2, 3, 4), 0.5, np.float32)}, "Small", tmp_path / "small", pack=False)
    assert tuple(image.size) == (3, 2)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    source = loaded(save_exr(tmp_path / "source.exr", floats(), 32), "sRGB")
    counts = len(bpy.data.images), len(bpy.data.scenes)
    edited(source, tmp_path)
    assert (len(bpy.data.images), len(bpy.data.scenes)) == (counts[0] + 1, counts[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Cube.001_basecolor.exr", "source.exr"]


@pytest.mark.parametrize("suffix", [".png", ".exr"])
def test_a_file_that_cannot_be_written_is_an_error_and_leaves_no_image(tmp_path: Path, suffix: str) -> None:
    source = bpy.data.images.new("Painted", 4, 4, float_buffer=suffix == ".exr")
    (tmp_path / f"lost.part{suffix}").mkdir()
    with pytest.raises(OSError):
        edited_image(source, {0: np.ones((4, 4, 4), np.float32)}, "Lost", tmp_path / "lost", pack=False)
    assert len(bpy.data.images) == 1 and len(bpy.data.scenes) == 1


def test_the_folder_is_made(tmp_path: Path) -> None:
    for floats_ in (False, True):
        source = bpy.data.images.new("Painted", 4, 4, float_buffer=floats_)
        edited_image(source, {0: np.ones((4, 4, 4), np.float32)}, "New", tmp_path / str(floats_) / "new", pack=False)
        assert list((tmp_path / str(floats_)).iterdir())


def in_depth(source: bpy.types.Image | None, pixels: np.ndarray, tmp_path: Path, depth: int, *, pack: bool) -> tuple:
    image = edited_image(source, {0: pixels}, "Edited", tmp_path / "wanted", pack=pack, depth=depth)
    return image, read_png(file_of(image))


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(("dtype", "depth"), [(np.uint8, 16), (np.uint16, 8), (np.uint8, 8), (np.uint16, 16)])
def test_another_depth_than_the_sources(tmp_path: Path, dtype: type, depth: int, pack: bool) -> None:
    values = integers(dtype, 4)
    source = loaded(write_png(tmp_path / "source.png", values))
    image, written = in_depth(source, read_pixels(source)[0], tmp_path, depth, pack=pack)
    wanted = np.rint(values.astype(np.float64) / np.iinfo(dtype).max * (2**depth - 1))
    difference = np.abs(written - wanted).max()
    print(f"{dtype.__name__} to {depth} bits: largest difference {difference:g}, tolerance 0")
    assert written.itemsize * 8 == depth and difference == 0
    assert image.is_float is (depth == 16) and bool(image.packed_file) is pack


@pytest.mark.parametrize("depth", [8, 16])
def test_light_becomes_an_encoded_png_of_the_depth_that_is_asked_for(tmp_path: Path, depth: int) -> None:
    values = np.ones((H, W, 4), np.float32)
    values[..., :3] = np.linspace(0, 2, H * W * 3, dtype=np.float32).reshape(H, W, 3)
    source = loaded(save_exr(tmp_path / "source.exr", values, 32), bpy_linear())
    image, written = in_depth(source, read_pixels(source)[0], tmp_path, depth, pack=False)
    wanted = encode_srgb(values[..., :3].clip(0, 1)) * (2**depth - 1)
    difference = float(np.abs(written[..., :3] - wanted).max())
    print(f"{depth} bits: largest difference {difference:.3f} steps, tolerance {0.6 if depth == 8 else 40}")
    assert difference < (0.6 if depth == 8 else 40)
    assert (image.colorspace_settings.name, Path(image.filepath).suffix) == ("sRGB", ".png")


def bpy_linear() -> str:
    image = bpy.data.images.new("Probe", 1, 1, float_buffer=True)
    name = image.colorspace_settings.name
    bpy.data.images.remove(image)
    return name


def test_data_in_floats_stays_data(tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((H, W, 4)).astype(np.float32)
    source = loaded(save_exr(tmp_path / "source.exr", values, 32), "Non-Color")
    image, written = in_depth(source, read_pixels(source)[0], tmp_path, 16, pack=False)
    assert image.colorspace_settings.name == "Non-Color"
    assert np.abs(written - np.rint(raw(tmp_path / "source.exr") * 65535)).max() <= 1


def test_a_baked_source_takes_the_depth_too(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).random((H, W, 4)).astype(np.float32)
    image, written = in_depth(None, pixels, tmp_path, 16, pack=True)
    assert np.array_equal(written[..., :3], np.rint(pixels[..., :3] * 65535)) and image.packed_file
