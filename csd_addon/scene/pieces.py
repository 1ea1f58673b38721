"""Long work in pieces, so that a window can breathe between them.

A generator yields wherever it may be interrupted and returns its result; Blender's data is touched between two yields
only, never in a thread, and no reference to it is kept over one. What needs no Blender goes into a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")
Pieces = Generator[None, None, T]

# Seconds between two looks at a thread where nobody else has to be served.
_PAUSE = 0.002


def in_thread(work: Callable[..., T], *arguments: Any) -> Pieces[T]:
    """``work(*arguments)`` in a thread of its own; raises what it raises. Closing the pieces waits for it."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work, *arguments)
    pool.shutdown(wait=False)
    try:
        while not future.done():
            yield
    finally:
        wait([future])
    return future.result()


def run_to_end(pieces: Pieces[T]) -> T:
    """All of them in this call; returns their result."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result
        time.sleep(_PAUSE)
