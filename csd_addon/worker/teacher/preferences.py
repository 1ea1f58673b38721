"""What a teacher's folder says of itself: ``csd.json``, what it likes, and ``vocabulary.json``, what it knows.

Both may be missing. Raises ``JobFailure`` (kind "teacher") where one is damaged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..serve.control import JobFailure


def read_preferences(root: Path) -> dict[str, Any]:
    """What the teacher likes: its ``csd.json``, or {} without one. Raises ``JobFailure`` if it is damaged.

    Of a single file it is ``NAME.csd.json`` beside ``NAME.safetensors``.
    """
    return _read_json(root.with_suffix(".csd.json") if root.is_file() else root / "csd.json")


def read_vocabulary(root: Path) -> list[str]:
    """The words that the teacher knows, from its ``vocabulary.json``; [] for a teacher without such a list."""
    words: list[str] = _read_json(root / "vocabulary.json").get("words", [])
    return words


def read_related(root: Path) -> dict[str, str]:
    """Words that the teacher does not know, each with what to write instead, from its ``vocabulary.json``; or {}."""
    related: dict[str, str] = _read_json(root / "vocabulary.json").get("related", {})
    return related


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise JobFailure("teacher", f"The teacher's file {path} is damaged: {error}") from error
    return values
