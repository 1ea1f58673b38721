"""``python3 -m csd_addon explain``: every number of a run, its value, and which layer decided it. Starts nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from ..core.choose_teacher import with_chosen_teacher
from ..core.recipe import method_of
from ..core.resolving import explained, resolve
from ..core.teacher_folder import read_preferences
from ..runtime.paths import Paths, bundled_teachers
from ..runtime.teachers import catalogue
from .arguments import job_settings


def run(words: argparse.Namespace, paths: Paths, write: Callable[[str], None]) -> dict[str, Any]:
    """Write a table; returns the same as one message.

    Raises ``ValueError`` on bad input or a damaged teacher, ``TeacherMissing`` if it is not there.
    """
    settings = job_settings(words, "edit" if words.edit else "texture")
    # The numbers do not need words; only "keep" and the choice of a teacher read them.
    spoken = replace(settings, prompt=settings.prompt or "any", target=settings.target or "any")
    spoken.validate()
    settings = with_chosen_teacher(settings, bundled_teachers())
    preferences = read_preferences(catalogue.find_teacher(settings.teacher, paths).root)
    rows = explained(settings, preferences)
    method = method_of(resolve(settings, preferences), settings.loss)
    shown = [(f"{row.part}.{row.name}", _value(row.value), row.source) for row in rows]
    wide = [max(len(row[k]) for row in shown) for k in (0, 1)]
    write(f"{method} with the teacher '{settings.teacher}', preset {settings.preset}:")
    for name, value, source in shown:
        write(f"{name:{wide[0]}}  {value:{wide[1]}}  {source}")
    numbers = [asdict(row) for row in rows]
    return {"type": "explained", "method": method, "teacher": settings.teacher, "numbers": numbers}


def _value(value: Any) -> str:
    """A number as ``--set`` takes it."""
    if isinstance(value, tuple):
        constant = len(value) == 4 and value[1] == value[2]
        return f"{value[1]:g}" if constant else ",".join(f"{number:g}" for number in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else repr(value) if value == "" else str(value)
