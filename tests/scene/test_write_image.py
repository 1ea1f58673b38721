"""A PNG as an image in Blender: orientation, colour space, packing."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.scene.load_image import load_image

# Rows from the top: red, green; blue, white.
PIXELS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)


def write_png(path: Path, pixels: np.ndarray) -> Path:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def shown(image: bpy.types.Image) -> np.ndarray:
    """(H, W, 3) 0..255 as Blender holds them: rows from the bottom."""
    values = np.empty(4 * image.size[0] * image.size[1], np.float32)
    image.pixels.foreach_get(values)
    return np.round(values.reshape(image.size[1], image.size[0], 4)[..., :3] * 255).astype(np.uint8)


@pytest.mark.parametrize("pack", [True, False])
def test_the_top_row_of_the_file_is_the_top_of_uv_space(tmp_path: Path, pack: bool) -> None:
    path = write_png(tmp_path / "known.png", PIXELS)
    image = load_image(path, "Known", pack=pack)
    assert image.name == "Known" and image.colorspace_settings.name == "sRGB"
    assert np.array_equal(shown(image)[::-1], PIXELS), "v = 1 is the file's first row"
    assert bool(image.packed_file) is pack


def test_a_packed_image_outlives_its_file(tmp_path: Path) -> None:
    path = write_png(tmp_path / "known.png", PIXELS)
    image = load_image(path, "Known", pack=True)
    image.use_fake_user = True
    path.unlink()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    assert np.array_equal(shown(bpy.data.images["Known"])[::-1], PIXELS)


def test_each_call_makes_a_new_image(tmp_path: Path) -> None:
    path = write_png(tmp_path / "known.png", PIXELS)
    assert load_image(path, "A", pack=False) != load_image(path, "B", pack=False)


@pytest.mark.parametrize("content", [None, b"", b"no picture at all"], ids=["missing", "empty", "text"])
def test_an_unreadable_file_is_a_sentence_and_leaves_no_image(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="bad.png can't be loaded"):
        load_image(path, "Bad", pack=True)
    assert not bpy.data.images
