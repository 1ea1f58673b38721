"""Reads the PNGs that we write, 16 bits too; Pillow and the bpy wheels know 8 bits or turn numbers into light."""

from __future__ import annotations

import struct
import zlib

import numpy as np

# Channels by the type in the header.
COLOR_TYPES = {0: 1, 2: 3, 4: 2, 6: 4}


def read_png(data: bytes) -> np.ndarray:
    """The integers of a PNG whose rows have filter 0 or 1, as ours have: (H, W, C) uint8 or uint16."""
    chunks, at = {}, 8
    while at < len(data):
        (length,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        chunks[kind] = chunks.get(kind, b"") + data[at + 8 : at + 8 + length]
        at += 12 + length
    width, height, depth, color = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    channels, size = COLOR_TYPES[color], depth // 8
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    texels = rows[:, 1:].reshape(height, width, channels * size)
    sums = np.cumsum(texels, axis=1, dtype=np.uint8)
    plain = np.where(rows[:, 0, None, None] == 1, sums, texels)
    assert set(rows[:, 0]) <= {0, 1}
    return np.ascontiguousarray(plain).view(">u2" if size == 2 else "u1").reshape(height, width, channels)
