"""What the history and the diagnostics show, kept in memory: ``draw`` reads no disk.

A panel that is drawn asks with ``wake`` for news. Where a job has ended since the list was read, a timer reads it
again a moment later and makes the missing pictures, one at a time and never while a job runs.
"""

from __future__ import annotations

import os
from pathlib import Path

import bpy
import bpy.utils.previews
from bpy.app.translations import pgettext_iface as translated

from ..core.plot import plot_norms
from ..core.png import encode_png
from ..jobs.history import Entry, gradient_norms, list_runs
from ..runtime.paths import Paths, default_base
from ..scene.thumbnail import write_thumbnail
from . import session, window

# As many runs are shown at first, and added by each "Show More".
PAGE = 4
_SOON, _NEXT = 0.1, 0.02

_entries: tuple[Entry, ...] | None = None
_previews: bpy.utils.previews.ImagePreviewCollection | None = None
_seen: object = None
_shown = PAGE
# Pictures that could not be made; they are not tried again.
_hopeless: set[str] = set()


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


def icon(entry: Entry, path: Path) -> int:
    """Blender's number for a picture of ``entry``, its ``thumbnail`` or ``plot``; 0 if there is none (yet)."""
    preview = _previews.get(_key(entry, path)) if _previews is not None else None
    return preview.icon_id if preview else 0


def wake() -> None:
    """Called by ``draw``: read the list again soon if a job has ended since it was read."""
    if _entries is None or session.last_state() is not _seen:
        _start()


def refresh() -> None:
    """Read the list from disk now; pictures follow."""
    global _entries, _seen
    _seen = session.last_state()
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
    _hopeless.clear()


def _start() -> None:
    # A timer that is not persistent would be lost when another file is opened.
    if not bpy.app.timers.is_registered(_work):
        bpy.app.timers.register(_work, first_interval=_SOON, persistent=True)


def _work() -> float | None:
    """One piece of work; returns the seconds until the next one, or None when all is done."""
    if _entries is None or session.last_state() is not _seen:
        refresh()
        window.redraw()
        return _NEXT
    if session.running() or window.is_rendering():
        return None
    missing = _missing()
    if missing is None:
        return None
    _make(*missing)
    window.redraw()
    return _NEXT


def _key(entry: Entry, path: Path) -> str:
    # A run that was resumed looks different afterwards.
    return f"{path} {entry.changed}"


def _missing() -> tuple[Entry, Path] | None:
    """The next picture that should be there."""
    wanted = [(entry, entry.thumbnail) for entry in shown() if entry.picture]
    wanted += [(entry, entry.plot) for entry in (last(),) if entry]
    return next((pair for pair in wanted if _key(*pair) not in (_hopeless | _previews.keys())), None)


def _make(entry: Entry, path: Path) -> None:
    """Make the picture at ``path``, unless it is there and shows the run's end, and load it."""
    try:
        if not path.is_file() or path.stat().st_mtime < entry.changed:
            (_plot if path == entry.plot else _thumbnail)(entry)
        _previews.load(_key(entry, path), str(path), "IMAGE")
    except (OSError, ValueError) as error:
        # The list is whole without it; the reason is for the console.
        print(f"CSD Texture: no picture {path}: {error}")
        _hopeless.add(_key(entry, path))


def _thumbnail(entry: Entry) -> None:
    write_thumbnail(entry.folder.mesh, entry.picture, entry.thumbnail)


def _plot(entry: Entry) -> None:
    image = plot_norms(gradient_norms(entry.folder))
    if image is None:
        raise ValueError("the run logged no gradient norms.")
    aside = entry.plot.with_name(entry.plot.name + ".part")
    aside.write_bytes(encode_png(image))
    os.replace(aside, entry.plot)
