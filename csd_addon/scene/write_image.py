"""From edited pixels to an image file, and from there to an image in Blender.

The worker's images have row 0 at the top, PNG has too, and Blender turns it over on loading: here and in
``base_color.read_pixels`` the row order changes, nowhere else.

An edited image is stored as its source is: bit depth, colour space, alpha; or as PNG of the depth that is asked for.
Where its pixels are the source's, the source's stored numbers are written again. They are taken from its file where
what Blender holds in memory has lost some of them: floats are linear and times alpha. PNGs are written here, because
Blender's own 16-bit ones lose the colour under transparent texels.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import bpy
import numpy as np

from ..core.png import encode_png
from ..core.udim import tile_file
from .base_color import read_pixels
from .load_image import load_image
from .pieces import Pieces, in_thread, run_to_end
from .tiles import is_tiled, pictures

# The colour space whose numbers Blender hands through as they are.
_DATA = "Non-Color"


@dataclass(frozen=True)
class _Format:
    """suffix: ".png" or ".exr". depth: bits of a channel. space, alpha_mode: Blender's names."""

    suffix: str
    depth: int
    alpha: bool
    space: str
    alpha_mode: str


@dataclass(frozen=True)
class _Stored:
    """What the file of an image holds: the numbers as they stand there, and as Blender shows them; (H, W, 4)."""

    raw: np.ndarray
    shown: np.ndarray


@dataclass(frozen=True)
class Written:
    """The files of an edited image; tiles: their numbers. What is in them means colours by ``form``."""

    path: Path
    tiles: tuple[int, ...]
    form: _Format


def load_written(written: Written, name: str, *, pack: bool) -> bpy.types.Image:
    """A new image ``name`` of what ``write_edited_in_pieces`` has written. pack, errors: as in ``load_image``."""
    path, tiles, form = written.path, written.tiles, written.form
    return load_image(path, name, pack=pack, tiles=tiles, space=form.space, alpha_mode=form.alpha_mode)


def write_edited_in_pieces(
    find_source: Callable[[], bpy.types.Image | None], pixels: Mapping[int, np.ndarray], path: Path, *, depth: int = 0
) -> Pieces[Written]:
    """Write ``pixels`` into a file at ``path``, stored like the source and without loss; in pieces.

    find_source: gives the source, None where there is none; without one the file has 8 bits and is sRGB. pixels: by
    tile (a single image is 0), each (H, W, 4) float32, row 0 at the top, in the numbers of ``read_pixels``. Where they
    equal the source's, the stored numbers do too; tiles that are not given come along as they are. depth: 8 or 16 for
    a PNG of so many bits, which cuts floats off at 0 and 1; 0: as the source. ``path`` gets the suffix ``.png`` (8 or
    16 bits) or ``.exr`` (half or full floats), and before it the number of each tile. Raises ``OSError`` if a file
    can't be written.
    """
    source = find_source()
    stem = path.stem if path.suffix.lower() in {".png", ".exr"} else path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with pictures(source) if source else contextlib.nullcontext({0: None}) as tiles:
        values = {n: pixels[n] if n in pixels else read_pixels(tile)[0] for n, tile in tiles.items()}
        own = {n: _format_of(tile, values[n], _stored(tile)) for n, tile in tiles.items()}
        forms = _as_png(own, depth) if depth else _of_one_suffix(own)
        path = path.with_name(stem + forms[min(forms)].suffix)
        files = {n: tile_file(path, n) for n in tiles}
        with _all_or_none(files.values()):
            for n, tile in tiles.items():
                # In another colour space the stored numbers mean other colours.
                stored = _stored(tile) if forms[n].space == own[n].space else None
                floats = bool(tile and tile.is_float)
                writing = _writing(values[n], forms[n], stored, _aside(files[n]), floats=floats)
                # Pictures of tiles are ours and must be gone before anything else can happen in Blender.
                if is_tiled(source):
                    run_to_end(writing)
                else:
                    yield from writing
    return Written(path, tuple(files), forms[min(forms)])


