"""What this package raises: each error is one sentence that says what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path


class RuntimeMissing(Exception):
    """The Python environment that a job needs is not there or could not be made.

    ``log`` is the file with everything the installer said, when an installer ran.
    """

    def __init__(self, sentence: str, log: Path | None = None) -> None:
        super().__init__(f"{sentence} The full log is {log}." if log else sentence)
        self.log = log


class TeacherMissing(Exception):
    """The diffusion model that a job names is not on this disk or not complete."""


class DownloadFailed(Exception):
    """A file could not be downloaded. What has come of it stays, and the next download continues there."""
