"""One download or check of a teacher at a time: the command line's own, in a process with JSON lines on its stdout.

A timer reads them; without a window the caller waits. ``current`` is what runs, ``said`` what the last one ended with.
"""

import json
import os
import subprocess
import sys
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..jobs.process import make_non_blocking, own_group, program_folder, read_available

TICK = 0.3

current: "Task | None" = None
# Of the last download or check: whether it went well, and its sentence.
said: tuple[bool, str] | None = None


class Task:
    """One child process and what it has said."""

    def __init__(self, action: str, identifier: str) -> None:
        self.action, self.identifier = action, identifier
        words = ["teacher", action, identifier, *(["--accept-licence"] if action == "download" else [])]
        self._child = subprocess.Popen(
            [sys.executable, "-s", "-B", "-m", "csd_addon", *words, "--json"], cwd=program_folder(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(),
            bufsize=0, **own_group(),
        )  # fmt: skip
        make_non_blocking(self._child.stdout.fileno())
        self._buffer = b""
        self.news: dict[str, Any] = {}

    def ended(self) -> bool:
        """Read what has come; whether the child is gone."""
        gone = self._child.poll() is not None
        while piece := read_available(self._child.stdout.fileno()):
            self._buffer += piece
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in filter(None, lines):
            self.news = json.loads(line)
        return gone

    def wait(self) -> None:
        while not self.ended():
            try:
                self._child.wait(TICK)
            except subprocess.TimeoutExpired:
                continue

    def verdict(self) -> tuple[bool, str]:
        """Whether it went well, and a sentence. Only once the child has ended."""
        if self._child.returncode == 0:
            done = marked("Everything is as it should be.") if self.action == "verify" else marked("It is complete.")
            return True, translated(done)
        ended = translated("The process ended with exit code {}.").format(self._child.returncode)
        return False, self.news.get("sentence", ended)

    def stop(self) -> None:
        """End it; what has come of a download stays and the next one continues there."""
        self._child.kill()
        self._child.wait()
        self._child.stdout.close()


def environment() -> dict[str, str]:
    """The child keeps Blender's promise about the network too."""
    return dict(os.environ) if bpy.app.online_access else {**os.environ, "HF_HUB_OFFLINE": "1"}


def start(action: str, identifier: str) -> set[str]:
    """Start the child; without a window, wait for its end."""
    global current, said
    said, current = None, Task(action, identifier)
    if bpy.app.background:
        current.wait()
        return {"FINISHED"} if _conclude() else {"CANCELLED"}
    bpy.app.timers.register(_tick, first_interval=TICK, persistent=True)
    return {"FINISHED"}


def _tick() -> float | None:
    if current is None:
        return None
    ended = current.ended()
    if ended:
        _conclude()
    _redraw()
    return None if ended else TICK


def _conclude() -> bool:
    global current, said
    assert current is not None
    current.ended()
    said, current = current.verdict(), None
    return said[0]


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()


def stop() -> None:
    """End what runs: the add-on is being taken back."""
    global current, said
    if current is not None:
        current.stop()
    current = said = None
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
