"""How a running job and the queue are drawn, in the panel and in the status bar."""

from __future__ import annotations

import textwrap

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..core.diagnosis import VARIANTS
from ..jobs.state import JobState
from . import window
from .session import session
from .translations import translate_sentence

_PHASES = {
    "start": marked("Starting the worker"), "load": marked("Loading the teacher"),
    "views": marked("Looking from all sides"), "optimize": marked("Growing"), "bake": marked("Baking"),
}  # fmt: skip
_RUNS = tuple(variant.name for variant in VARIANTS)
_STATUSES = {
    "waiting": marked("Waiting"), "running": marked("Growing"), "done": marked("Done"), "failed": marked("Failed"),
    "cancelled": marked("Cancelled"),
}  # fmt: skip
_ICONS = {
    "waiting": "TIME", "running": "PLAY", "done": "CHECKMARK", "failed": "ERROR", "cancelled": "X",
}  # fmt: skip


def draw_running(layout: bpy.types.UILayout, state: JobState) -> None:
    """The progress bar and the two ways to end the job."""
    column = layout.column(align=True)
    column.progress(factor=share(state), text=progress_text(state), type="BAR")
    row = column.row(align=True)
    row.scale_y = 1.6
    keep = row.row(align=True)
    keep.enabled = state.status == "running" and state.phase == "optimize"
    keep.operator("csd.stop_and_keep", icon="CHECKMARK")
    drop = row.row(align=True)
    drop.enabled = state.status != "cancelling" and not state.ended
    drop.operator("csd.cancel", icon="X")


def draw_queue(layout: bpy.types.UILayout) -> None:
    """One line for each object, where there are several."""
    items = session.items
    if len(items) < 2:
        return
    column = layout.box().column(align=True)
    for index, item in enumerate(items):
        row = column.row(align=True)
        row.label(text=item.key.name, icon=_ICONS[item.status], translate=False)
        if item.status == "running" and session.job:
            row.progress(factor=share(session.job.state), text=f"{share(session.job.state):.0%}", type="BAR")
        elif item.status == "waiting":
            row.operator("csd.drop", text="", icon="X", emboss=False).index = index
        else:
            state = row.row()
            state.alignment = "RIGHT"
            state.label(text=status_text(item.status), translate=False)


def draw_status(header: bpy.types.Header, context: bpy.types.Context) -> None:
    """In the status bar, so that it is seen in every mode and workspace."""
    if session.job is None:
        return
    state, item = session.job.state, session.running_item
    row = header.layout.row(align=True)
    row.label(text=f"{item.key.name if item else ''}:", icon="TEXTURE", translate=False)
    bar = row.row(align=True)
    bar.ui_units_x = 14
    bar.progress(factor=share(state), text=progress_text(state), type="BAR")
    row.operator("csd.cancel", text="", icon="X")


def draw_sentence(
    layout: bpy.types.UILayout, context: bpy.types.Context, sentence: str, icon: str, *, start: str = ""
) -> None:
    """A label that breaks its lines, because Blender would cut the middle out; in the language of the interface.

    start: whose sentence it is, said before it.
    """
    sentence = start + translate_sentence(sentence)
    letter = 6.7 * context.preferences.system.ui_scale
    column = layout.column(align=True)
    column.scale_y = 0.85
    # Chinese signs are twice as wide and need no space to break at.
    letter *= 1 + 0.9 * sum(not sign.isascii() for sign in sentence) / max(len(sentence), 1)
    for line in textwrap.wrap(sentence, max(10, int((context.region.width - 70) / letter))):
        column.label(text=line, icon=icon, translate=False)
        icon = "BLANK1"


def share(state: JobState) -> float:
    """How much of the steps is done, 0 .. 1."""
    return min(state.iteration / state.of, 1.0) if state.of else 0.0


def progress_text(state: JobState) -> str:
    """Phase, step and time left, as short as it can be said."""
    if state.done:
        return translated("Finished: waits for Object Mode") if window.is_busy() else translated("Finished")
    if state.status in ("stopping", "cancelling"):
        return translated("Stopping") if state.status == "stopping" else translated("Cancelling")
    if state.phase == "optimize" and state.of:
        left = duration(state.seconds_left)
        return translated("Step {} of {}, {} left").format(state.iteration, state.of, left)
    if state.phase in _RUNS:
        run = translated("Run {} of {}").format(_RUNS.index(state.phase) + 1, len(_RUNS))
        return translated("{}, {} left").format(run, duration(state.seconds_left)) if state.of else run
    return translated(_PHASES[state.phase]) if state.phase in _PHASES else state.detail or translated("Starting")


def status_text(status: str) -> str:
    """How an object in the queue is doing, in one word."""
    return translated(_STATUSES[status])


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    whole = round(seconds)
    if whole < 60:
        return translated("{} s").format(whole)
    if whole < 3600:
        return translated("{} min {} s").format(whole // 60, whole % 60)
    return translated("{} h {} min").format(whole // 3600, whole % 3600 // 60)
