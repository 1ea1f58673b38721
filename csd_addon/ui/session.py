"""The jobs that the window runs, one after another on one warm worker: what panels read, and what drives them.

A timer polls the running job, shows its previews and puts its result on the object with one undo step; it lives
through undo and through closing a window. No Blender reference is kept: a task holds a key (``scene.lookup``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as translated

from ..core.settings import JobSettings
from ..drive import object_job
from ..drive.object_job import REFUSALS
from ..jobs.job import Job
from ..jobs.state import JobState
from ..scene.lookup import ObjectKey
from ..scene.pieces import Pieces
from ..scene.preview import hide_previews
from . import window
from .output import Place

# Seconds between two looks at the running job, and between two pieces of our own work.
TICK = 0.1
_NEXT = 0.01


@dataclass
class Item:
    """One object in the queue. status: "waiting", "running", "done", "failed" or "cancelled".

    place: of the image (``output.place``). sentence: how it ended. notes: what the artist should know besides.
    """

    key: ObjectKey
    settings: JobSettings
    place: Place | None = None
    status: str = "waiting"
    sentence: str = ""
    notes: list[str] = field(default_factory=list)


_items: list[Item] = []
_running: tuple[object_job.Task, Job] | None = None
_last: JobState | None = None
_last_task: object_job.Task | None = None
# What is left to do until the result is on the object.
_finishing: Pieces[list[str]] | None = None
# Whether the preview was taken away or could not be shown, so that the next tick has to try again.
_swept = False


def start(items: Sequence[Item]) -> None:
    """Run ``items`` one after another. Raises one of ``object_job.REFUSALS`` if a single one can't begin."""
    global _items
    _items = list(items)
    if len(_items) == 1:
        try:
            _launch(_items[0])
        except REFUSALS:
            _items = []
            raise
    else:
        _advance()


def begin(task: object_job.Task, job: Job, place: Place | None = None) -> None:
    """From now on ``task`` is what the panel shows and what stop and cancel act on; ``job`` has been started."""
    global _running, _last, _last_task
    _running, _last, _last_task = (task, job), None, task
    if not any(item.status == "running" for item in _items):
        _items[:] = [Item(task.key, task.settings, place, "running")]
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_NEXT, persistent=True)


def wait() -> None:
    """Do in this call what the timer does in a window, until everything has ended."""
    while (pause := _tick()) is not None:
        time.sleep(pause)


def items() -> Sequence[Item]:
    """The queue: what has ended, what runs, what waits."""
    return _items


def running() -> tuple[object_job.Task, Job] | None:
    """The task and job under way, if any."""
    return _running


def current_name() -> str:
    """The name of the object whose texture is growing, empty if none is."""
    return next((item.key.name for item in _items if item.status == "running"), "")


def last_state() -> JobState | None:
    """How the previous job ended; None while one runs."""
    return _last


def last_task() -> object_job.Task | None:
    """The newest job's task, also after it has ended."""
    return _last_task


def can_resume() -> bool:
    """Whether the newest job can go on where it stopped; a diagnosis begins anew."""
    return _last_task is not None and _last_task.settings.kind != "diagnosis"


def last_log() -> str:
    """Path of the newest job's log, empty before the first job."""
    return str(_last_task.folder.log) if _last_task else ""


def cancel() -> None:
    """Stop the running job without a result, and drop what waits."""
    for item in _items:
        if item.status == "waiting":
            item.status = "cancelled"
    if _running:
        _running[1].cancel()


def drop(index: int) -> None:
    """Take a waiting object out of the queue."""
    if 0 <= index < len(_items) and _items[index].status == "waiting":
        del _items[index]


def forget() -> None:
    """Clear what the panel says about past jobs."""
    if _running is None:
        _items.clear()


def forget_all() -> None:
    """Nothing of past jobs outlives the add-on."""
    global _last, _last_task
    forget()
    _last = _last_task = None


def end(sentence: str = "") -> None:
    """End everything at once: the running job is cancelled, its preview taken away. ``sentence`` says why."""
    global _running, _last, _finishing
    hide_previews()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    if _running is None:
        return
    if _finishing:
        _finishing.close()
        _finishing = None
    job, item = _running[1], _current()
    cancel()
    job.wait()
    _running, _last = None, job.state
    item.status, item.sentence = "cancelled", sentence


