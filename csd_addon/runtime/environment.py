"""Private Python environments: planned, made, verified, removed.

An environment is a folder below ``paths.environments``. Its marker file is written last and holds the
sha256 of the lists it was made from and a stamp of the caller's (the protocol version), so one that was
interrupted, or made for another release, is told apart from a usable one. Environments cannot be renamed
after they are made, hence made in place. Two processes never build the same one: the second waits.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import lockfile
from .errors import RuntimeMissing
from .exclusive import exclusive
from .installer import Installer, choose_installer
from .interpreter import SUPPORTED, Interpreter, usable
from .named import WORKER_MODULES
from .paths import Paths, bundled_wheels
from .steps import Report, import_check, quiet, run_installer, run_step

State = Literal["ready", "missing", "stale", "broken"]

MARKER = "csd-environment.json"
BLENDER_MODULES = ("bpy",)
# Measured on Linux after installing: 1.3 GB (worker, CPU) and 1.0 GB (bpy 4.5 and 5.2); the rest is room for
# the downloads that pip keeps aside meanwhile. CUDA is an estimate: 5 to 7 GB installed.
DISK_GB = {"worker-cuda": 12.0, "worker": 3.0, "blender": 3.0}
# Windows' 260 characters less the longest file below site-packages (a licence text of torch's).
LONGEST_PACKAGE_PATH = 174
WAIT_SECONDS = 3600.0


@dataclass(frozen=True)
class Plan:
    """One environment: what it is called, which Python it starts from, what goes into it, and where.

    ``locks`` are hash-pinned requirement lists, installed together; ``modules`` are imported once at the
    end to see that the result works; ``accelerator`` is "cpu", "cuda", "mps" or "" (none asked for).
    """

    name: str
    interpreter: Interpreter
    locks: tuple[Path, ...]
    directory: Path
    log: Path
    installer: Installer
    modules: tuple[str, ...]
    disk_gb: float
    accelerator: str = ""


def plan_worker(paths: Paths, *, interpreter: Path | None = None) -> Plan:
    """Plan the worker's environment; ``interpreter`` (default: this process's) is tried first.

    Raises RuntimeMissing when no Python on this machine fits a list.
    """
    return _plan("worker", paths, interpreter=interpreter, modules=WORKER_MODULES)


def plan_blender(paths: Paths, *, interpreter: Path | None = None) -> Plan:
    """Plan an environment with Blender as a Python module, for work without a Blender program.

    Raises RuntimeMissing when no Python on this machine fits a list.
    """
    return _plan("blender", paths, interpreter=interpreter, modules=BLENDER_MODULES)


def _plan(kind: str, paths: Paths, *, interpreter: Path | None, modules: tuple[str, ...]) -> Plan:
    first = interpreter or Path(sys.executable)
    answered, refused = usable(first)
    installers = {
        found: choose_installer(found, wheels=bundled_wheels(), cache=paths.cache) for found in answered
    }
    folders = [folder for one in installers.values() for folder in one.settings.folders]
    choice = lockfile.choose(kind, answered, wheel_folders=folders)
    if choice is None:
        raise RuntimeMissing(_nothing_fits(kind, answered, refused))
    name = "-".join(filter(None, (kind, choice.accelerator, choice.interpreter.tag)))
    return Plan(
        name=name,
        interpreter=choice.interpreter,
        locks=(choice.lock,),
        directory=paths.environments / name,
        log=paths.logs / f"install-{name}.log",
        installer=installers[choice.interpreter],
        modules=modules,
        disk_gb=DISK_GB.get(f"{kind}-{choice.accelerator}", DISK_GB[kind]),
        accelerator=choice.accelerator,
    )


def _nothing_fits(kind: str, answered: Sequence[Interpreter], refused: Sequence[str]) -> str:
    what = "Blender as a Python module" if kind == "blender" else "the texture worker"
    found = [f"{one.executable} ({one.version[0]}.{one.version[1]}, {one.platform})" for one in answered]
    other = "" if kind == "blender" else ", or name one that has torch and diffusers in CSD_WORKER_PYTHON"
    return (
        f"No Python here fits {what}: install Python {' or '.join(SUPPORTED)} on 64-bit Linux, Windows or "
        f"an Apple-silicon Mac{other}. Found: {'; '.join([*found, *refused]) or 'none'}."
    )


def python(plan: Plan) -> Path:
    """Return the environment's interpreter, existing or not."""
    return plan.directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def state(plan: Plan, stamp: str) -> State:
    """Tell whether the environment can be used: looks at files only, starts nothing."""
    if not plan.directory.exists():
        return "missing"
    try:
        marker = json.loads((plan.directory / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return "broken"
    if not python(plan).exists():
        return "broken"
    return "ready" if marker == _marker(plan, stamp) else "stale"


def _marker(plan: Plan, stamp: str) -> dict[str, str]:
    return {"locks": lockfile.digest(plan.locks), "stamp": stamp}


def create(plan: Plan, stamp: str, *, report: Report = quiet, patience: float = WAIT_SECONDS) -> Path:
    """Make the environment unless it is ready, and return its interpreter.

    ``report(phase, detail, fraction)`` is told of every step; an exception it raises ends the installer.
    ``patience`` is for how many seconds to wait for another process that is building the same one.
    Raises RuntimeMissing when it cannot be made; what was begun is then found "broken" and made anew.
    """
    _make_folders(plan)
    with exclusive(plan.directory.with_suffix(".lock"), patience=patience):
        if state(plan, stamp) != "ready":
            _build(plan, stamp, report)
    report("ready", str(plan.directory), 1.0)
    return python(plan)


def _make_folders(plan: Plan) -> None:
    try:
        plan.directory.parent.mkdir(parents=True, exist_ok=True)
        plan.log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeMissing(
            f"The folder {error.filename} cannot be written ({error.strerror}): set CSD_TEXTURE_HOME to a "
            "folder that can."
        ) from error


def _build(plan: Plan, stamp: str, report: Report) -> None:
    report("check", f"{plan.interpreter.executable} in {plan.directory}", 0.0)
    _check_disk(plan)
    _check_path_length(plan)
    _check_can_make(plan)
    _delete(plan.directory)
    plan.log.unlink(missing_ok=True)
    environment = plan.installer.environment()
    report("make", str(plan.directory), 0.02)
    plan.installer.prepare()
    run_step(plan.installer.make(plan.interpreter, plan.directory), log=plan.log, environment=environment)
    count = sum(len(lockfile.pins(lock)) for lock in plan.locks)
    fill = plan.installer.fill(python(plan), plan.locks)
    run_installer(fill, packages=count, log=plan.log, environment=environment, report=report)
    report("verify", ", ".join(plan.modules), 0.95)
    run_step(import_check(python(plan), plan.modules), log=plan.log, environment=environment)
    write_marker(plan, stamp)


def _check_disk(plan: Plan) -> None:
    free = shutil.disk_usage(plan.directory.parent).free / 1e9
    if free < plan.disk_gb:
        raise RuntimeMissing(
            f"{plan.directory.parent} has {free:.1f} GB free and {plan.name} needs {plan.disk_gb:g} GB: "
            "make room, or set CSD_TEXTURE_HOME to a folder on another drive."
        )


def _check_path_length(plan: Plan) -> None:
    longest = len(str(plan.directory / "Lib" / "site-packages")) + 1 + LONGEST_PACKAGE_PATH
    if os.name == "nt" and longest >= 260:
        raise RuntimeMissing(
            f"{plan.directory} is too long for Windows, which allows 260 characters in a path: set "
            "CSD_TEXTURE_HOME to a short folder such as C:\\csd."
        )


def _check_can_make(plan: Plan) -> None:
    if not plan.installer.uv and not plan.interpreter.has_venv:
        raise RuntimeMissing(
            f"{plan.interpreter.executable} lacks the venv or ensurepip module: install them (on Debian and "
            f"Ubuntu the package python{plan.interpreter.version[0]}.{plan.interpreter.version[1]}-venv)."
        )


def write_marker(plan: Plan, stamp: str) -> None:
    """Declare the environment ready for ``stamp``: the last act of making it."""
    aside = plan.directory / f"{MARKER}.part"
    aside.write_text(json.dumps(_marker(plan, stamp)), encoding="utf-8")
    os.replace(aside, plan.directory / MARKER)


def remove(plan: Plan) -> None:
    """Delete the environment and its log. Raises RuntimeMissing when a file in it is in use."""
    if plan.directory.exists():
        with exclusive(plan.directory.with_suffix(".lock"), patience=0.0):
            _delete(plan.directory)
    plan.log.unlink(missing_ok=True)


def _delete(directory: Path) -> None:
    try:
        # First, so that a removal that is interrupted leaves nothing that looks usable.
        (directory / MARKER).unlink(missing_ok=True)
        if directory.exists():
            shutil.rmtree(directory)
    except OSError as error:
        raise RuntimeMissing(
            f"{error.filename} cannot be deleted ({error.strerror}): close the programs that use it."
        ) from error
