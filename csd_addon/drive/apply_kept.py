"""From a run of the history back to an object: its settings, and its kept result on the object's material again."""

from __future__ import annotations

import bpy

from ..core.settings import JobSettings
from ..core.udim import tiles_of
from ..jobs.history import Entry
from ..scene.kept_result import fitting_uvs, same_original
from ..scene.lookup import ObjectKey
from .apply_result import Place, finish
from .prepare_job import Task
from .resume_job import kept_images


def entry_settings(entry: Entry) -> JobSettings:
    """The settings of a run. Raises ``ValueError`` with a sentence if they are damaged or of another version."""
    if entry.problem:
        raise ValueError(entry.problem)
    try:
        return JobSettings.from_json(entry.settings).validate()
    except TypeError as error:
        raise ValueError(f"The settings in {entry.folder.job} are damaged: {error}.") from error


def apply_kept(obj: bpy.types.Object, entry: Entry, place: Place | None) -> list[str]:
    """Put the result of a run on ``obj`` as it was put there when it was new; returns notes.

    place: of its images; None packs them. Raises ``ValueError`` with a sentence if there is no result, or if ``obj``
    has changed too much since.
    """
    settings = entry_settings(entry)
    result = entry.folder.edited if entry.is_edit else entry.folder.basecolor
    if entry.state != "done" or not tiles_of(result):
        raise ValueError("This run has no result that could be applied: recall its settings and run it again.")
    uvs, seen = fitting_uvs(obj, settings, entry.folder.mesh, entry.folder.layer)
    original = same_original(obj, settings, entry.folder.source, seen) if entry.is_edit else None
    images = kept_images(obj, entry.folder, settings, seen)
    task = Task(ObjectKey.of(obj), entry.folder, settings, (), uvs, original, images)
    return finish(task, result, place=place)
