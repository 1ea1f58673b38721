"""The result of a diagnosis, read from its job folder for the panel. ``worker/run/diagnosis.py`` writes it.

The files were written by another program, perhaps by an older version: every value is checked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .folder import JobFolder, read_json

# The pictures of a diagnosis by what they show: Fig 2b, Fig 5 and Fig 2a of the paper.
PICTURES = {"sweep": "sweep.png", "negatives": "negatives.png", "norms": "norms.png"}


@dataclass(frozen=True)
class Verdict:
    """What the diagnosis found about one claim of the paper."""

    claim: str
    # Whether the runs show it.
    shows: bool
    # The measured numbers that say so.
    figures: str


@dataclass(frozen=True)
class Comparison:
    """The result of one diagnosis."""

    folder: JobFolder
    # The prompt.
    words: str
    verdicts: tuple[Verdict, ...]
    # The files of those of ``PICTURES`` that are there.
    pictures: dict[str, Path]


def newest_comparison(parent: Path) -> Comparison | None:
    """Return the newest finished diagnosis among the job folders in ``parent``; None if none can be read."""
    try:
        found = [Path(item.path) for item in os.scandir(parent) if item.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return None
    marked = [path for path in found if _marker(path).is_file()]
    for path in sorted(marked, key=lambda path: _marker(path).stat().st_mtime, reverse=True):
        try:
            return _read(JobFolder(path))
        except ValueError:
            # Damaged: the one before it may be whole.
            continue
    return None


def _marker(path: Path) -> Path:
    # Written last.
    return JobFolder(path).result / "diagnosis.json"


def _read(folder: JobFolder) -> Comparison:
    body = read_json(_marker(folder.path))
    settings, claims = body.get("settings"), body.get("claims")
    if not isinstance(settings, dict) or not isinstance(claims, list):
        raise ValueError(f"The file {_marker(folder.path)} holds no settings or no claims.")
    pictures = {name: folder.result / file for name, file in PICTURES.items()}
    there = {name: path for name, path in pictures.items() if path.is_file()}
    return Comparison(folder, str(settings.get("prompt", "")), tuple(map(_verdict, claims)), there)


def _verdict(claim: Any) -> Verdict:
    if not isinstance(claim, dict):
        raise ValueError("A claim of a diagnosis is no JSON object.")
    return Verdict(str(claim.get("claim", "")), claim.get("shows") is True, str(claim.get("figures", "")))
