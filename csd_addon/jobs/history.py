"""The history of runs, read from their job folders (``folder.py``). It is kept nowhere else.

A folder that can't be read is listed as damaged, with a sentence. The rest of the list is not affected. The files
were written by another program, perhaps by an older version: every value is checked before it is used.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .folder import JobFolder, read_json

# (iteration, value) in the order of the run.
Curve = list[tuple[int, float]]

# The last message of a job lies within this many bytes of the end of its events.
_TAIL = 65536


@dataclass(frozen=True)
class Entry:
    """One run."""

    folder: JobFolder
    # "done", "cancelled", "unfinished" (failed, still running, or its machine went down) or "damaged".
    state: str
    # The name of the textured object.
    object: str
    # As in ``job.json``; empty if there is none.
    settings: dict[str, Any]
    # As in ``report.json``; empty if there is none.
    report: dict[str, Any]
    # When it was set up, in seconds since the epoch.
    date: float
    # When its worker last sent a message, in seconds since the epoch.
    changed: float
    # Bytes on disk.
    size: int
    # A sentence that says what is damaged, else "".
    problem: str
    # Changes when the folder does.
    stamp: tuple[float, ...]

    @property
    def is_edit(self) -> bool:
        return self.settings.get("kind") == "edit"

    @property
    def words(self) -> str:
        """The prompt, or what an edit shall show (its target)."""
        return str(self.settings.get("target" if self.is_edit else "prompt", ""))

    @property
    def seconds(self) -> float:
        """How long the run took; 0 if it gave no result."""
        return number(self.report.get("seconds"), "total") or 0.0

    @property
    def picture(self) -> Path | None:
        """The best image file of the texture that is there. Of several tiles it is the first."""
        result, preview = self.folder.result, self.folder.preview
        places = ((result, "basecolor*.png"), (result, "edited*.png"), (result, "edited*.exr"), (preview, "*.png"))
        found = (path for folder, name in places for path in sorted(folder.glob(name)))
        return next((path for path in found if ".part" not in path.name), None)

    @property
    def thumbnail(self) -> Path | None:
        """The picture of the textured object, or the texture where the run ended before it was drawn."""
        return self.folder.thumbnail if self.folder.thumbnail.is_file() else self.picture

    @property
    def plot(self) -> Path | None:
        """The plot of the gradient norms, if it was drawn."""
        return self.folder.plot if self.folder.plot.is_file() else None


def list_runs(parent: Path, known: Iterable[Entry] = ()) -> list[Entry]:
    """Return the runs whose job folders lie in ``parent``, newest first; [] if there is no such folder.

    ``known``: entries from an earlier call. Where a folder has not changed since, its entry is used again.
    """
    try:
        found = [item for item in os.scandir(parent) if item.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    former = {(entry.folder, entry.stamp): entry for entry in known}
    folders = [JobFolder(Path(item.path)) for item in found]
    entries = [former.get((folder, _stamp(folder))) or _entry(folder) for folder in folders]
    return sorted(entries, key=lambda entry: (-entry.date, entry.folder.path.name))


def delete_run(folder: JobFolder, parent: Path) -> None:
    """Delete a job folder. Raises ``ValueError`` if it does not lie in ``parent``.

    Raises ``OSError`` if a file can't be deleted. What is left is listed as damaged and can be deleted again.
    """
    if folder.path.parent != parent or folder.path.is_symlink() or not folder.path.is_dir():
        raise ValueError(f"{folder.path} is no job folder of the history.")
    shutil.rmtree(folder.path)


def gradient_norms(folder: JobFolder) -> dict[str, Curve]:
    """Return name → curve for each norm in the job's progress messages.

    Iterations that a resumed run has done again count once. Lines that can't be read are left out: the last one is half
    written where a machine went down.
    """
    curves: dict[str, Curve] = {}
    for message in _messages(_text(folder.events)):
        iteration, norms = message.get("iteration"), message.get("norms")
        if message.get("type") != "progress" or not isinstance(iteration, int) or not isinstance(norms, dict):
            continue
        for name in norms:
            if (value := number(norms, name)) is not None:
                curves.setdefault(name, []).append((iteration, value))
    return {name: _forward(curve) for name, curve in curves.items()}


def number(values: Any, name: str) -> float | None:
    """``values[name]`` if ``values`` is a dict with a finite number there."""
    value = values.get(name) if isinstance(values, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _entry(folder: JobFolder) -> Entry:
    stamp = _stamp(folder)
    name, state, problem = "", "damaged", ""
    settings: dict[str, Any] = {}
    report: dict[str, Any] = {}
    try:
        name, settings = _job(folder)
        report = read_json(folder.report) if folder.report.is_file() else {}
        state = "done" if report else _state(folder)
    except (OSError, ValueError) as error:
        problem = str(error)
    date, changed = _date(folder.job, folder.path), _date(folder.events)
    return Entry(folder, state, name, settings, report, date, changed, _size(folder.path), problem, stamp)


def _job(folder: JobFolder) -> tuple[str, dict[str, Any]]:
    """Return the object's name and the settings in ``job.json``. Raises ``ValueError`` if it is damaged."""
    job = read_json(folder.job)
    settings = job.get("settings")
    if not isinstance(settings, dict):
        raise ValueError(f"The file {folder.job} holds no settings.")
    return str(job.get("object", "")), settings


def _state(folder: JobFolder) -> str:
    """Return "cancelled" or "unfinished" for a run without a result."""
    messages = _messages(_text(folder.events, _TAIL))
    return "cancelled" if messages and messages[-1].get("type") == "cancelled" else "unfinished"


def _text(path: Path, tail: int = 0) -> str:
    """Return the text of a file, or of its last ``tail`` bytes; "" if there is no such file."""
    try:
        with open(path, "rb") as stream:
            if tail:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - tail))
            return stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _messages(text: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict):
            found.append(message)
    return found


def _forward(curve: Curve) -> Curve:
    """Return ``curve`` without the iterations that a resumed run has done again."""
    kept: Curve = []
    for iteration, value in curve:
        while kept and kept[-1][0] >= iteration:
            kept.pop()
        kept.append((iteration, value))
    return kept


def _date(*paths: Path) -> float:
    """Return when the first of ``paths`` that exists was last written; 0 if none exists."""
    for path in paths:
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _stamp(folder: JobFolder) -> tuple[float, ...]:
    """Return when each file and folder that ``_entry`` reads was last written."""
    return tuple(_date(path) for path in (folder.path, folder.job, folder.events, folder.result, folder.preview))


def _size(path: Path) -> int:
    """Bytes of all files below ``path``; links are not followed."""
    total = 0
    for root, _, names in os.walk(path):
        for name in names:
            # The worker of a running job renames its files all the time.
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total
