"""What the history and the diagnostics show, kept in memory: ``draw`` reads no disk.

A panel that is drawn asks with ``wake`` for news. Where a job has ended since the list was read, a timer reads it
again a moment later and loads the missing pictures, one at a time; the worker has drawn them.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import bpy.utils.previews
from bpy.app.translations import pgettext_iface as translated

from ..jobs.history import Entry, list_runs
from ..runtime.paths import Paths, default_base
from . import window
from .session import session

# As many runs are shown at first, and added by each "Show More".
PAGE = 4
_SOON, _NEXT = 0.1, 0.02

_entries: tuple[Entry, ...] | None = None
_previews: bpy.utils.previews.ImagePreviewCollection | None = None
_seen: object = None
_shown = PAGE
# What there is a picture of: properties of ``Entry`` that give its file.
_KINDS = ("thumbnail", "plot")


def folder() -> Path:
    """Where the job folders lie."""
    return Paths(default_base()).jobs


def entries() -> tuple[Entry, ...] | None:
    """All runs, newest first; None before they were read for the first time."""
    return _entries


def shown() -> tuple[Entry, ...]:
    """The runs that are to be drawn."""
    return (_entries or ())[:_shown]


def show_more() -> None:
    """Draw further runs."""
    global _shown
    _shown += PAGE
    _start()


def last() -> Entry | None:
    """The newest run that came far enough to have something to show."""
    return next((entry for entry in _entries or () if entry.report or entry.picture), None)


def find(name: str) -> Entry:
    """The run in the job folder ``name``. Raises ``ValueError`` with a sentence if it is gone."""
    if _entries is None:
        refresh()
    entry = next((e for e in _entries or () if e.folder.path.name == name), None)
    if entry is None:
        raise ValueError(translated("The run '{}' is no longer in the history.").format(name))
    return entry


def icon(entry: Entry, kind: str) -> int:
    """Blender's number for a picture of ``entry``, one of ``_KINDS``; 0 if there is none (yet)."""
    preview = _previews.get(_key(entry, kind)) if _previews is not None else None
    return preview.icon_id if preview else 0


def wake() -> None:
    """Called by ``draw``: read the list again soon if a job has ended since it was read."""
    if _entries is None or session.last_state is not _seen:
        _start()


def refresh() -> None:
    """Read the list from disk now; pictures follow."""
    global _entries, _seen
    _seen = session.last_state
    _entries = tuple(list_runs(folder(), _entries or ()))
    _start()


def register() -> None:
    """Get room for the pictures. The list is read when a panel asks for it."""
    global _previews
    _previews = bpy.utils.previews.new()


def unregister() -> None:
    """Free the pictures and forget everything."""
    global _previews, _entries, _seen, _shown
    if bpy.app.timers.is_registered(_work):
        bpy.app.timers.unregister(_work)
    if _previews is not None:
        bpy.utils.previews.remove(_previews)
    _previews = _entries = _seen = None
    _shown = PAGE


def _start() -> None:
    # A timer that is not persistent would be lost when another file is opened.
    if not bpy.app.timers.is_registered(_work):
        bpy.app.timers.register(_work, first_interval=_SOON, persistent=True)


def _work() -> float | None:
    """One piece of work; returns the seconds until the next one, or None when all is done."""
    if _entries is None or session.last_state is not _seen:
        refresh()
        window.redraw()
        return _NEXT
    missing = _missing()
    if missing is None:
        return None
    entry, kind = missing
    # Blender reads the file when it draws it; a damaged one stays empty.
    _previews.load(_key(entry, kind), str(getattr(entry, kind)), "IMAGE")
    window.redraw()
    return _NEXT


def _key(entry: Entry, kind: str) -> str:
    # A run that was resumed looks different afterwards.
    return f"{kind} {entry.folder.path} {entry.changed}"


def _missing() -> tuple[Entry, str] | None:
    """The next picture that is there and should be loaded."""
    wanted = [(entry, _KINDS[0]) for entry in shown()] + [(entry, _KINDS[1]) for entry in (last(),) if entry]
    return next((pair for pair in wanted if _key(*pair) not in _previews and getattr(*pair)), None)
