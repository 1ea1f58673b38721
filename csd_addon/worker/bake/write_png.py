"""Images of the worker as PNG files, written aside first; sRGB-encoded, row 0 at the top."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from ...core.png import encode_png


def write_png(path: Path, image: np.ndarray, *, depth: int = 8, effort: int = 6) -> np.ndarray:
    """Write an (H, W, 3) sRGB-encoded float image in 0..1 as a PNG of 8 or 16 bits, aside first.

    effort: 0 to 9, how hard to compress 8 bits. Returns the image as it was rounded, float32. Raises ``OSError`` if the
    file can't be written.
    """
    highest = 2**depth - 1
    texels = np.clip(np.round(image * highest), 0, highest).astype(np.uint16 if depth == 16 else np.uint8)
    aside = path.with_name(path.name + ".part")
    if depth == 16:
        # Pillow writes no colours of 16 bits.
        aside.write_bytes(encode_png(texels))
    else:
        Image.fromarray(texels).save(aside, format="PNG", compress_level=effort)
    os.replace(aside, path)
    return texels.astype(np.float32) / highest


def write_map(path: Path, mask: np.ndarray) -> None:
    """Write an (H, W) bool mask as a black and white PNG."""
    write_png(path, np.repeat(mask[..., None], 3, axis=2).astype(np.float32))
