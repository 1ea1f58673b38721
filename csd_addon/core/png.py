"""Lossless PNG with zlib alone: Blender's own 16-bit files lose colour under transparent texels, and where the fake
worker runs there is no Pillow.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np


def encode_png(values: np.ndarray) -> bytes:
    """The file's bytes for (H, W, 3 or 4) uint8 or uint16 ``values``, row 0 at the top.

    Each byte is stored as the difference to the texel before it (filter 1).
    """
    height, width, channels = values.shape
    depth = values.dtype.itemsize * 8
    rows = values.astype(values.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    step = channels * values.dtype.itemsize
    filtered = np.ones((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 1:] = rows
    filtered[:, 1 + step :] -= rows[:, :-step]
    header = struct.pack(">IIBBBBB", width, height, depth, 6 if channels == 4 else 2, 0, 0, 0)
    body = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(filtered.tobytes())), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
