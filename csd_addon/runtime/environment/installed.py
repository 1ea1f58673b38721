"""The worker's environments that lie on this disk, found by looking at files alone, so that a panel may ask.

An environment's folder is named for what is in it (``worker-cpu-py311``), its marker tells which list it was made
from, and the list of that name in ``locks/`` tells whether it is this release's.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import folders
from ..file_lock import exclusive, is_held
from ..paths import Paths
from . import lockfile, venv
from .compute import Device
from .user_python import WORKER_MODULES
from .venv import State

# The best first.
ORDER: tuple[State, ...] = ("ready", "busy", "stale", "broken")
# For another process to let go of an environment; a panel that looks holds it for an instant, too.
PATIENCE = 2.0


@dataclass(frozen=True)
class Installed:
    """One environment; the state "busy": another process is installing it right now.

    ``lock`` is the list that it was made from, None where that is another release's.
    ``device`` and ``size`` (bytes) are what its last check found; None and 0 where unknown.
    """

    directory: Path
    state: State
    lock: Path | None = None
    device: Device | None = None
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
        """Whether its torch was built for a card and computes on the processor, with nothing broken."""
        device = self.device
        return self.accelerator == "cuda" and device is not None and device.kind == "cpu" and not device.problem


def find(paths: Paths, stamp: str) -> Installed | None:
    """Return the environment that a job would use, or the best of those that need repair; None where there is none.

    Of several that are ready, the one that was made last.
    """
    found = [_look(directory, stamp) for directory in _directories(paths)]
    return min(found, key=lambda one: (ORDER.index(one.state), -_age(one.directory)), default=None)


def _directories(paths: Paths) -> list[Path]:
    return [folder for folder in sorted(paths.environments.glob("worker-*-py*")) if folder.is_dir()]


def _look(directory: Path, stamp: str) -> Installed:
    _, accelerator, tag = directory.name.split("-", 2)
    # One for each platform; the digest tells which.
    digests = {lockfile.digest([lock]): lock for lock in lockfile.LOCKS.glob(f"worker-*-{accelerator}-{tag}.txt")}
    state = venv.inspect(directory, set(digests), stamp, WORKER_MODULES)
    if state != "ready" and is_held(directory.with_suffix(".lock")):
        state = "busy"
    lock = digests.get(_kept(directory / venv.MARKER).get("locks", ""))
    checked = _kept(directory / venv.CHECKED)
    return Installed(directory, state, lock, Device.from_json(checked.get("device")), int(checked.get("bytes", 0)))


def _kept(file: Path) -> dict[str, Any]:
    """The content of one of our small files; empty where there is none, or where it was cut short."""
    try:
        kept = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _age(directory: Path) -> float:
    marker = directory / venv.MARKER
    return marker.stat().st_mtime if marker.exists() else 0.0


def log(paths: Paths) -> Path | None:
    """Return what the newest installation said, if any is kept."""
    return max(paths.logs.glob("install-worker-*.log"), key=lambda file: file.stat().st_mtime, default=None)


def remove_others(paths: Paths, keep: Path) -> None:
    """Delete the environments beside the one in ``keep``: another release's, or for another accelerator."""
    for directory in _directories(paths):
        if directory != keep:
            _remove(directory)


def _remove(directory: Path) -> int:
    """Delete one environment with its lock file; returns its size in bytes."""
    lock = directory.with_suffix(".lock")
    with exclusive(lock, patience=PATIENCE):
        freed = folders.size(directory)
        folders.delete(directory, first=venv.MARKER)
    lock.unlink()
    return freed


def remove_all(paths: Paths) -> int:
    """Delete every worker's environment, what was fetched for them, and their logs; returns the bytes of all that.

    Teachers, jobs and the user's choices stay. Raises RuntimeMissing when one is being installed or is in use.
    """
    freed = sum(_remove(directory) for directory in _directories(paths))
    for folder in (*paths.cache.glob("uv*"), paths.cache / "pycache"):
        if folder.is_dir():
            freed += folders.size(folder)
            folders.delete(folder)
    for file in paths.logs.glob("install-worker-*.log"):
        file.unlink()
    for folder in (paths.cache, paths.environments, paths.logs, paths.environments.parent, paths.base):
        with contextlib.suppress(OSError):  # not empty: something of the artist's, or of the tests, is there
            folder.rmdir()
    return freed
