"""The one thing that is being set up now: a child process of the command line's own words, read by a timer.

Panels read ``current`` and ``last``; they never wait. Ending the child ends what it started too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..drive.warm_worker import shared_worker
from ..jobs.process import make_non_blocking, own_group, program_folder, read_available
from . import window

TICK = 0.25

_FETCHING = marked("Cancelled. What was fetched is kept, so the next try goes on from there.")
_CANCELLED = {
    "install": _FETCHING,
    "repair": _FETCHING,
    "remove": marked("Cancelled. The runtime is partly removed: remove or repair it."),
}


@dataclass
class Task:
    """kind: "install", "repair", "remove", "use", or "doctor". messages: what the child has said so far."""

    kind: str
    child: subprocess.Popen
    messages: list[dict[str, Any]] = field(default_factory=list)
    cancelled: bool = False
    _buffer: bytes = b""

    def read(self) -> bool:
        """Take in what has come; returns whether the child has ended."""
        ended = self.child.poll() is not None
        while piece := read_available(self.child.stdout.fileno()):
            self._buffer += piece
        *lines, self._buffer = self._buffer.split(b"\n")
        self.messages += [json.loads(line) for line in lines if line.startswith(b"{")]
        return ended

    @property
    def detail(self) -> str:
        """The newest step in words; empty before there is one."""
        return next((m["detail"] for m in reversed(self.messages) if m.get("detail")), "")

    @property
    def fraction(self) -> float:
        """How much is done, 0 .. 1, as far as it is known."""
        return next((m["fraction"] for m in reversed(self.messages) if m.get("fraction") is not None), 0.0)

    @property
    def well(self) -> bool:
        """Whether it did what it was asked for. The doctor has done so when it found troubles, too."""
        return self.child.returncode == 0 or (self.kind == "doctor" and self.child.returncode == 3)

    @property
    def problem(self) -> str:
        """The sentence of an end that was not wanted; empty for a good one."""
        if self.cancelled:
            return translated(_CANCELLED.get(self.kind, marked("Cancelled.")))
        if self.well:
            return ""
        ended = translated("The installer ended with exit code {}.").format(self.child.returncode)
        return next((m["sentence"] for m in self.messages if m.get("type") == "error"), ended)

    @property
    def log(self) -> str:
        """The file with all that the installer said, if it failed."""
        return next((m["detail"] for m in self.messages if m.get("type") == "error"), "")


_current: Task | None = None
_last: Task | None = None


def current() -> Task | None:
    """What is under way."""
    return _current


def last() -> Task | None:
    """What ended last."""
    return _last


def start(kind: str, *words: str) -> Task:
    """Begin ``python -m csd_addon WORDS --json``; the worker is ended first, for it may use what will change."""
    global _current, _last
    shared_worker.stop()
    child = subprocess.Popen(
        [sys.executable, "-s", "-B", "-m", "csd_addon", *words, "--json"], cwd=program_folder(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, **own_group(),
    )  # fmt: skip
    make_non_blocking(child.stdout.fileno())
    _current, _last = Task(kind, child), None
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK, persistent=True)
    return _current


def wait() -> Task:
    """Do in this call what the timer does in a window."""
    assert _current
    task = _current
    while _current is not None:
        time.sleep(TICK)
        _tick()
    return task


def cancel() -> None:
    """End what is under way, with everything that it started."""
    if _current is None:
        return
    _current.cancelled = True
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(_current.child.pid)], capture_output=True)
    else:
        os.killpg(_current.child.pid, signal.SIGTERM)
    _current.child.wait()
    _tick()


def end() -> None:
    """Nothing of this outlives the add-on."""
    global _last
    cancel()
    _last = None
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def _tick() -> float | None:
    global _current, _last
    if _current is None:
        return None
    if _current.read():
        _current.child.stdout.close()
        _current, _last = None, _current
    _redraw()
    return TICK if _current else None


def _redraw() -> None:
    window.redraw()
    for each in bpy.context.window_manager.windows:
        for area in each.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()


def install_log() -> Path | None:
    """The log of the last installation that failed here, if it is still there."""
    path = Path(_last.log) if _last and _last.log else None
    return path if path and path.is_file() else None
