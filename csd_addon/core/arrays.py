"""Reading ``.npz`` files that anybody may have written: everything is bounded before memory is taken.

No pickle. An array must be a plain one of numbers, as large as its header says and as the archive says, and all of
them together must stay below a limit: a few bytes can claim to hold petabytes.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

# Kinds of numbers: bool, signed, unsigned, float.
_KINDS = "biuf"
_MOST_ARRAYS = 4096
# Everything that damaged or hostile bytes make zipfile, numpy and its header parser raise.
_DAMAGED = (
    OSError, EOFError, ArithmeticError, AttributeError, LookupError, MemoryError, NotImplementedError, RuntimeError,
    SyntaxError, TypeError, ValueError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zipfile.LargeZipFile,
    zlib.error,
)  # fmt: skip


def load_arrays(path: Path, limit: int) -> dict[str, np.ndarray]:
    """All arrays of the ``.npz`` at ``path``, by name; at most ``limit`` bytes of them.

    Raises ``ValueError`` that says what is wrong with the file.
    """
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _require_bounded(members, limit)
            for member in members:
                _require_plain(archive, member)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _DAMAGED as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _require_bounded(members: list[zipfile.ZipInfo], limit: int) -> None:
    total = sum(member.file_size for member in members)
    if len(members) > _MOST_ARRAYS or total > limit:
        raise ValueError(f"it holds {len(members)} arrays of {total} bytes, more than is allowed")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("it holds two arrays of one name")


def _require_plain(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Compare what the header of an array claims with the bytes that are there."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(stream)
        claimed = stream.tell() + math.prod(shape) * dtype.itemsize
    if dtype.kind not in _KINDS or dtype.hasobject or len(shape) > 4 or any(n < 0 for n in shape):
        raise ValueError(f"{member.filename} is no plain array of numbers")
    if claimed != member.file_size:
        raise ValueError(f"{member.filename} claims {claimed} bytes and has {member.file_size}")
