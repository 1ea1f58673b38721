"""A job on a disk that fills up: ``unshare -rm python -m tests.faults.small_disk FOLDER FREE_KB``.

Mounts a small file system of its own on FOLDER, fills it but for FREE_KB, runs a job there, makes room and resumes it.
Prints one JSON object. Nobody else sees the mount, and it goes with the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from csd_addon.jobs.process import worker_command
from tests.faults.test_worker_faults import make_folder, run

_SIZE_MB = 16


def main() -> None:
    place, free = Path(sys.argv[1]), int(sys.argv[2])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE_MB}m", "none", str(place)], check=True)
    print(json.dumps(full_then_roomy(place, free)))


def full_then_roomy(place: Path, free: int) -> dict[str, Any]:
    """How a job with ``free`` kilobytes ends in the folder ``place``, and what its resumption gives."""
    folder = make_folder(place, size=256)
    ballast = place / "ballast"
    fill(ballast, free)
    words = [*worker_command(Path(sys.executable), place.parent / "pycache"), "--fake"]
    first = run(folder, words, silence=60)
    ballast.unlink()
    second = run(folder, words, resume=True, silence=60)
    return {
        "first": first.status, "sentence": first.error.sentence if first.error else "", "second": second.status,
        "result": hashlib.sha256(folder.basecolor.read_bytes()).hexdigest(),
        "parts": [path.name for path in folder.path.rglob("*.part*")],
    }  # fmt: skip


def fill(ballast: Path, free: int) -> None:
    """Take all room of the disk but ``free`` kilobytes."""
    disk = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        file.write(bytes(max(disk.f_bavail * disk.f_frsize - 1024 * free, 0)))


if __name__ == "__main__":
    main()
