"""Whole folders: how large they are, in bytes and in words, and deleting them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import RuntimeMissing


def size(directory: Path) -> int:
    """Return the bytes of all files below ``directory``. It takes most of a second for torch."""
    return sum(entry.stat(follow_symlinks=False).st_size for entry in _files(directory))


def _files(directory: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            else:
                yield entry


def format_size(count: int) -> str:
    """Return ``count`` bytes in words for a person, in units of 1000: "3.58 GB", "12 MB", "7 kB", "5 B"."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.2f} {name}" if unit == 10**9 else f"{count / unit:.0f} {name}"
    return f"{count} B"


def delete(directory: Path, *, first: str = "") -> None:
    """Delete ``directory``, if it is there, and the file ``first`` in it before all others.

    Raises RuntimeMissing when a file in it is in use.
    """
    try:
        if first:
            (directory / first).unlink(missing_ok=True)
        if directory.exists():
            shutil.rmtree(directory)
    except OSError as error:
        raise RuntimeMissing(
            f"{error.filename} cannot be deleted ({error.strerror}): close the programs that use it, then try again."
        ) from error
