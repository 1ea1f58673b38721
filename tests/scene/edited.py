"""The road of edited pixels into an image, in one call: writing the file, then loading it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import bpy
import numpy as np

from csd_addon.scene.pieces import run_to_end
from csd_addon.scene.write_image import load_written, write_edited_in_pieces


def edited_image(
    source: bpy.types.Image | None, pixels: Mapping[int, np.ndarray], name: str, path: Path, *, pack: bool,
    depth: int = 0,
) -> bpy.types.Image:  # fmt: skip
    """As ``write_edited_in_pieces`` and ``load_written`` say."""
    return load_written(run_to_end(write_edited_in_pieces(lambda: source, pixels, path, depth=depth)), name, pack=pack)
