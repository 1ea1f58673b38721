"""From a finished PNG, or from edited pixels, to an image in Blender.

The worker's images have row 0 at the top, PNG has too, and Blender turns it over on loading: here and in
``base_color.read_pixels`` the row order changes, nowhere else.

An edited image is stored as its source is: bit depth, colour space, alpha; or as PNG of the depth that is asked for.
Where its pixels are the source's, the source's stored numbers are written again. They are taken from its file,
because what Blender holds in memory has
lost some of them: floats are linear and times alpha. PNGs are written here, because Blender's own 16-bit ones lose
the colour under transparent texels.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import bpy
import numpy as np

from ..core.png import encode_png, require_png
from ..core.udim import tile_file
from .base_color import read_pixels
from .tiles import load_files, pictures

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


def load_image(path: Path, name: str, *, pack: bool, tiles: Collection[int] = (0,)) -> bpy.types.Image:
    """A new image from the PNG at ``path`` (or the files of its ``tiles``, see ``core.udim``), called ``name``.

    pack: keep the pixels inside the .blend (and forget the path) rather than refer to the file.
    Raises ``ValueError`` if the file can't be read.
    """
    return _load(path, tiles, name, "sRGB", "STRAIGHT", pack=pack)


def edited_image(
    source: bpy.types.Image | None, pixels: Mapping[int, np.ndarray], name: str, path: Path, *, pack: bool,
    depth: int = 0,
) -> bpy.types.Image:  # fmt: skip
    """A new image ``name`` with ``pixels``, stored like ``source`` and without loss in a file at ``path``.

    pixels: by tile (a single image is 0), each (H, W, 4) float32, row 0 at the top, in the numbers of
    ``read_pixels``. Where they equal the source's, the stored numbers do too; tiles that are not given come along as
    they are. source: None means an 8-bit sRGB image. depth: 8 or 16 for a PNG of so many bits, which cuts floats off
    at 0 and 1; 0: as the source. ``path`` gets the suffix ``.png`` (8 or 16 bits) or ``.exr`` (half
    or full floats), and before it the number of each tile; ``filepath`` of the image says which. pack: as in
    ``load_image``. Raises ``OSError`` if a file can't be written.
    """
    stem = path.stem if path.suffix.lower() in {".png", ".exr"} else path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with pictures(source) if source else contextlib.nullcontext({0: None}) as tiles:
        values = {n: pixels[n] if n in pixels else read_pixels(tile)[0] for n, tile in tiles.items()}
        own = {n: _format_of(tile, values[n], _stored(tile)) for n, tile in tiles.items()}
        forms = _as_png(own, depth) if depth else _of_one_suffix(own)
        path = path.with_name(stem + forms[min(forms)].suffix)
        files = {n: tile_file(path, n) for n in tiles}
        for n, tile in tiles.items():
            # In another colour space the stored numbers mean other colours.
            stored = _stored(tile) if forms[n].space == own[n].space else None
            numbers = _numbers(values[n], forms[n], stored, floats=bool(tile and tile.is_float))
            _write(numbers, forms[n], _aside(files[n]))
    for file in files.values():
        os.replace(_aside(file), file)
    form = forms[min(forms)]
    return _load(path, files, name, form.space, form.alpha_mode, pack=pack)


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


def _write(numbers: np.ndarray, form: _Format, path: Path) -> None:
    if form.suffix == ".png":
        values = np.rint(numbers.clip(0, 1) * (2**form.depth - 1))
        path.write_bytes(encode_png(values.astype(np.uint16 if form.depth == 16 else np.uint8)))
    else:
        _write_exr(numbers, path, form.depth, form.space if form.space == _linear_space() else _DATA)


def _load(
    path: Path, tiles: Collection[int], name: str, space: str, alpha_mode: str, *, pack: bool
) -> bpy.types.Image:
    # Blender makes an image of any file and notices only when it looks for pixels: 70 ms at 2048, on drawing it too.
    try:
        for number in tiles if path.suffix == ".png" else ():
            require_png(tile_file(path, number).read_bytes())
        image = load_files(path, tiles)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"The texture {path} can't be loaded: {error}") from error
    image.name = name
    image.colorspace_settings.name = space
    image.alpha_mode = alpha_mode
    file = Path(image.filepath).name
    if pack:
        image.pack()
        image.filepath = f"//textures/{file}"
    elif bpy.data.filepath:
        # Saving a file elsewhere keeps absolute paths. Windows knows no relative path to another drive.
        with contextlib.suppress(ValueError):
            image.filepath = bpy.path.relpath(str(path.with_name(file)))
    return image


def _stored(source: bpy.types.Image | None) -> _Stored | None:
    """What stands in the source's file or packed file; None if there is none, as for an image painted in Blender."""
    if source is None or source.source != "FILE":
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
        image = _load(path, [0], "CSD converted", _DATA, "CHANNEL_PACKED", pack=False)
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
