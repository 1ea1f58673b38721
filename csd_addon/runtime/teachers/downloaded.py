"""Downloaded teachers: fetching one, how much of it is on this disk, verifying and removing it.

A teacher goes to ``Paths.teachers / IDENTIFIER``. ``downloaded.json`` there keeps the sum of every file that came. So a
file whose sum nobody knew beforehand can be verified later, too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import DownloadFailed
from ..file_lock import locked
from ..paths import Paths
from . import file_download
from .remote import RemoteFile, RemoteTeacher

RECORD = "downloaded.json"
# Held while files are fetched or removed.
LOCK = "download.lock"
LOCK_TIMEOUT = 1.0
# Between two reports of progress.
REPORT_SECONDS = 0.5
# The speed is averaged over the last seconds.
SPEED_SECONDS = 5.0


@dataclass(frozen=True)
class Progress:
    """How far a download is."""

    # Which file comes now: its place below the teacher's folder.
    file: str
    # Bytes of all files that are on the disk, and that will be.
    done: int
    total: int
    # Bytes per second.
    speed: float


@dataclass(frozen=True)
class State:
    """How much of a teacher is on this disk."""

    # "ready", "begun" or "absent".
    status: str
    # Bytes that are there.
    done: int
    # Where it lies or would lie.
    folder: Path


def folder_of(teacher: RemoteTeacher, paths: Paths) -> Path:
    """Return the folder of a downloaded teacher, existing or not."""
    return paths.teachers / teacher.identifier


def state(teacher: RemoteTeacher, paths: Paths) -> State:
    """Return how much of the teacher is on this disk. Looks at names and sizes only."""
    folder = folder_of(teacher, paths)
    done = [_present(folder / file.target) for file in teacher.files]
    if all((folder / file.target).is_file() for file in teacher.files):
        return State("ready", sum(done), folder)
    return State("begun" if any(done) else "absent", sum(done), folder)


def _present(target: Path) -> int:
    for file in (target, target.with_name(target.name + ".part")):
        if file.is_file():
            return file.stat().st_size
    return 0


def fetch(teacher: RemoteTeacher, paths: Paths, *, mirror: str | None, report: Callable[[Progress], None]) -> Path:
    """Download what is missing of the teacher and return its folder.

    ``mirror``: the URL of a hub that is tried before the usual ones. ``report`` is called every half second.
    Raises DownloadFailed with one sentence; a later call continues where this one ended. Raises RuntimeMissing when
    another process is downloading it.
    """
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        raise DownloadFailed("Online access is off (HF_HUB_OFFLINE is set), so nothing is downloaded.")
    folder = folder_of(teacher, paths)
    there = sum(_present(folder / file.target) for file in teacher.files)
    file_download.require_space(folder, teacher.size - there)
    meter = _ProgressMeter(teacher, folder, report)
    with locked(folder / LOCK, timeout=LOCK_TIMEOUT):
        for file in teacher.files:
            target = folder / file.target
            if target.is_file():
                continue
            request = file_download.FileRequest(
                target, file.addresses(mirror), file.limit, file.size if file.exact else None, file.sha256
            )
            found = file_download.fetch(request, partial(meter.update, file))
            _record_sum(folder, file.target, found)
    return folder


class _ProgressMeter:
    """Turns the bytes of one file into reports of the progress of all files."""

    def __init__(self, teacher: RemoteTeacher, folder: Path, report: Callable[[Progress], None]) -> None:
        self._teacher, self._folder, self._report = teacher, folder, report
        self._reported = 0.0
        # (time in seconds, bytes on the disk)
        self._samples: list[tuple[float, int]] = []

    def update(self, file: RemoteFile, done: int, length: int) -> None:
        now = time.monotonic()
        if now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        others = (self._folder / other.target for other in self._teacher.files if other != file)
        total = sum(_present(other) for other in others) + done
        recent = [(when, count) for when, count in self._samples if now - when < SPEED_SECONDS]
        self._samples = [*recent, (now, total)]
        first, before = self._samples[0]
        span = now - first
        speed = (total - before) / span if span > 0 else 0.0
        self._report(Progress(file.target, total, max(self._teacher.size, total), speed))


def _record_sum(folder: Path, target: str, sha256: str) -> None:
    record = folder / RECORD
    aside = record.with_name(record.name + ".part")
    aside.write_text(json.dumps({**_recorded_sums(folder), target: sha256}, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, record)


def _recorded_sums(folder: Path) -> dict[str, str]:
    try:
        values = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):  # an unreadable record says nothing about any file
        return {}
    return values if isinstance(values, dict) else {}


@dataclass(frozen=True)
class Verdict:
    """What `verify` found about one file."""

    # Its place below the teacher's folder.
    file: str
    ok: bool
    # A predicate whose subject is the file, without a full stop: "is missing".
    sentence: str


def verify(teacher: RemoteTeacher, paths: Paths) -> Iterator[Verdict]:
    """Read every file of the teacher and compare its length, structure and sum with what is known of them."""
    folder = folder_of(teacher, paths)
    recorded = _recorded_sums(folder)
    for file in teacher.files:
        yield _verdict(file, folder / file.target, recorded.get(file.target))


def _verdict(file: RemoteFile, path: Path, recorded: str | None) -> Verdict:
    if not path.is_file():
        return Verdict(file.target, False, "is missing")
    size = path.stat().st_size
    if file.exact and size != file.size:
        return Verdict(file.target, False, f"has {size} bytes in place of {file.size}")
    if problem := file_download.find_damage(path, file.target):
        return Verdict(file.target, False, f"is damaged: {problem}")
    expected = file.sha256 or recorded
    if expected is None:
        return Verdict(file.target, True, "has a sound structure; no sum is known for it")
    if file_download.sha256_of(path) != expected:
        return Verdict(file.target, False, "does not have the sum that it should have")
    return Verdict(file.target, True, "is what was published" if file.sha256 else "is what was downloaded")


def remove(teacher: RemoteTeacher, paths: Paths) -> list[Path]:
    """Delete the files that were downloaded, and folders that are then empty.

    Returns the files in the teacher's folder that are not from the download; they stay. Raises RuntimeMissing when
    another process is downloading the teacher.
    """
    folder = folder_of(teacher, paths)
    if not folder.is_dir():
        return []
    with locked(folder / LOCK, timeout=LOCK_TIMEOUT, delete=True):
        for file in teacher.files:
            for path in (folder / file.target, folder / f"{file.target}.part"):
                path.unlink(missing_ok=True)
        for name in (RECORD, RECORD + ".part"):
            (folder / name).unlink(missing_ok=True)
    for part in {(folder / file.target).parent for file in teacher.files} | {folder}:
        if part.is_dir() and not any(part.iterdir()):
            part.rmdir()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
