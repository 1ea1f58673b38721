"""The runs of the past, read from their job folders (``folder.py``); nothing else remembers them.

A folder that can't be read is listed as damaged, with a sentence; it is never an error of the whole list. Text in
these files was written by another program, perhaps by an older version: every value is checked before it is used.
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

# A curve: iterations and values, in the order of the run.
Curve = list[tuple[int, float]]

# The last message of a job lies within so many bytes of the end of its events.
_TAIL = 65536


@dataclass(frozen=True)
class Entry:
    """One run.

    state: "done", "cancelled", "unfinished" (failed, still under way, or its machine went down) or "damaged".
    object: the name of the textured object. settings, report: as in ``job.json`` and ``report.json``, empty if there
    is none. date, changed: when it was set up and when its worker last said something, in seconds since the epoch.
    size: bytes on disk. problem: what is damaged, as a sentence, else empty. stamp: changes when the folder does.
    """

    folder: JobFolder
    state: str
    object: str
    settings: dict[str, Any]
    report: dict[str, Any]
    date: float
    changed: float
    size: int
    problem: str
    stamp: tuple[float, ...]

    @property
    def is_edit(self) -> bool:
        return self.settings.get("kind") == "edit"

    @property
    def words(self) -> str:
        """What the artist asked for."""
        return str(self.settings.get("target" if self.is_edit else "prompt", ""))

    @property
    def seconds(self) -> float:
        """How long it took, 0 if it gave no result."""
        return number(self.report.get("seconds"), "total") or 0.0

    @property
    def picture(self) -> Path | None:
        """An image file of the texture, the best that is there; the first one where there are several tiles."""
        result, preview = self.folder.result, self.folder.preview
        places = ((result, "basecolor*.png"), (result, "edited*.png"), (result, "edited*.exr"), (preview, "*.png"))
        found = (path for folder, name in places for path in sorted(folder.glob(name)))
        return next((path for path in found if ".part" not in path.name), None)

    @property
    def thumbnail(self) -> Path | None:
        """The picture of the textured object; of a run that ended before it was drawn, its texture."""
        return self.folder.thumbnail if self.folder.thumbnail.is_file() else self.picture

    @property
    def plot(self) -> Path | None:
        """The plot of the gradient norms, if it was drawn."""
        return self.folder.plot if self.folder.plot.is_file() else None


def list_runs(parent: Path, known: Iterable[Entry] = ()) -> list[Entry]:
    """The job folders in ``parent``, newest first; none if there is no such folder.

    known: entries from an earlier call; where the folder has not changed since, they are taken as they are.
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
    """Remove a job folder for good. Raises ``ValueError`` if it is none of ``parent``'s.

    Raises ``OSError`` where it can't be removed whole; what is left is listed as damaged and can be deleted again.
    """
    if folder.path.parent != parent or folder.path.is_symlink() or not folder.path.is_dir():
        raise ValueError(f"{folder.path} is no job folder of the history.")
    shutil.rmtree(folder.path)


def gradient_norms(folder: JobFolder) -> dict[str, Curve]:
    """Each norm that the job's progress messages carry, over the iterations; a resumed run goes on where it was.

    Lines that can't be read are left out: the last one is half written where a machine went down.
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
    """The object's name and the settings in ``job.json``. Raises ``ValueError`` if it is damaged."""
    job = read_json(folder.job)
    settings = job.get("settings")
    if not isinstance(settings, dict):
        raise ValueError(f"The file {folder.job} holds no settings.")
    return str(job.get("object", "")), settings


def _state(folder: JobFolder) -> str:
    """How a run without a result ended."""
    messages = _messages(_text(folder.events, _TAIL))
    return "cancelled" if messages and messages[-1].get("type") == "cancelled" else "unfinished"


def _text(path: Path, tail: int = 0) -> str:
    """The text of a file, or of its last ``tail`` bytes; empty if there is none."""
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
    """``curve`` without the steps that a resumed run has done again."""
    kept: Curve = []
    for iteration, value in curve:
        while kept and kept[-1][0] >= iteration:
            kept.pop()
        kept.append((iteration, value))
    return kept


def _date(*paths: Path) -> float:
    """When the first of ``paths`` that is there was last written to, 0 if none is."""
    for path in paths:
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _stamp(folder: JobFolder) -> tuple[float, ...]:
    """When what ``_entry`` looks at was last written to."""
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
