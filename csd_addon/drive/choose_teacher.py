"""Which teacher a run has: the one that the settings name, or the bundled one that knows its words ("auto")."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import bpy

from ..core.edit import way
from ..core.settings import AUTO_TEACHER, JobSettings
from ..core.words import unknown_words
from ..jobs.folder import read_json
from ..runtime.paths import bundled_teachers

# Which comes first where both know as many words: what is new grows from close-ups, for which broad was trained, and
# the keeping of patterns was measured with mini.
_FOR_NEW, _FOR_KEPT = ("broad", "mini"), ("mini", "broad")


def settled(settings: JobSettings) -> JobSettings:
    """``settings`` with the name of a teacher in place of "auto"."""
    if settings.teacher != AUTO_TEACHER:
        return settings
    if settings.kind == "edit":
        name = _fitting(f"{settings.target} {settings.remove}", _FOR_KEPT if way(settings) == "keep" else _FOR_NEW)
    else:
        name = _fitting(f"{settings.prompt} {settings.negative}", _FOR_NEW)
    return replace(settings, teacher=name)


def teacher_of(shown: bpy.types.PropertyGroup) -> str:
    """The teacher that a run with the scene's settings would have."""
    words = {name: getattr(shown, name) for name in ("prompt", "negative", "target", "remove", "keep", "teacher")}
    return settled(JobSettings(kind="edit" if shown.mode == "EDIT" else "texture", **words)).teacher


def _fitting(words: str, names: tuple[str, ...]) -> str:
    """The bundled teacher of ``names`` that knows most of ``words``; the first of those that know as many.

    Words that a teacher can only put in other words decide where all else is equal.
    """
    return min(names, key=lambda name: [len(unknown_words(words, known)) for known in _known(name)])


@cache
def _known(name: str) -> tuple[list[str], list[str]]:
    """The words of a bundled teacher with those that it puts in other words, and without."""
    said: dict[str, Any] = read_json(bundled_teachers() / name / "vocabulary.json")
    return [*said["words"], *said.get("related", {})], said["words"]
