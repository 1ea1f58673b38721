"""PNG bytes against an independent decoder: all four kinds that are written; and damage is noticed."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from csd_addon.core.png import encode_png, require_png


def decode(data: bytes, shape: tuple[int, int, int], kind: np.dtype) -> np.ndarray:
    """Undo filter 1 of the one IDAT chunk, texel by texel; checks every chunk's checksum."""
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length) == (zlib.crc32(name + body),)
        chunks[name], place = body, place + 12 + length
    depth, color = chunks[b"IHDR"][8:10]
    assert (depth, color) == (kind.itemsize * 8, 6 if shape[2] == 4 else 2)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(shape[0], -1)
    assert (rows[:, 0] == 1).all()
    texels = rows[:, 1:].reshape(shape[0], shape[1], -1).astype(np.uint64).cumsum(axis=1).astype(np.uint8)
    return np.ascontiguousarray(texels).view(kind.newbyteorder(">")).reshape(shape)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_value_comes_back(channels: int, kind: type) -> None:
    shape, kind = (5, 7, channels), np.dtype(kind)
    values = np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, shape).astype(kind)
    assert np.array_equal(decode(encode_png(values), shape, kind), values)


WHOLE = encode_png(np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3))


def test_a_whole_file_passes() -> None:
    require_png(WHOLE)


@pytest.mark.parametrize("place", range(len(WHOLE)))
def test_one_wrong_byte_anywhere_is_noticed(place: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[place] ^= 0x10
    with pytest.raises(ValueError, match="damaged|no PNG"):
        require_png(bytes(damaged))


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_file_that_ends_early_is_noticed(length: int) -> None:
    with pytest.raises(ValueError, match="damaged|no PNG"):
        require_png(WHOLE[:length])
