"""The jobs that the window runs, one after another on one warm worker: what panels read, and what drives them.

A timer polls the running job, shows its previews and puts its result on the object with one undo step; it lives
through undo and through closing a window. No Blender reference is kept: a task holds a key (``scene.lookup``).
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as translated

from ..core.settings import JobSettings
from ..drive import apply_result, object_job
from ..drive.apply_result import Place
from ..drive.object_job import REFUSALS
from ..drive.prepare_job import Task
from ..drive.warm_worker import shared_worker
from ..jobs.job import Job
from ..jobs.state import JobState, WorkerLost, transition
from ..scene.lookup import ObjectKey
from ..scene.pieces import Pieces
from ..scene.preview import hide_previews
from . import window

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


class Session:
    """The queue and the one job that runs.

    items: the queue; what has ended, what runs, what waits. task, job: of the running item, else None. last_task: the
    newest job's, also after its end. last_state: how the previous job ended, None while one runs.
    """

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.task: Task | None = None
        self.job: Job | None = None
        self.last_task: Task | None = None
        self.last_state: JobState | None = None
        # What is left to do until the result is on the object.
        self._finishing: Pieces[list[str]] | None = None
        # The preview was taken away or could not be shown, so the next tick has to try again.
        self._preview_missing = False
        # Blender knows a timer by its identity, and ``self.tick`` is a new object each time.
        self._timer = self.tick

    # --- What panels ask ------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether a job is under way, which includes putting its result on the object."""
        return self.job is not None

    @property
    def is_finishing(self) -> bool:
        """Whether the result of the running job is being put on the object."""
        return self._finishing is not None

    @property
    def is_ticking(self) -> bool:
        """Whether Blender's timer calls ``tick``."""
        return bool(bpy.app.timers.is_registered(self._timer))

    @property
    def running_item(self) -> Item | None:
        """The item whose texture is growing."""
        return next((item for item in self.items if item.status == "running"), None)

    @property
    def can_resume(self) -> bool:
        """Whether the newest job can go on where it stopped; a diagnosis begins anew."""
        return self.last_task is not None and self.last_task.settings.kind != "diagnosis"

    @property
    def last_log(self) -> str:
        """Path of the newest job's log, empty before the first job."""
        return str(self.last_task.folder.log) if self.last_task else ""

    # --- What operators do ----------------------------------------------------------------------------------------

    def start(self, items: Sequence[Item]) -> None:
        """Run ``items`` one after another. Raises one of ``REFUSALS`` if a single one can't begin."""
        self.items = list(items)
        try:
            if len(self.items) == 1:
                self._launch(self.items[0])
            else:
                self._start_next()
        except Exception:
            self.items = []
            raise

    def begin(self, task: Task, job: Job, place: Place | None = None) -> None:
        """From now on ``task`` is what the panel shows and what stop and cancel act on; ``job`` has been started."""
        self.task, self.job, self.last_task, self.last_state = task, job, task, None
        if self.running_item is None:
            self.items = [Item(task.key, task.settings, place, "running")]
        if not self.is_ticking:
            bpy.app.timers.register(self._timer, first_interval=_NEXT, persistent=True)

    def wait(self) -> None:
        """Do in this call what the timer does in a window, until everything has ended."""
        while (pause := self.tick()) is not None:
            time.sleep(pause)

    def cancel(self) -> None:
        """Stop the running job without a result, and drop what waits."""
        for item in self.items:
            if item.status == "waiting":
                item.status = "cancelled"
        if self.job:
            self.job.cancel()

    def drop(self, index: int) -> None:
        """Take a waiting object out of the queue."""
        if 0 <= index < len(self.items) and self.items[index].status == "waiting":
            del self.items[index]

    def forget(self) -> None:
        """Clear what the panel says about past jobs."""
        if not self.is_running:
            self.items = []

    def end(self, sentence: str = "") -> None:
        """End everything at once: the running job is cancelled, its preview taken away. ``sentence`` says why."""
        hide_previews()
        if self.is_ticking:
            bpy.app.timers.unregister(self._timer)
        if self.job is None:
            return
        self._stop_finishing()
        job, item = self.job, self.running_item
        self.cancel()
        job.wait()
        self.task, self.job, self.last_state = None, None, job.state
        item.status, item.sentence = "cancelled", sentence

    def hide_preview(self) -> None:
        """Take the preview away; the next tick shows it again."""
        hide_previews()
        self._preview_missing = True

    # --- What the timer does --------------------------------------------------------------------------------------

    def tick(self) -> float | None:
        """Look at the running job and do what is due; returns the seconds until the next look, None without a job."""
        if self.job is None:
            return None
        try:
            with window.override():
                self._follow_job()
        # Blender drops a timer that raises, and then nothing could end the job any more.
        except Exception as error:
            self._end_unexpectedly(error)
        if self.job is None:
            return None
        return _NEXT if self.is_finishing or self.job.is_preparing else TICK

    def _follow_job(self) -> None:
        before = self.job.state
        state = self.job.poll()
        news = state.previews != before.previews or (self._preview_missing and state.preview)
        if news and not window.is_rendering():
            # In another mode than Object Mode it can't be seen; it comes with the first tick after that.
            self._preview_missing = not apply_result.show(self.task, Path(state.preview))
        if state is not before:
            window.redraw()
        if not state.ended or (state.done and window.is_busy()):
            return
        item = self.running_item
        if state.done and not self._put_result_up(item, state):
            return
        task, self.task, self.job, self.last_state = self.task, None, None, state
        hide_previews()
        item.notes = [*state.warnings, *item.notes]
        if state.error:
            item.status, item.sentence = "failed", state.error.sentence
        elif not state.done:
            item.status, item.sentence = "cancelled", _what_is_left(task)
        self._start_next()
        window.redraw()

    def _put_result_up(self, item: Item, state: JobState) -> bool:
        """Do the next piece of putting the result up; returns whether that has ended, well or not."""
        if self.task.settings.kind == "diagnosis":
            item.status = "done"
            item.sentence = translated("The comparison is finished: look below, under Diagnostics.")
            return True
        try:
            if self._finishing is None:
                result = Path(state.done.paths["basecolor"])
                self._finishing = apply_result.finish_in_pieces(self.task, result, place=item.place)
            next(self._finishing)
            return False
        except StopIteration as end:
            item.status, item.notes = "done", end.value
            bpy.ops.ed.undo_push(message="Edit Texture" if self.task.edited else "Texture")
        except REFUSALS as error:
            item.status, item.sentence = "failed", str(error)
        self._finishing = None
        return True

    def _start_next(self) -> None:
        """Start the next object that can; those that can't say why."""
        for item in self.items:
            if item.status != "waiting":
                continue
            try:
                return self._launch(item)
            except REFUSALS as error:
                item.status, item.sentence = "failed", str(error)

    def _launch(self, item: Item) -> None:
        item.status = "running"
        obj = item.key.find()
        if obj is None:
            raise ValueError(translated("The object '{}' is gone.").format(item.key.name))
        self.begin(*object_job.start(obj, item.settings))

    def _end_unexpectedly(self, error: Exception) -> None:
        """End the job after an error that nobody foresaw, and drop what waits, so that the panel is free again.

        The traceback goes into the log of the newest job, and to the terminal.
        """
        job, log = self.job, self.last_task.folder.log
        reason = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
        sentence = translated(
            "The job ended unexpectedly ({}). Start it again; if this happens again, report it with the log {}."
        ).format(reason, log)
        if job and job.state.done:
            sentence = translated(
                "The result could not be shown ({}). It is kept: Apply Again in the history puts it on. The log is {}."
            ).format(reason, log)
        for item in self.items:
            if item.status == "running":
                item.status, item.sentence = "failed", sentence
            elif item.status == "waiting":
                item.status = "cancelled"
        self.task = self.job = None
        if job:
            self.last_state = transition(job.state, WorkerLost(sentence, str(log)))
        told = traceback.format_exc()
        # Nobody listens to the worker any more. Each of these may be what has failed.
        clean_up = [self._stop_finishing, shared_worker.stop, hide_previews, window.redraw]
        for step in [job.cancel, *clean_up] if job and job.is_preparing else clean_up:
            try:
                step()
            except Exception:
                told += traceback.format_exc()
        print(told, file=sys.stderr)
        try:
            # The folder of a job that is cancelled before its worker begins is gone.
            log.parent.mkdir(parents=True, exist_ok=True)
            with open(log, "a", encoding="utf-8") as stream:
                stream.write(told)
        except OSError as trouble:
            print(f"{log} can't be written: {trouble}", file=sys.stderr)

    def _stop_finishing(self) -> None:
        finishing, self._finishing = self._finishing, None
        if finishing:
            finishing.close()


