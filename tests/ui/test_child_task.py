"""A task in a process of its own: what it says is read, and cancelling ends it with all that it started."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import bpy
import pytest

from csd_addon.drive.child_task import ChildTask, ChildTaskRunner

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script that starts with #!")

# Says who it is, starts another process, and ignores the request to end.
STUBBORN = """
import json, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen(["sleep", "600"])
print("not for us")
print(json.dumps({"type": "step", "detail": "half", "fraction": 0.5, "other": other.pid}), flush=True)
time.sleep(600)
"""
FAILING = """
import json, sys
print(json.dumps({"type": "download", "done": 1, "total": 4, "detail": "1 of 4"}))
print(json.dumps({"type": "error", "sentence": "The disk is full.", "detail": "/some/log"}))
print('{"half a line', end="")
sys.exit(4)
"""


def run(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ChildTask:
    """Start a task whose Python is a script of ``code``."""
    script = folder / "python"
    script.write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
    script.chmod(0o755)
    with monkeypatch.context() as there:
        there.setattr(sys, "executable", str(script))
        return ChildTask("install", ["runtime", "install"])


def is_alive(pid: int) -> bool:
    # What has ended stays in the table until its parent asks, so its state counts.
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks into /proc")
def test_cancel_ends_the_process_and_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[int] = []
    runner = ChildTaskRunner(lambda: changes.append(1))
    task = runner.start(run(STUBBORN, tmp_path, monkeypatch))
    end = time.monotonic() + 20
    while not task.messages:
        assert time.monotonic() < end and runner.tick()
        time.sleep(0.05)
    assert (task.detail, task.fraction) == ("half", 0.5) and changes
    other = task.messages[0]["other"]
    assert is_alive(other) and os.getpgid(other) == task.child.pid
    runner.cancel()
    end = time.monotonic() + 5
    while is_alive(other) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_alive(other) and task.exit_code is not None
    assert task.cancelled and runner.current is None and runner.last is task and runner.tick() is None
    runner.end()
    assert runner.last is None and not runner.is_ticking


def test_what_a_failed_task_said_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = ChildTaskRunner(lambda: None)
    task = runner.start(run(FAILING, tmp_path, monkeypatch))
    assert bpy.app.background and runner.is_ticking
    runner.wait()
    assert (task.exit_code, task.fraction, task.detail) == (4, 0.25, "/some/log")
    assert task.error["sentence"] == "The disk is full." and len(task.messages) == 2 and not task.cancelled
    runner.end()
