"""The progress of a job for a person: one line on stderr, which is rewritten in place on a terminal."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any, TextIO

# Characters of the bar.
_WIDTH = 24
# Seconds between two lines where the line can't be rewritten (a log file).
_LOG_PERIOD = 5.0


class ProgressLine:
    """Shows phase, iteration and time left. ``close`` ends the line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._open = False
        self._last_log = 0.0

    def phase(self, text: str) -> None:
        """Show that a new phase begins."""
        self._show(text, always=True)

    def setup(self, phase: str, detail: str, fraction: float | None) -> None:
        """Show the installer's progress (``run_installer.Report``)."""
        bar = "" if fraction is None else _bar(fraction) + " "
        self._show(f"{bar}runtime: {detail}")

    def message(self, body: dict[str, Any]) -> None:
        """Show one of the job's messages (``protocol``), given as a dict."""
        kind = body["type"]
        if kind == "phase":
            self.phase(body["detail"] or body["name"])
        elif kind == "progress" and body["of"]:
            share = body["iteration"] / body["of"]
            left = f"{body['seconds_left']:.0f} s left"
            self._show(f"{_bar(share)} {body['iteration']}/{body['of']} steps, {left}")
        elif kind == "download":
            self._show(f"{_bar(body['done'] / max(body['total'], 1))} {body['detail']}")
        elif kind == "warning":
            self.say(f"Note: {body['sentence']}")

    def say(self, sentence: str) -> None:
        """Print a sentence on a line of its own."""
        self.close()
        print(sentence, file=self._stream, flush=True)

    def close(self) -> None:
        if self._open and self._terminal:
            print(file=self._stream, flush=True)
        self._open = False

    def _show(self, text: str, *, always: bool = False) -> None:
        if self._terminal:
            columns = shutil.get_terminal_size().columns
            print(f"\r{text[: columns - 1]:<{columns - 1}}", end="", file=self._stream, flush=True)
            self._open = True
        elif always or time.monotonic() - self._last_log > _LOG_PERIOD:
            self._last_log = time.monotonic()
            print(text, file=self._stream, flush=True)


def _bar(share: float) -> str:
    full = round(_WIDTH * min(max(share, 0.0), 1.0))
    return f"[{'#' * full}{'.' * (_WIDTH - full)}]"
