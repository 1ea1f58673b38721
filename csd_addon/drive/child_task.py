"""A task in a process of its own: the command line's own words with ``--json``, read without waiting.

The installer, the doctor and a teacher's download or check run like this. What they say stays English here; ``ui/``
makes sentences of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import bpy

from ..jobs.process import make_non_blocking, own_group, program_folder, read_available

# Seconds between two looks at the process.
TICK = 0.25
# Seconds that a cancelled process has to end by itself.
_PATIENCE = 3.0


class ChildTask:
    """One process ``python -m csd_addon WORDS --json`` and what it has said so far.

    kind: what it does, in one word of the caller's. about: what it does that to. messages: of its stdout, in their
    order. cancelled: whether ``cancel`` ended it. environment: of the process, None for this one's. Raises ``OSError``
    if it can't be started.
    """

    def __init__(
        self, kind: str, words: Sequence[str], *, about: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        self.kind, self.about = kind, about
        self.messages: list[dict[str, Any]] = []
        self.cancelled = False
        self._buffer = b""
        self.child = subprocess.Popen(
            [sys.executable, "-s", "-B", "-m", "csd_addon", *words, "--json"], cwd=program_folder(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, bufsize=0,
            **own_group(),
        )  # fmt: skip
        make_non_blocking(self.child.stdout.fileno())

    def read(self) -> bool:
        """Take in what has come; returns whether the process has ended."""
        if self.child.stdout.closed:
            return True
        # Asked first: what it said before its end is still read.
        ended = self.child.poll() is not None
        while piece := read_available(self.child.stdout.fileno()):
            self._buffer += piece
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            # A library may print what only looks like a message.
            with contextlib.suppress(ValueError):
                if isinstance(message := json.loads(line), dict):
                    self.messages.append(message)
        if ended:
            self.child.stdout.close()
        return ended

    def cancel(self) -> None:
        """End the process with everything that it started."""
        self.cancelled = True
        if sys.platform == "win32":
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(self.child.pid)], capture_output=True)
            self.child.wait()
            return
        self._signal_group(signal.SIGTERM)
        try:
            self.child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._signal_group(signal.SIGKILL)
            self.child.wait()

    def _signal_group(self, number: int) -> None:
        # It may have ended by itself; macOS refuses the signal for what has ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, number)

    @property
    def exit_code(self) -> int | None:
        """None until somebody has seen the end: ``read``, ``cancel`` or the runner's ``wait``."""
        return self.child.returncode

    @property
    def detail(self) -> str:
        """The newest step in words; empty before there is one."""
        return next((m["detail"] for m in reversed(self.messages) if m.get("detail")), "")

    @property
    def fraction(self) -> float:
        """How much is done, 0 .. 1, as far as it is known."""
        for message in reversed(self.messages):
            if message.get("fraction") is not None:
                return float(message["fraction"])
            if message.get("total"):
                return float(message["done"] / message["total"])
        return 0.0

    @property
    def error(self) -> dict[str, Any]:
        """The message of type "error" (``sentence``, ``detail``), empty if there is none."""
        return next((m for m in self.messages if m.get("type") == "error"), {})


class ChildTaskRunner:
    """One ``ChildTask`` at a time, read by a timer or, without a window, by ``wait``.

    current: what is under way. last: what ended last, None while there is a current one. on_change: called whenever
    something may look different.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.current: ChildTask | None = None
        self.last: ChildTask | None = None
        self._on_change = on_change
        # Blender knows a timer by its identity, and ``self.tick`` is a new object each time.
        self._timer = self.tick

    def start(self, task: ChildTask) -> ChildTask:
        """Follow ``task``, which has just been started."""
        self.current, self.last = task, None
        if not self.is_ticking:
            # A timer that is not persistent would be lost when another file is opened.
            bpy.app.timers.register(self._timer, first_interval=TICK, persistent=True)
        return task

    @property
    def is_ticking(self) -> bool:
        """Whether Blender's timer reads the current task."""
        return bool(bpy.app.timers.is_registered(self._timer))

    def tick(self) -> float | None:
        """Read what has come; returns the seconds until the next look, None when the task has ended."""
        if self.current is None:
            return None
        if self.current.read():
            self.current, self.last = None, self.current
        self._on_change()
        return TICK if self.current else None

    def wait(self) -> None:
        """Do in this call what the timer does in a window."""
        while self.current is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.current.child.wait(TICK)
            self.tick()

    def cancel(self) -> None:
        """End what is under way, with everything that it started."""
        if self.current is not None:
            self.current.cancel()
            self.tick()

    def end(self) -> None:
        """Nothing of this outlives the add-on."""
        self.cancel()
        self.last = None
        if self.is_ticking:
            bpy.app.timers.unregister(self._timer)
