"""The texture that an edit starts from, and where it may change.

Images have row 0 at the top; UV origin bottom left; UVs outside 0..1 repeat. Weights are 0 (keep, bit for bit)
to 1 (free).
"""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .color import encode_srgb


@dataclass(frozen=True)
class EditSource:
    """pixels: (H, W, 4) float32 RGBA, exactly the numbers that Blender holds.

    linear: whether they are linear light (float images, and byte images that are not sRGB); else sRGB-encoded.
    shown: (T,) bool, triangles of the job's mesh that show this image. corner_mask: (T, 3) float32 weights.
    painted: (h, w) float32 weights of a painted mask in the same UVs; (1, 1) ones where there is none.
    """

    pixels: np.ndarray
    linear: bool
    shown: np.ndarray
    corner_mask: np.ndarray
    painted: np.ndarray

    def encoded(self) -> np.ndarray:
        """(H, W, 3) float64 sRGB-encoded colours; outside 0..1 where the source is."""
        rgb = self.pixels[..., :3]
        return encode_srgb(rgb) if self.linear else rgb.astype(np.float64)

    def save(self, path: Path) -> None:
        """Write everything to an ``.npz`` at ``path``: aside first, then renamed."""
        aside = path.with_name(path.name + ".part")
        with open(aside, "wb") as stream:
            np.savez_compressed(
                stream, pixels=self.pixels, linear=np.array(self.linear), shown=self.shown,
                corner_mask=self.corner_mask, painted=self.painted,
            )  # fmt: skip
        os.replace(aside, path)

    @staticmethod
    def load(path: Path) -> EditSource:
        """Read what ``save`` wrote. Raises ``ValueError`` with a sentence if the file is not such a source."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                values = {name: arrays[name] for name in ("pixels", "shown", "corner_mask", "painted")}
                return EditSource(linear=bool(arrays["linear"]), **values)
        except (OSError, EOFError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"The source texture {path} is damaged or missing: {error}") from error
