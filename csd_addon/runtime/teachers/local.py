"""Offers on this disk: what of them is there, and fetching, verifying and removing it.

An offer lies in ``Paths.teachers / IDENTIFIER``. ``downloaded.json`` there notes the sum of every file that came, so
that files whose sum nobody knew beforehand can be verified later too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import DownloadFailed
from ..file_lock import exclusive
from ..paths import Paths
from . import download
from .remote import Offer, RemoteFile

RECORD = "downloaded.json"
REPORT_SECONDS = 0.5
# Over how long the speed is measured.
SPEED_SECONDS = 5.0


@dataclass(frozen=True)
class Progress:
    """How a download goes. Bytes; speed in bytes a second."""

    file: str
    done: int
    total: int
    speed: float


@dataclass(frozen=True)
class State:
    """status: "ready", "begun" or "absent". done: bytes that are there. folder: where."""

    status: str
    done: int
    folder: Path


def folder_of(offer: Offer, paths: Paths) -> Path:
    """Where the offer lies, whether it does or not."""
    return paths.teachers / offer.identifier


def state(offer: Offer, paths: Paths) -> State:
    """What of the offer is on this disk; looks at names and sizes only."""
    folder = folder_of(offer, paths)
    done = [_present(folder / file.target) for file in offer.files]
    if all((folder / file.target).is_file() for file in offer.files):
        return State("ready", sum(done), folder)
    return State("begun" if any(done) else "absent", sum(done), folder)


def _present(target: Path) -> int:
    for file in (target, target.with_name(target.name + ".part")):
        if file.is_file():
            return file.stat().st_size
    return 0


def fetch(offer: Offer, paths: Paths, *, mirror: str | None, report: Callable[[Progress], None]) -> Path:
    """Download what is missing of the offer and return its folder.

    Raises DownloadFailed with one sentence; a later call continues where this one ended.
    """
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        raise DownloadFailed("Online access is off (HF_HUB_OFFLINE is set), so nothing is downloaded.")
    folder = folder_of(offer, paths)
    missing = [file for file in offer.files if not (folder / file.target).is_file()]
    there = sum(_present(folder / file.target) for file in offer.files)
    download.require_space(folder, offer.size - there)
    folder.mkdir(parents=True, exist_ok=True)
    meter = _Meter(offer, folder, report)
    with exclusive(folder / "download.lock", patience=1.0):
        for file in missing:
            wanted = _wanted(file, folder, mirror)
            found = download.fetch(wanted, lambda done, _, file=file: meter.tell(file, done))  # type: ignore[misc]
            _note(folder, file.target, found)
    (folder / "download.lock").unlink(missing_ok=True)
    return folder


def _wanted(file: RemoteFile, folder: Path, mirror: str | None) -> download.Wanted:
    return download.Wanted(
        folder / file.target, file.addresses(mirror), file.limit, file.size if file.exact else None, file.sha256
    )


class _Meter:
    """Turns the bytes of one file into the progress of all, now and then."""

    def __init__(self, offer: Offer, folder: Path, report: Callable[[Progress], None]) -> None:
        self._offer, self._folder, self._report = offer, folder, report
        self._spoke = 0.0
        self._seen: list[tuple[float, int]] = []

    def tell(self, file: RemoteFile, done: int) -> None:
        now = time.monotonic()
        if now - self._spoke < REPORT_SECONDS:
            return
        self._spoke = now
        others = (self._folder / other.target for other in self._offer.files if other != file)
        total = sum(_present(other) for other in others) + done
        self._seen = [(when, count) for when, count in self._seen if now - when < SPEED_SECONDS] + [(now, total)]
        first, before = self._seen[0]
        span = now - first
        speed = (total - before) / span if span > 0 else 0.0
        self._report(Progress(file.target, total, max(self._offer.size, total), speed))


def _note(folder: Path, target: str, sha256: str) -> None:
    record = folder / RECORD
    aside = record.with_name(record.name + ".part")
    aside.write_text(json.dumps({**_noted(folder), target: sha256}, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, record)


def _noted(folder: Path) -> dict[str, str]:
    try:
        values = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):  # an unreadable record says nothing about any file
        return {}
    return values if isinstance(values, dict) else {}


@dataclass(frozen=True)
class Verdict:
    """What became of one file: ok, and a sentence without a full stop."""

    file: str
    ok: bool
    sentence: str


def verify(offer: Offer, paths: Paths) -> Iterator[Verdict]:
    """Read every file of the offer and compare its length, structure and sum with what is known of them."""
    folder = folder_of(offer, paths)
    noted = _noted(folder)
    for file in offer.files:
        yield _verdict(file, folder / file.target, noted.get(file.target))


def _verdict(file: RemoteFile, path: Path, noted: str | None) -> Verdict:
    if not path.is_file():
        return Verdict(file.target, False, "is missing")
    size = path.stat().st_size
    if file.exact and size != file.size:
        return Verdict(file.target, False, f"has {size} bytes in place of {file.size}")
    if problem := download.damage(path, file.target):
        return Verdict(file.target, False, f"is damaged: {problem}")
    expected = file.sha256 or noted
    if expected is None:
        return Verdict(file.target, True, "has a sound structure; no sum is known for it")
    if download.sum_of(path) != expected:
        return Verdict(file.target, False, "does not have the sum that it should have")
    return Verdict(file.target, True, "is what was published" if file.sha256 else "is what was downloaded")


def remove(offer: Offer, paths: Paths) -> list[Path]:
    """Delete the offer's own files and what is left empty; returns the files in its folder that are not ours."""
    folder = folder_of(offer, paths)
    for file in offer.files:
        for path in (folder / file.target, folder / f"{file.target}.part"):
            path.unlink(missing_ok=True)
    for name in (RECORD, RECORD + ".part", "download.lock"):
        (folder / name).unlink(missing_ok=True)
    for part in {(folder / file.target).parent for file in offer.files} | {folder}:
        if part.is_dir() and not any(part.iterdir()):
            part.rmdir()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