@contextlib.contextmanager
def _all_or_none(files: Collection[Path]) -> Iterator[None]:
    """What was written aside for ``files`` takes their places after the block, or goes where the block fails."""
    try:
        yield
    except BaseException:
        for file in files:
            with contextlib.suppress(OSError):
                _aside(file).unlink()
        raise
    for file in files:
        os.replace(_aside(file), file)


def _as_png(forms: dict[int, _Format], depth: int) -> dict[int, _Format]:
    """``forms`` as integers of ``depth`` bits. Where all are floats their light gets encoded, for 8 bits are few."""
    encode = all(form.suffix == ".exr" and form.space != _DATA for form in forms.values())
    changes = {"space": "sRGB", "alpha_mode": "STRAIGHT"} if encode else {}
    return {number: replace(form, suffix=".png", depth=depth, **changes) for number, form in forms.items()}


def _of_one_suffix(forms: dict[int, _Format]) -> dict[int, _Format]:
    """``forms`` that fit into one UDIM image, whose files all have one ending; full floats can hold any of them."""
    if len({form.suffix for form in forms.values()}) == 1:
        return forms
    wide = {".png": {"suffix": ".exr", "depth": 32}, ".exr": {}}
    return {number: replace(form, **wide[form.suffix]) for number, form in forms.items()}


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.part{path.suffix}")


def _writing(
    pixels: np.ndarray, form: _Format, stored: _Stored | None, path: Path, *, floats: bool
) -> Pieces[None]:
    def numbers() -> np.ndarray:
        return _numbers(pixels, form, stored, floats=floats)

    # Blender itself converts floats from one colour space to another.
    values = numbers() if floats else (yield from in_thread(numbers))
    if form.suffix == ".png":
        yield from in_thread(_write_png, values, form.depth, path)
    else:
        _write_exr(values, path, form.depth, form.space if form.space == _linear_space() else _DATA)


def _write_png(numbers: np.ndarray, depth: int, path: Path) -> None:
    values = np.rint(numbers.clip(0, 1) * (2**depth - 1))
    path.write_bytes(encode_png(values.astype(np.uint16 if depth == 16 else np.uint8)))


def _stored(source: bpy.types.Image | None) -> _Stored | None:
    """What stands in the source's file or packed file; None if there is none, as for an image painted in Blender.

    None as well where memory has lost nothing of it: bytes are as in the file unless alpha is divided out or ignored.
    """
    if source is None or source.source != "FILE":
        return None
    if not source.is_float and source.alpha_mode in {"STRAIGHT", "CHANNEL_PACKED"}:
        return None
    # A copy reads the file anew: strokes that are not saved yet stay behind.
    copy = source.copy()
    try:
        if not all(copy.size):
            return None
        shown = read_pixels(copy)[0]
        copy.colorspace_settings.name = _DATA
        return _Stored(read_pixels(copy)[0], shown)
    finally:
        bpy.data.images.remove(copy)


def _format_of(source: bpy.types.Image | None, pixels: np.ndarray, stored: _Stored | None) -> _Format:
    if source is None:
        return _Format(".png", 8, bool((pixels[..., 3] < 1).any()), "sRGB", "STRAIGHT")
    alpha_mode = source.alpha_mode
    if stored is None and alpha_mode in {"STRAIGHT", "PREMUL"}:
        # These say how a file is read. Without one, memory holds bytes straight and floats times alpha.
        alpha_mode = "PREMUL" if source.is_float else "STRAIGHT"
    channels = source.depth // (32 if source.is_float else 8)
    return _Format(*_depth_of(source, stored), channels in (2, 4), source.colorspace_settings.name, alpha_mode)


def _depth_of(source: bpy.types.Image, stored: _Stored | None) -> tuple[str, int]:
    if not source.is_float:
        return ".png", 8
    if stored is None or source.file_format in {"HDR", "OPEN_EXR", "OPEN_EXR_MULTILAYER"}:
        return ".exr", 16 if stored and _is_half(source) else 32
    # Blender holds 16-bit integers as floats: see whether the file has any other numbers.
    steps = stored.raw * 65535
    integers = np.abs(steps - np.rint(steps)).max() < 0.01 and steps.min() >= 0 and steps.max() <= 65535
    return (".png", 16) if integers else (".exr", 32)


