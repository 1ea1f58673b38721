"""A lock between processes. The system itself releases it when its holder dies."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import RuntimeMissing

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


POLL_SECONDS = 0.2


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock file ``path`` at this moment. Makes no file."""
    try:
        with path.open("rb+") as file:
            _try_lock(file)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextmanager
def locked(
    path: Path, *, timeout: float, on_wait: Callable[[], None] | None = None, delete: bool = False
) -> Iterator[None]:
    """Hold the lock file ``path`` for the length of the block. Its folder is made where it is missing.

    ``timeout``: for how many seconds to wait for another holder. ``on_wait`` is called meanwhile.

    The file stays. A caller that deletes what the lock protects asks for ``delete``: the file then goes at the end of
    the block. Nobody else may delete it: two processes could hold locks on two files of one name. Here that can't be,
    because whoever waits for a deleted file sees that it is no longer the one at ``path``, and opens anew.

    Raises RuntimeMissing when another process still holds the lock after ``timeout``.
    """
    deadline = time.monotonic() + timeout
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            if _try_lock_until(file, path, deadline, on_wait):
                yield  # closing the file releases the lock
                if delete and sys.platform != "win32":
                    path.unlink()
                break
    if delete and sys.platform == "win32":
        # Windows deletes no open file: neither ours before it is closed nor one that another process waits for.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            path.unlink()


def _try_lock_until(file: IO[bytes], path: Path, deadline: float, on_wait: Callable[[], None] | None) -> bool:
    """Lock ``file``, waiting until ``deadline``. Return whether it is still the file at ``path``."""
    while True:
        try:
            _try_lock(file)
        except OSError as error:
            if time.monotonic() >= deadline:
                raise RuntimeMissing(
                    f"Another process is working on {path.with_suffix('')}: wait for it, or end it."
                ) from error
        else:
            try:
                return os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                return False
        if on_wait:
            on_wait()
        time.sleep(POLL_SECONDS)
