"""What a teacher's folder says of itself: ``csd.json``, what it likes, and ``vocabulary.json``, what it knows.

Both may be missing. Of a single file ``NAME.safetensors`` the first is ``NAME.csd.json`` beside it. Blender's side and
the worker read them here.

``csd.json``, every part optional; the numbers stand in the parts of ``core.recipe``:

    {"extends": "../other/csd.json",                   what it says holds where this file says nothing
     "recipe": {"method": "sample", "views": {"resolution": 64}},
     "methods": {"distill": {...}, "sample": {...}},   for one method
     "presets": {"draft": {...}},                      for one preset
     "edit": {"recipe": {...}, "methods": {...}, "keep": {...}, "replace": {...}, "presets": {...}}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TeacherDamaged(ValueError):
    """A file of a teacher's folder is not what it should be; the sentence names it."""


def read_preferences(root: Path) -> dict[str, Any]:
    """What the teacher in ``root`` (a folder, or a single file) likes; {} where it says nothing.

    Raises ``TeacherDamaged``.
    """
    return _extended(root.with_suffix(".csd.json") if root.is_file() else root / "csd.json", ())


def _extended(path: Path, before: tuple[Path, ...]) -> dict[str, Any]:
    """What ``path`` says over what it extends. before: the files that have led here."""
    values = _read_json(path)
    if "extends" not in values:
        return values
    base = (path.parent / str(values.pop("extends"))).resolve()
    if base in (path.resolve(), *before):
        raise TeacherDamaged(f"The teacher's file {path} extends {base}, which extends it in turn.")
    if not base.is_file():
        raise TeacherDamaged(f"The teacher's file {path} extends {base}, which is not there.")
    return _merged(_extended(base, (*before, path.resolve())), values)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, ``above`` where they say something different; objects are merged name by name."""
    merged = dict(below)
    for name, value in above.items():
        inner = merged.get(name)
        merged[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def read_vocabulary(root: Path) -> list[str]:
    """The words that the teacher knows; [] for one without such a list. Raises ``TeacherDamaged``."""
    words: list[str] = _read_json(root / "vocabulary.json").get("words", [])
    return words


def read_related(root: Path) -> dict[str, str]:
    """Words that the teacher does not know, each with what to write instead; or {}. Raises ``TeacherDamaged``."""
    related: dict[str, str] = _read_json(root / "vocabulary.json").get("related", {})
    return related


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TeacherDamaged(f"The teacher's file {path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise TeacherDamaged(f"The teacher's file {path} is damaged: it is no JSON object.")
    return values
