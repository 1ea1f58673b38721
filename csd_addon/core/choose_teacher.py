"""Which bundled teacher a run has where the settings leave the choice to us ("auto")."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from .edit import way
from .settings import AUTO_TEACHER, JobSettings
from .teacher_folder import read_related, read_vocabulary
from .words import unknown_words

# Which comes first where both know as many words: what is new grows from close-ups, for which broad was trained, and
# the keeping of patterns was measured with mini.
_FOR_NEW, _FOR_KEPT = ("broad", "mini"), ("mini", "broad")


def with_chosen_teacher(settings: JobSettings, bundled: Path) -> JobSettings:
    """``settings`` with the name of a teacher in place of "auto": of those below ``bundled`` the one that knows most.

    Words that a teacher can only put in other words decide where all else is equal; then the first one is taken.
    """
    if settings.teacher != AUTO_TEACHER:
        return settings
    names, words = _FOR_NEW, f"{settings.prompt} {settings.negative}"
    if settings.kind == "edit":
        names, words = _FOR_KEPT if way(settings) == "keep" else _FOR_NEW, f"{settings.target} {settings.remove}"
    name = min(names, key=lambda name: [len(unknown_words(words, known)) for known in _known(bundled / name)])
    return replace(settings, teacher=name)


@cache
def _known(root: Path) -> tuple[list[str], list[str]]:
    """The words of a bundled teacher with those that it puts in other words, and without."""
    words = read_vocabulary(root)
    return [*words, *read_related(root)], words
