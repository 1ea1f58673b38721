"""What is right and what is wrong on this machine, each with its remedy. Changes nothing but a test file."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from . import environment
from .catalogue import find_teacher
from .errors import RuntimeMissing, TeacherMissing
from .named import check_worker_python, named_python
from .paths import Paths

# Room for a job folder (mesh, checkpoints, previews, images): a margin, not a measurement.
JOB_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``sentence`` says what was found, ``remedy`` what to do ("" when ``ok``)."""

    name: str
    ok: bool
    sentence: str
    remedy: str = ""


def examine(paths: Paths, stamp: str, *, teacher: str = "mini") -> list[Finding]:
    """Look at the interpreter, the worker's environment, the folders, the disk and ``teacher``."""
    return [
        _own_interpreter(),
        _worker(stamp, paths),
        *_folders(paths),
        _disk(paths),
        _teacher(paths, teacher),
    ]


def _own_interpreter() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("interpreter", True, f"This is Python {version} at {sys.executable}.")


def _worker(stamp: str, paths: Paths) -> Finding:
    try:
        if named := named_python():
            check_worker_python(named)
            return Finding("worker", True, f"The worker runs in {named}, which CSD_WORKER_PYTHON names.")
        plan = environment.plan_worker(paths)
    except RuntimeMissing as error:
        return Finding("worker", False, str(error), "Follow the sentence above, then look again.")
    state = environment.state(plan, stamp)
    sentence = f"The worker's environment {plan.directory} is {state}."
    if state == "ready":
        return Finding("worker", True, sentence)
    return Finding("worker", False, sentence, "Install the runtime; a demo or texture run does that first.")


def _folders(paths: Paths) -> Iterator[Finding]:
    for folder in (paths.environments, paths.jobs, paths.logs, paths.cache):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                yield Finding(f"folder {folder.name}", True, f"{folder} can be written.")
        except OSError as error:
            sentence = f"{folder} cannot be written ({error.strerror})."
            remedy = "Set CSD_TEXTURE_HOME to a folder that can."
            yield Finding(f"folder {folder.name}", False, sentence, remedy)


def _disk(paths: Paths) -> Finding:
    existing = next(folder for folder in (paths.base, *paths.base.parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free / 1e9
    sentence = f"{free:.1f} GB are free for {paths.base}."
    if free < JOB_GB:
        return Finding("disk", False, sentence, f"Make room: a job wants {JOB_GB:g} GB.")
    return Finding("disk", True, sentence)


def _teacher(paths: Paths, name: str) -> Finding:
    try:
        folders = find_teacher(name, paths)
    except TeacherMissing as error:
        remedy = "Follow the sentence above, or use another teacher."
        return Finding(f"teacher {name}", False, str(error), remedy)
    return Finding(f"teacher {name}", True, f"The teacher {name} lies in {folders.root}, complete.")
