"""What the program needs from a machine: writable folders, disk, memory, file names. Leaves nothing behind."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..environment.venv import LONGEST_PACKAGE_PATH
from ..paths import Paths

# Room for a job folder (mesh, checkpoints, previews, images). It is a margin and not a measurement.
JOB_GB = 1.0
# The worker with a bundled teacher took 1.1 GB at most. Stable Diffusion 1.5 in float32 needs about 6.
WORKER_GB = 2.0
ELSEWHERE = "Choose another folder in the add-on's preferences, or set CSD_TEXTURE_HOME to one that can."


@dataclass(frozen=True)
class Finding:
    """What was found about one thing."""

    # The thing, in a word or two.
    name: str
    ok: bool
    sentence: str
    # What to do; "" when ``ok``.
    remedy: str = ""


def examine_machine(paths: Paths) -> Iterator[Finding]:
    """Look at the folders, the disk, the memory and the names that files may have."""
    yield from _folders(paths)
    yield _disk(paths)
    yield _memory()
    yield _names(paths)
    yield _long_paths(paths)


def _folders(paths: Paths) -> Iterator[Finding]:
    for folder in (paths.environments, paths.jobs, paths.logs, paths.cache, paths.teachers):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                yield Finding(f"folder {folder.name}", True, f"{folder} can be written.")
        except OSError as error:
            sentence = f"{folder} cannot be written ({error.strerror})."
            yield Finding(f"folder {folder.name}", False, sentence, ELSEWHERE)


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.is_dir())


def _disk(paths: Paths) -> Finding:
    free = shutil.disk_usage(_existing(paths.base)).free / 1e9
    sentence = f"{free:.1f} GB are free for {paths.base}."
    if free < JOB_GB:
        return Finding("disk", False, sentence, f"Make room: a job wants {JOB_GB:g} GB.")
    return Finding("disk", True, sentence)


def _memory() -> Finding:
    free = free_memory_gb()
    if free is None:
        return Finding("memory", True, "This system does not say how much memory is free.")
    sentence = f"{free:.1f} GB of memory are free."
    if free < WORKER_GB:
        return Finding("memory", False, sentence, f"Close other programs: the worker wants {WORKER_GB:g} GB.")
    return Finding("memory", True, sentence)


def free_memory_gb() -> float | None:
    """Return the memory that a new program can have, in GB (10^9 bytes); None where it can't be known (macOS)."""
    # psutil is the worker's alone: this runs in Blender's Python, or in a bare one before anything is installed. The
    # standard library has no other way to ask Windows.
    if sys.platform == "win32":
        # MEMORYSTATUSEX: two 32-bit numbers, then seven of 64 bits; the second of these is what is available.
        status = (ctypes.c_uint64 * 8)(64)
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return status[2] / 1e9
    try:
        said = Path("/proc/meminfo").read_text("ascii")
    except OSError:
        return None
    return next(int(line.split()[1]) / 1e6 for line in said.splitlines() if line.startswith("MemAvailable:"))


def _names(paths: Paths) -> Finding:
    name = "材质 ü"
    try:
        with tempfile.TemporaryDirectory(dir=_existing(paths.base), prefix=".csd-") as scratch:
            (Path(scratch) / name).touch()
            kept = [file.name for file in Path(scratch).iterdir()] == [name]
    except (OSError, UnicodeError) as error:
        return Finding("names", False, f"A file named '{name}' cannot be made ({error}).", ELSEWHERE)
    if not kept:
        return Finding("names", False, f"A file named '{name}' got another name on this disk.", ELSEWHERE)
    return Finding("names", True, "File names may have spaces and the letters of any language.")


def _long_paths(paths: Paths) -> Finding:
    """Make a path as long as the longest of the runtime's."""
    length = len(str(paths.environments / "worker-cuda-py311" / "Lib" / "site-packages")) + LONGEST_PACKAGE_PATH
    try:
        with tempfile.TemporaryDirectory(dir=_existing(paths.base), prefix=".csd-") as scratch:
            folder = Path(scratch)
            while length - len(str(folder)) > 100:
                folder /= "x" * 50
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ("x" * max(length - len(str(folder)) - 1, 1))).touch()
    except OSError as error:
        sentence = f"Paths of {length} characters cannot be made ({os.strerror(error.errno or 0)})."
        return Finding("long paths", False, sentence, "Choose a short folder for the runtime, such as C:\\csd.")
    return Finding("long paths", True, f"Paths of {length} characters, the runtime's longest, can be made.")
