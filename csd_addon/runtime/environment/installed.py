"""The worker's environments on this disk. Only files are looked at, so a panel may ask while it draws.

An environment's folder is named for what is in it (``worker-cpu-py311``). Its marker tells which list it was made from.
A list in ``locks/`` with the same sum shows that the environment belongs to this release.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import folders
from ..file_lock import is_locked, locked
from ..paths import Paths
from . import lockfile, venv
from .compute import Device
from .user_python import WORKER_MODULES
from .venv import State

# The best first.
ORDER: tuple[State, ...] = ("ready", "busy", "stale", "broken")
# For another process to release an environment. A panel that looks at it holds its lock for an instant, too.
LOCK_TIMEOUT = 2.0


@dataclass(frozen=True)
class Installed:
    """One environment."""

    directory: Path
    # "busy": another process is installing it right now.
    state: State
    # The list that it was made from. None where that is another release's.
    lock: Path | None = None
    # What its last check found; None where unknown.
    device: Device | None = None
    # Bytes on the disk when it was checked last; 0 where unknown.
    size: int = 0

    @property
    def python(self) -> Path:
        """The worker's interpreter."""
        return venv.interpreter_in(self.directory)

    @property
    def accelerator(self) -> str:
        """What its torch was built for: cpu, cuda or mps."""
        return self.directory.name.split("-")[1]

    @property
    def lacks_card(self) -> bool:
        """Whether its torch was built for CUDA and computes on the processor, although nothing is broken."""
        device = self.device
        return self.accelerator == "cuda" and device is not None and device.kind == "cpu" and not device.problem


def find(paths: Paths, stamp: str) -> Installed | None:
    """Return the environment that a job would use, else the best of those that need repair, else None.

    Of several in the best state, it is the one that was made last. ``stamp``: see `venv`.
    """
    found = [_inspect(directory, stamp) for directory in _directories(paths)]
    return min(found, key=lambda one: (ORDER.index(one.state), -_made_at(one.directory)), default=None)


def _directories(paths: Paths) -> list[Path]:
    return [folder for folder in sorted(paths.environments.glob("worker-*-py*")) if folder.is_dir()]


def _inspect(directory: Path, stamp: str) -> Installed:
    _, accelerator, tag = directory.name.split("-", 2)
    # Each platform has a list for this accelerator and Python. The digest tells which one was used.
    digests = {lockfile.digest([lock]): lock for lock in lockfile.LOCKS.glob(f"worker-*-{accelerator}-{tag}.txt")}
    state = venv.inspect(directory, set(digests), stamp, WORKER_MODULES)
    if state != "ready" and is_locked(directory.with_suffix(".lock")):
        state = "busy"
    lock = digests.get(_read_json(directory / venv.MARKER).get("locks", ""))
    checked = _read_json(directory / venv.CHECKED)
    return Installed(directory, state, lock, Device.from_json(checked.get("device")), int(checked.get("bytes", 0)))


def _read_json(file: Path) -> dict[str, Any]:
    """Return the content of a small JSON file; empty where there is none or where it is damaged."""
    try:
        kept = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _made_at(directory: Path) -> float:
    marker = directory / venv.MARKER
    return marker.stat().st_mtime if marker.exists() else 0.0


def log(paths: Paths) -> Path | None:
    """Return the log of the newest installation, if one is kept."""
    return max(paths.logs.glob("install-worker-*.log"), key=lambda file: file.stat().st_mtime, default=None)


def remove_others(paths: Paths, keep: Path) -> None:
    """Delete the environments beside the one in ``keep``: another release's, or for another accelerator."""
    for directory in _directories(paths):
        if directory != keep:
            _remove(directory)


def _remove(directory: Path) -> int:
    """Delete one environment with its lock file; returns its size in bytes."""
    lock = directory.with_suffix(".lock")
    with locked(lock, timeout=LOCK_TIMEOUT, delete=True):
        freed = folders.size(directory)
        folders.delete(directory, first=venv.MARKER)
    return freed


def remove_all(paths: Paths) -> int:
    """Delete every environment of the worker, what was fetched for them, and their logs. Returns the bytes freed.

    Teachers, jobs and the user's choices stay. Raises RuntimeMissing when an environment is being installed or is in
    use.
    """
    freed = sum(_remove(directory) for directory in _directories(paths))
    for folder in (*paths.cache.glob("uv*"), paths.cache / "pycache"):
        if folder.is_dir():
            # `installer.unpack` holds this lock while it writes into such a folder.
            with locked(folder.with_suffix(".lock"), timeout=LOCK_TIMEOUT, delete=True):
                freed += folders.size(folder)
                folders.delete(folder)
    for file in paths.logs.glob("install-worker-*.log"):
        file.unlink()
    for folder in (paths.cache, paths.environments, paths.logs, paths.environments.parent, paths.base):
        with contextlib.suppress(OSError):  # not empty: something of the artist's, or of the tests, is there
            folder.rmdir()
    return freed