def _what_is_left(task: Task) -> str:
    """What is left of a cancelled job, as a sentence."""
    if not task.folder.job.is_file():
        return translated("Cancelled before it began.")
    if task.settings.kind == "diagnosis":
        return translated("Cancelled: a comparison is only of use when it is complete.")
    return translated("Cancelled. What was reached is kept in {}.").format(task.folder.path)


session = Session()


# --- Handlers: the artist goes on working while a job runs ---------------------------------------------------


@bpy.app.handlers.persistent
def _before_load(*_: object) -> None:
    """Another file is about to replace this one: the job's object goes with it."""
    session.end(translated(
        "Another file was opened, so the texture stopped growing. What was reached is kept and can be resumed."
    ))  # fmt: skip


@bpy.app.handlers.persistent
def _after_load(*_: object) -> None:
    """A file that Blender saved by itself while a job ran holds its preview."""
    hide_previews()


@bpy.app.handlers.persistent
def _around_undo_and_save(*_: object) -> None:
    """A file never holds a texture that is not finished; and undo never meets what it doesn't know.

    Undo reads only those datablocks anew that differ between two of its steps. The others stay as they lie in memory,
    with every pointer that they have got since, while what no step holds is freed: a slot that stays, and points to a
    material that was made for the preview, then points to nothing (Blender 5.2 crashed there). So before undo nothing
    may point to a preview, and after it a step's own old preview goes. Handlers only ever take away; the next tick
    shows the preview again, when undo is over.
    """
    session.hide_preview()


HANDLERS = (
    ("load_pre", _before_load),
    ("load_post", _after_load),
    ("save_pre", _around_undo_and_save),
    ("undo_pre", _around_undo_and_save),
    ("redo_pre", _around_undo_and_save),
    ("undo_post", _around_undo_and_save),
    ("redo_post", _around_undo_and_save),
)


def register() -> None:
    """Let Blender's handlers reach the session."""
    for name, handler in HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Take the handlers back and end everything; nothing of past jobs outlives the add-on."""
    for name, handler in HANDLERS:
        getattr(bpy.app.handlers, name).remove(handler)
    session.end()
    session.forget()
    session.last_state = session.last_task = None
