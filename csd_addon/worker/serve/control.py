"""What the artist asked of the running job, set by the thread that listens to Blender and read by the loop; and
how a job fails. No torch: the fake worker has none.
"""

from __future__ import annotations

import threading

# What a plain RuntimeError of torch says when the memory is full: the processor's, then a Mac's.
_FULL = ("DefaultCPUAllocator: can't allocate", "MPS backend out of memory")


class Control:
    """Two requests that a job honours at its next step: stop and keep, and cancel (which wins)."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._cancel = threading.Event()

    def request_stop(self) -> None:
        self._stop.set()

    def request_cancel(self) -> None:
        self._cancel.set()

    @property
    def stop(self) -> bool:
        """Stop optimising, bake and keep."""
        return self._stop.is_set()

    @property
    def cancel(self) -> bool:
        """Stop, save a checkpoint, keep no result."""
        return self._cancel.is_set()

    @property
    def asked(self) -> bool:
        """Either of the two."""
        return self.stop or self.cancel


class JobFailure(Exception):
    """The job can't go on. ``kind`` and the sentence go to the artist as ``protocol.Error``."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that the device or this process has no memory left."""
    # ``torch.OutOfMemoryError`` by its name.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)