def _is_half(source: bpy.types.Image) -> bool:
    """Whether all channels of an OpenEXR file are 16-bit floats, read from the list of channels in its header."""
    if source.packed_file:
        head = source.packed_file.data[:8192]
    else:
        with open(bpy.path.abspath(source.filepath, library=source.library), "rb") as stream:
            head = stream.read(8192)
    start = head.find(b"channels\0chlist\0") + len(b"channels\0chlist\0")
    (length,) = struct.unpack_from("<i", head, start)
    # Each channel: its name, a zero, its type (1 is half), three numbers of 32 bits.
    types = re.findall(rb"[^\0]+\0([\0-\2])\0{3}.{12}", head[start + 4 : start + 4 + length], re.DOTALL)
    return bool(types) and set(types) == {b"\1"}


def _numbers(pixels: np.ndarray, form: _Format, stored: _Stored | None, *, floats: bool) -> np.ndarray:
    """(H, W, 3 or 4) float32 to be written: the stored numbers where nothing changed, else ``pixels`` as encoded."""
    numbers = _encoded(pixels, form, floats=floats)
    if stored and stored.raw.shape == pixels.shape:
        same = pixels == stored.shown
        color = np.where(same.all(axis=2, keepdims=True), stored.raw, numbers)[..., :3]
        alpha = np.where(same[..., 3:], stored.raw[..., 3:], numbers[..., 3:])
        numbers = np.concatenate([color, alpha], axis=2)
    return numbers if form.alpha else numbers[..., :3]


def _encoded(pixels: np.ndarray, form: _Format, *, floats: bool) -> np.ndarray:
    """``pixels`` in the numbers that Blender turns into them on loading; (H, W, 4)."""
    color, alpha = pixels[..., :3], pixels[..., 3:]
    if form.space == _DATA or (floats and form.alpha_mode == "PREMUL" and form.space == _linear_space()):
        return pixels
    if floats:
        associated = form.alpha_mode in {"STRAIGHT", "PREMUL"}
        color = _in_space(color / np.where(alpha > 0, alpha, 1) if associated else color, form.space)
    if form.alpha_mode == "PREMUL":
        color = color * alpha
    return np.concatenate([color, alpha], axis=2)


def _in_space(color: np.ndarray, space: str) -> np.ndarray:
    """Scene-linear (H, W, 3) in the numbers of the colour space ``space``: Blender converts on writing a file."""
    if space == _linear_space():
        return color
    with TemporaryDirectory() as folder:
        path = Path(folder) / "converted.exr"
        _write_exr(color, path, 32, space)
        image = load_image(path, "CSD converted", pack=False, space=_DATA, alpha_mode="CHANNEL_PACKED")
        try:
            return read_pixels(image)[0][..., :3]
        finally:
            bpy.data.images.remove(image)


def _linear_space() -> str:
    """The name of the colour space that a new float image has: scene linear."""
    image = bpy.data.images.new("CSD probe", 1, 1, float_buffer=True)
    try:
        return image.colorspace_settings.name
    finally:
        bpy.data.images.remove(image)


def _write_exr(numbers: np.ndarray, path: Path, depth: int, space: str) -> None:
    """Write (H, W, 3 or 4) scene-linear ``numbers`` as OpenEXR, converted to ``space``; "Non-Color" is as they are."""
    height, width, channels = numbers.shape
    scene = bpy.data.scenes.new("CSD image")
    image = bpy.data.images.new("CSD image", width, height, alpha=channels == 4, float_buffer=True)
    try:
        settings = scene.render.image_settings
        settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR", str(depth), "ZIP"
        settings.color_mode = "RGBA" if channels == 4 else "RGB"
        settings.color_management = "OVERRIDE"
        settings.linear_colorspace_settings.name = space
        image.alpha_mode = "CHANNEL_PACKED"
        filled = np.ones((height, width, 4), np.float32)
        filled[..., :channels] = numbers[::-1]
        image.pixels.foreach_set(filled.ravel())
        image.save_render(str(path), scene=scene)
    except RuntimeError as error:
        raise OSError(f"The texture {path} can't be written: {str(error).strip()}") from error
    finally:
        bpy.data.images.remove(image)
        bpy.data.scenes.remove(scene)
