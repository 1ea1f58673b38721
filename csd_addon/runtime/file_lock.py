"""A lock between processes that the system itself releases when its holder dies."""

from __future__ import annotations

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


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file ``path`` at this moment; makes no file."""
    try:
        with path.open("rb+") as file:
            _try_lock(file)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextmanager
def exclusive(path: Path, *, patience: float, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file ``path`` for the length of the block, waiting up to ``patience`` seconds.

    ``waiting`` is called while another process holds it, several times a second.

    Raises RuntimeMissing when another process still holds it then. The file stays: deleting it would let
    two processes hold locks on two files of one name.
    """
    deadline = time.monotonic() + patience
    with path.open("ab") as file:
        while True:
            try:
                _try_lock(file)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise RuntimeMissing(
                        f"Another process is working on {path.with_suffix('')}: wait for it, or end it."
                    ) from error
            if waiting:
                waiting()
            time.sleep(POLL_SECONDS)
        yield  # closing the file releases the lock
