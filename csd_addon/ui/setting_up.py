"""The one thing that is being set up now: the installer's or the doctor's process, and how it ended in words.

Panels read ``runner.current`` and ``runner.last``; they never wait.
"""

from __future__ import annotations

from pathlib import Path

from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..drive.child_task import ChildTask, ChildTaskRunner
from ..drive.warm_worker import shared_worker
from . import window

_FETCHING = marked("Cancelled. What was fetched is kept, so the next try goes on from there.")
_CANCELLED = {
    "install": _FETCHING,
    "repair": _FETCHING,
    "remove": marked("Cancelled. The runtime is partly removed: remove or repair it."),
}


def _redraw() -> None:
    window.redraw()
    window.redraw_preferences()


runner = ChildTaskRunner(_redraw)


def start(kind: str, *words: str) -> ChildTask:
    """Begin ``python -m csd_addon WORDS``; the worker is ended first, for it may use what will change.

    kind: "install", "repair", "remove", "use", or "doctor".
    """
    shared_worker.stop()
    return runner.start(ChildTask(kind, words))


def problem(task: ChildTask) -> str:
    """The sentence of an end that was not wanted; empty for a good one."""
    if task.cancelled:
        return translated(_CANCELLED.get(task.kind, marked("Cancelled.")))
    # The doctor has done what it was asked for when it found troubles, too.
    if task.exit_code == 0 or (task.kind == "doctor" and task.exit_code == 3):
        return ""
    ended = translated("The installer ended with exit code {}.").format(task.exit_code)
    return task.error.get("sentence", ended)


def install_log() -> Path | None:
    """The log of the last installation that failed here, if it is still there."""
    name = runner.last.error.get("detail") if runner.last else ""
    return Path(name) if name and Path(name).is_file() else None
