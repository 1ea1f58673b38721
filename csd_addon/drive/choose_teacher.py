"""Which teacher a run has, and what it likes, as the scene's settings say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bpy

from ..core import choose_teacher
from ..core.resolving import resolve
from ..core.settings import JobSettings
from ..core.teacher_folder import read_preferences
from ..runtime.errors import TeacherMissing
from ..runtime.paths import Paths, bundled_teachers, default_base
from ..runtime.teachers import catalogue


def with_chosen_teacher(settings: JobSettings) -> JobSettings:
    """``settings`` with the name of a teacher in place of "auto"."""
    return choose_teacher.with_chosen_teacher(settings, bundled_teachers())


def checked_settings(settings: JobSettings) -> JobSettings:
    """``settings`` of a job with a teacher's name, whose words, numbers and teacher go together.

    Raises ``ValueError`` with one sentence if they do not: a number of another method, for example.
    """
    settings = with_chosen_teacher(settings.validate())
    resolve(settings, preferences_of(settings.teacher))
    return settings


def shown_settings(shown: bpy.types.PropertyGroup, **changes: Any) -> JobSettings:
    """What of the scene's settings decides teacher and numbers, with ``changes``; the teacher has its name."""
    names = ("prompt", "negative", "target", "remove", "strength", "keep", "preset", "teacher", "method", "loss")
    values = {name: getattr(shown, name) for name in names}
    settings = JobSettings(kind="edit" if shown.mode == "EDIT" else "texture", **values)
    return with_chosen_teacher(replace(settings, **changes))


def teacher_of(shown: bpy.types.PropertyGroup) -> str:
    """The teacher that a run with the scene's settings would have."""
    return shown_settings(shown).teacher


def preferences_of(name: str) -> dict[str, Any]:
    """What the teacher of this name likes; {} where there is none, which is told elsewhere.

    Raises ``TeacherDamaged``, a ``ValueError``, if it does not say so readably.
    """
    try:
        root = catalogue.find_teacher(name, Paths(default_base())).root
    except TeacherMissing:
        return {}
    return read_preferences(root)
