"""What the artist asked of the running job. Set by the thread that listens to Blender, read by the loop."""

from __future__ import annotations

import threading


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
