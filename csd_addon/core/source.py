"""The texture that an edit starts from, and where it may change.

Images have row 0 at the top; UV origin bottom left; UVs outside 0..1 repeat. Weights are 0 (keep, bit for bit)
to 1 (free).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import load_arrays
from .color import encode_srgb

# Bytes of a texture file: 16 tiles of 8192 texels.
_LARGEST = 2**34


@dataclass(frozen=True)
class Tile:
    """One picture. pixels: (H, W, 4) float32 RGBA, exactly the numbers that Blender holds.

    linear: whether they are linear light (float images, and byte images that are not sRGB); else sRGB-encoded.
    painted: (h, w) float32 weights of a painted mask in the same UVs; (1, 1) ones where there is none.
    """

    pixels: np.ndarray
    linear: bool
    painted: np.ndarray

    def encoded(self) -> np.ndarray:
        """(H, W, 3) float64 sRGB-encoded colours; outside 0..1 where the source is."""
        rgb = self.pixels[..., :3]
        return encode_srgb(rgb) if self.linear else rgb.astype(np.float64)


@dataclass(frozen=True)
class EditSource:
    """tiles: the image's pictures by their number (``udim``); a single image is 0.

    number: (T,) int32, the tile that each triangle of the job's mesh shows, -1 where it shows none.
    corner_uvs: (T, 3, 2) float32, where it does. corner_mask: (T, 3) float32 weights.
    """

    tiles: Mapping[int, Tile]
    number: np.ndarray
    corner_uvs: np.ndarray
    corner_mask: np.ndarray

    def save(self, path: Path, *, compressed: bool = False) -> None:
        """Write everything to an ``.npz`` at ``path``: aside first, then renamed.

        compressed: a fraction of the size for seconds of work, which Blender's window must not wait for.
        """
        aside = path.with_name(path.name + ".part")
        arrays = {f"{f.name}_{n}": getattr(tile, f.name) for n, tile in self.tiles.items() for f in fields(Tile)}
        with open(aside, "wb") as stream:
            (np.savez_compressed if compressed else np.savez)(
                stream, tiles=list(self.tiles), number=self.number, corner_uvs=self.corner_uvs,
                corner_mask=self.corner_mask, **arrays,
            )  # fmt: skip
        os.replace(aside, path)

    @staticmethod
    def load(path: Path) -> EditSource:
        """Read what ``save`` wrote. Raises ``ValueError`` with a sentence if the file is not such a source."""
        try:
            arrays = load_arrays(path, _LARGEST)
            tiles = {
                int(n): Tile(arrays[f"pixels_{n}"], bool(arrays[f"linear_{n}"]), arrays[f"painted_{n}"])
                for n in arrays["tiles"].ravel()
            }
            source = EditSource(tiles, *(arrays[name] for name in ("number", "corner_uvs", "corner_mask")))
            source._require_shapes()
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"The source texture {path} is damaged or missing: {str(error).rstrip('.')}.") from error
        return source

    def _require_shapes(self) -> None:
        count = (len(self.number),) if self.number.ndim else (-1,)
        wanted = [(self.number, count), (self.corner_uvs, (*count, 3, 2)), (self.corner_mask, (*count, 3))]
        for tile in self.tiles.values():
            wanted += [(tile.pixels, (*tile.pixels.shape[:2], 4)), (tile.painted, tile.painted.shape[:2])]
        if any(array.shape != shape or array.ndim < len(shape) or not array.size for array, shape in wanted):
            raise ValueError("its arrays do not fit together.")


def save_edited(path: Path, pixels: Mapping[int, np.ndarray]) -> None:
    """Write the edited (H, W, 4) float32 ``pixels`` of each tile to an ``.npz``: aside first, then renamed.

    They are in the very numbers of the source.
    """
    aside = path.with_name(path.name + ".part")
    arrays: dict[str, Any] = {str(number): values for number, values in pixels.items()}
    with open(aside, "wb") as stream:
        np.savez(stream, **arrays)
    os.replace(aside, path)


def load_edited(path: Path) -> dict[int, np.ndarray]:
    """Read what ``save_edited`` wrote. Raises ``ValueError`` with a sentence if the file is no such thing."""
    try:
        pixels = {int(number): values for number, values in load_arrays(path, _LARGEST).items()}
        if not pixels or any(values.ndim != 3 or values.shape[2] != 4 for values in pixels.values()):
            raise ValueError("it holds no images of four channels.")
        return pixels
    except ValueError as error:
        raise ValueError(f"The edited texture {path} is damaged or missing: {str(error).rstrip('.')}.") from error
