"""How much a folder grows and how fast: an installer says nothing for minutes while a large file comes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from .. import folders

# Seconds between two looks, and so many times what a look takes: half a second where torch with CUDA lies, on a quiet
# machine.
PERIOD, REST = 3.0, 5.0
# The speed is that of so many looks.
LOOKS = 4


class Scales(threading.Thread):
    """Calls ``tell(megabytes since the start, megabytes per second)`` from a thread of its own until it is stopped."""

    def __init__(self, folder: Path, tell: Callable[[float, float], None]) -> None:
        super().__init__(daemon=True)
        self._folder, self._tell = folder, tell
        self._over = threading.Event()
        self._seen: deque[tuple[float, int]] = deque(maxlen=LOOKS)

    def run(self) -> None:
        """Look until `stop`."""
        took = self._look()
        first = self._seen[0][1]
        while not self._over.wait(max(PERIOD, REST * took)):
            took = self._look()
            (then, before), (now, weight) = self._seen[0], self._seen[-1]
            self._tell((weight - first) / 1e6, max(weight - before, 0) / (now - then) / 1e6)

    def stop(self) -> None:
        """End the looking; nothing is told afterwards."""
        self._over.set()
        self.join()

    def _look(self) -> float:
        """Weigh once; returns the seconds that it took."""
        began = time.monotonic()
        try:
            weight = folders.size(self._folder)
        except OSError:  # the installer renames and deletes meanwhile
            weight = self._seen[-1][1] if self._seen else 0
        self._seen.append((time.monotonic(), weight))
        return time.monotonic() - began
