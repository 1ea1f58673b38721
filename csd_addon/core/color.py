"""The sRGB transfer curve, both directions, and CIELAB. RGB values in [0, 1], Rec.709 primaries, D65.

Images, previews and what the teacher sees are *encoded* (sRGB); light adds up in *linear*.
"""

from __future__ import annotations

import numpy as np

_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB-encoded, any shape (IEC 61966-2-1). Values below 0 stay on the linear branch."""
    linear = np.asarray(linear, dtype=np.float64)
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curve)


def decode_srgb(encoded: np.ndarray) -> np.ndarray:
    """sRGB-encoded to linear light, any shape; the inverse of ``encode_srgb``."""
    encoded = np.asarray(encoded, dtype=np.float64)
    curve = ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, encoded / 12.92, curve)


def srgb_to_lab(encoded: np.ndarray) -> np.ndarray:
    """sRGB-encoded (..., 3) to CIELAB (..., 3) float64: L in 0..100, a and b about -110..110 (D65)."""
    white = _RGB_TO_XYZ.sum(axis=1)
    xyz = decode_srgb(encoded) @ _RGB_TO_XYZ.T / white
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
