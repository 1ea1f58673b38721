"""How much a folder grows and how fast.

An installer prints nothing for minutes while it fetches a large file. The growth of its cache shows the progress.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from .. import folders

# The shortest pause between two measurements.
PERIOD_SECONDS = 3.0
# A pause lasts this many times as long as the measurement before it. Where torch with CUDA lies, one takes half a
# second on a quiet machine.
PAUSE_FACTOR = 5.0
# The speed is averaged over this many measurements.
SAMPLES = 4


class FolderGrowth(threading.Thread):
    """Measures ``folder`` in a thread of its own until it is stopped.

    Calls ``report(megabytes since the start, megabytes per second)`` in that thread. A megabyte is 10^6 bytes.
    """

    def __init__(self, folder: Path, report: Callable[[float, float], None]) -> None:
        super().__init__(daemon=True)
        self._folder, self._report = folder, report
        self._stopped = threading.Event()
        # (time of the measurement in seconds, bytes)
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)

    def run(self) -> None:
        """Measure until `stop`."""
        took = self._measure()
        first = self._samples[0][1]
        while not self._stopped.wait(max(PERIOD_SECONDS, PAUSE_FACTOR * took)):
            took = self._measure()
            (then, before), (now, size) = self._samples[0], self._samples[-1]
            self._report((size - first) / 1e6, max(size - before, 0) / (now - then) / 1e6)

    def stop(self) -> None:
        """End the thread. Nothing is reported afterwards."""
        self._stopped.set()
        self.join()

    def _measure(self) -> float:
        """Add one sample. Returns how many seconds it took."""
        began = time.monotonic()
        try:
            size = folders.size(self._folder)
        except OSError:  # the installer renames and deletes meanwhile
            size = self._samples[-1][1] if self._samples else 0
        self._samples.append((time.monotonic(), size))
        return time.monotonic() - began
