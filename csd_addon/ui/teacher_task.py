"""One download or check of a teacher at a time, and how it ended in words."""

from __future__ import annotations

import os

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..drive.child_task import ChildTask, ChildTaskRunner
from . import window

runner = ChildTaskRunner(window.redraw_preferences)
# What the removal of a teacher has to say, until the next download or check.
_removal = ""


def environment() -> dict[str, str]:
    """The child keeps Blender's promise about the network too."""
    return dict(os.environ) if bpy.app.online_access else {**os.environ, "HF_HUB_OFFLINE": "1"}


def start(action: str, identifier: str) -> set[str]:
    """Begin to "download" or "verify" the teacher ``identifier``; without a window, wait for the end."""
    global _removal
    _removal = ""
    words = ["teacher", action, identifier, *(["--accept-licence"] if action == "download" else [])]
    task = runner.start(ChildTask(action, words, about=identifier, environment=environment()))
    if bpy.app.background:
        runner.wait()
        return {"FINISHED"} if task.exit_code == 0 else {"CANCELLED"}
    return {"FINISHED"}


def outcome() -> tuple[bool, str] | None:
    """Whether the last download, check or removal went well, and its sentence; None if there is nothing to say."""
    if _removal:
        return True, _removal
    task = runner.last
    if task is None or task.cancelled:
        return None
    if task.exit_code == 0:
        done = marked("Everything is as it should be.") if task.kind == "verify" else marked("It is complete.")
        return True, translated(done)
    ended = translated("The process ended with exit code {}.").format(task.exit_code)
    return False, task.error.get("sentence", ended)


def note_removal(sentence: str) -> None:
    """A teacher was removed: what was said before is over. ``sentence`` says what was left, empty for nothing."""
    global _removal
    runner.last, _removal = None, sentence


def end() -> None:
    """End what runs: the add-on is being taken back."""
    note_removal("")
    runner.end()
