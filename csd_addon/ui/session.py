"""The one job that the window is running: state for panels to read, and what ends it.

Blender references are not kept across undo or file load; the task holds a key (``scene.lookup``).
"""

from __future__ import annotations

import bpy

from ..jobs.job import Job
from ..jobs.state import JobState
from ..runtime import environment
from ..runtime.named import named_python
from ..runtime.paths import Paths, default_base
from . import driver

_running: tuple[driver.Task, Job] | None = None
_last: JobState | None = None
_last_log = ""


def begin(task: driver.Task, job: Job) -> None:
    """From now on ``task`` is what the panel shows and what stop and cancel act on."""
    global _running, _last_log
    _running, _last_log = (task, job), str(task.folder.log)


def running() -> tuple[driver.Task, Job] | None:
    """The task and job under way, if any."""
    return _running


def last_state() -> JobState | None:
    """How the previous job ended."""
    return _last


def last_log() -> str:
    """Path of the newest job's log, empty before the first job."""
    return _last_log


def end() -> None:
    """Forget the running job; one that has not ended is cancelled."""
    global _running, _last
    if _running:
        task, job = _running
        if not job.poll().ended:
            job.cancel()
            job.wait()
        _last = job.state
        _running = None


@bpy.app.handlers.persistent
def on_load(*_: object) -> None:
    """Another file is about to replace this one: the job's object goes with it."""
    end()


def runtime_sentence() -> str:
    """The state of the worker's environment; looks at files only, so ``draw`` may call it."""
    if named := named_python():
        return f"The worker runs in {named}."
    folders = [f for f in Paths(default_base()).environments.glob("worker-*") if (f / environment.MARKER).is_file()]
    if folders:
        return f"The texture runtime is installed in {folders[0]}."
    return "The texture runtime is not installed yet (about 1 GB on disk; PyTorch, diffusers, transformers)."
