"""Which teacher a run has: the one that the settings name, or the bundled one that knows its words ("auto")."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import bpy

from ..core.settings import AUTO_TEACHER, JobSettings
from ..core.words import unknown_words
from ..jobs.folder import read_json
from ..runtime.paths import bundled_teachers

# Which comes first where both know as many words: new textures are grown from close-ups, for which broad was trained,
# and edits were measured with mini.
_FOR_TEXTURES, _FOR_EDITS = ("broad", "mini"), ("mini", "broad")


def settled(settings: JobSettings) -> JobSettings:
    """``settings`` with the name of a teacher in place of "auto"."""
    edit = settings.kind == "edit"
    words = (settings.target, settings.remove) if edit else (settings.prompt, settings.negative)
    return replace(settings, teacher=_chosen(settings.teacher, edit, *words))


def teacher_of(shown: bpy.types.PropertyGroup) -> str:
    """The teacher that a run with the scene's settings would have."""
    edit = shown.mode == "EDIT"
    return _chosen(shown.teacher, edit, *((shown.target, shown.remove) if edit else (shown.prompt, shown.negative)))


def _chosen(name: str, edit: bool, *words: str) -> str:
    return _fitting(" ".join(words), _FOR_EDITS if edit else _FOR_TEXTURES) if name == AUTO_TEACHER else name


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
