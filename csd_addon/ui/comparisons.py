"""The newest comparison of losses, kept in memory with its pictures: ``draw`` reads no disk.

As in ``past_runs``: a panel that is drawn asks with ``wake`` for news, and a timer reads them a moment later.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import bpy.utils.previews

from ..jobs.comparison import Comparison, newest_comparison
from ..runtime.paths import Paths, default_base
from . import window
from .session import session

_SOON = 0.1

_newest: Comparison | None = None
_previews: bpy.utils.previews.ImagePreviewCollection | None = None
# How the last job ended when the disk was read, False before it was read for the first time.
_seen: object = False


def folder() -> Path:
    """Where the job folders of comparisons lie."""
    return Paths(default_base()).diagnoses


def newest() -> Comparison | None:
    """The newest finished comparison, as far as it is known."""
    return _newest


def icon(picture: str) -> int:
    """Blender's number for a picture of the newest comparison (``jobs.comparison.PICTURES``), 0 if there is none."""
    path = _newest.pictures.get(picture) if _newest else None
    preview = _previews.get(str(path)) if _previews is not None else None
    return preview.icon_id if preview else 0


def wake() -> None:
    """Called by ``draw``: look at the disk soon if a job has ended since the last look."""
    if session.last_state is not _seen and not bpy.app.timers.is_registered(refresh):
        # A timer that is not persistent would be lost when another file is opened.
        bpy.app.timers.register(refresh, first_interval=_SOON, persistent=True)


def refresh() -> None:
    """Read the newest comparison from disk now, and its pictures."""
    global _newest, _seen
    _seen, _newest = session.last_state, newest_comparison(folder())
    _previews.clear()
    for path in _newest.pictures.values() if _newest else ():
        _previews.load(str(path), str(path), "IMAGE")
    window.redraw()


def register() -> None:
    """Get room for the pictures."""
    global _previews
    _previews = bpy.utils.previews.new()


def unregister() -> None:
    """Free the pictures and forget everything."""
    global _previews, _newest, _seen
    if bpy.app.timers.is_registered(refresh):
        bpy.app.timers.unregister(refresh)
    if _previews is not None:
        bpy.utils.previews.remove(_previews)
    _previews = _newest = None
    _seen = False