def _current() -> Item:
    return next(item for item in _items if item.status == "running")


def _launch(item: Item) -> None:
    obj = item.key.find()
    if obj is None:
        raise ValueError(translated("The object '{}' is gone.").format(item.key.name))
    task, job = object_job.start(obj, item.settings)
    item.status = "running"
    begin(task, job)


def _advance() -> None:
    """Start the next object that can; those that can't say why."""
    for item in _items:
        if item.status != "waiting":
            continue
        try:
            return _launch(item)
        except REFUSALS as error:
            item.status, item.sentence = "failed", str(error)


def _tick() -> float | None:
    if _running is None:
        return None
    with window.override():
        _look(*_running)
    if _running is None:
        return None
    return _NEXT if _finishing or _running[1].is_preparing else TICK


def _look(task: object_job.Task, job: Job) -> None:
    global _swept
    before = job.state
    state = job.poll()
    news = state.previews != before.previews or (_swept and state.preview)
    if news and not window.is_rendering():
        # In another mode than Object Mode it can't be seen; it comes with the first tick after that.
        _swept = not object_job.show(task, Path(state.preview))
    if state is not before:
        window.redraw()
    if state.ended and not (state.done and window.is_busy()):
        _conclude(task, state)


def _conclude(task: object_job.Task, state: JobState) -> None:
    """Put the result up, over several ticks if need be, or say why there is none; then go on with the next one."""
    global _running, _last
    item = _current()
    if state.done and not _put(item, task, state):
        return
    _running, _last = None, state
    hide_previews()
    item.notes = [*state.warnings, *item.notes]
    if state.error:
        item.status, item.sentence = "failed", state.error.sentence
    elif not state.done:
        item.status, item.sentence = "cancelled", _cancelled(task)
    _advance()
    window.redraw()


def _cancelled(task: object_job.Task) -> str:
    """What is left of a cancelled job."""
    if not task.folder.job.is_file():
        return translated("Cancelled before it began.")
    if task.settings.kind == "diagnosis":
        return translated("Cancelled: a comparison is only of use when it is complete.")
    return translated("Cancelled. What was reached is kept in {}.").format(task.folder.path)


def _put(item: Item, task: object_job.Task, state: JobState) -> bool:
    """Do the next piece of putting the result up; whether it is there, or can't be."""
    global _finishing
    if task.settings.kind == "diagnosis":
        item.status, item.sentence = "done", translated("The comparison is finished: look below, under Diagnostics.")
        return True
    try:
        if _finishing is None:
            _finishing = object_job.finishing(task, Path(state.done.paths["basecolor"]), place=item.place)
        next(_finishing)
        return False
    except StopIteration as end:
        item.status, item.notes = "done", end.value
        bpy.ops.ed.undo_push(message="Edit Texture" if task.edited else "Texture")
    except REFUSALS as error:
        item.status, item.sentence = "failed", str(error)
    _finishing = None
    return True


# --- Handlers: the artist goes on working while a job runs ---------------------------------------------------


@bpy.app.handlers.persistent
def _on_load(*_: object) -> None:
    """Another file is about to replace this one: the job's object goes with it."""
    end(translated(
        "Another file was opened, so the texture stopped growing. What was reached is kept and can be resumed."
    ))  # fmt: skip


@bpy.app.handlers.persistent
def _on_loaded(*_: object) -> None:
    """A file that Blender saved by itself while a job ran holds its preview."""
    hide_previews()


@bpy.app.handlers.persistent
def _sweep(*_: object) -> None:
    """A file never holds a texture that is not finished; and undo never meets what it doesn't know.

    Undo reads only those datablocks anew that differ between two of its steps. The others stay as they lie in memory,
    with every pointer that they have got since, while what no step holds is freed: a slot that stays, and points to a
    material that was made for the preview, then points to nothing (Blender 5.2 crashed there). So before undo nothing
    may point to a preview, and after it a step's own old preview goes. Handlers only ever take away; the next tick
    shows the preview again, when undo is over.
    """
    global _swept
    hide_previews()
    _swept = True


HANDLERS = (
    ("load_pre", _on_load),
    ("load_post", _on_loaded),
    ("save_pre", _sweep),
    ("undo_pre", _sweep),
    ("redo_pre", _sweep),
    ("undo_post", _sweep),
    ("redo_post", _sweep),
)
