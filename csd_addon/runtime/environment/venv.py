"""A private Python environment: making, checking and removing it.

An environment is a folder below ``Paths.environments``. Its marker file is written last. It holds the sha256 of the
lists that the environment was made from, and the caller's stamp (the protocol version). So an environment that was
interrupted, or was made for another release, is told apart from a usable one. An environment can't be renamed after it
is made, hence it is made in place. Two processes never build the same one: the second waits.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Literal

from .. import folders
from ..errors import RuntimeMissing
from ..file_lock import locked
from . import compute, lockfile
from .compute import Device
from .planning import Plan
from .run_installer import Report, no_report, run_installer, run_step

State = Literal["ready", "missing", "stale", "broken", "busy"]

MARKER = "csd-environment.json"
# What the last check found: the device and the size on disk. It is only shown, so it may be missing.
CHECKED = "csd-checked.json"
# Characters of the longest path below site-packages (a licence text of torch). Windows allows 260 in a whole path.
LONGEST_PACKAGE_PATH = 174
# How long to wait for another process that builds the same environment.
LOCK_TIMEOUT = 3600.0


def python(plan: Plan) -> Path:
    """Return the environment's interpreter, existing or not."""
    return interpreter_in(plan.directory)


def interpreter_in(directory: Path) -> Path:
    """Return where the interpreter of an environment in ``directory`` lies."""
    return directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def state(plan: Plan, stamp: str) -> State:
    """Return whether the environment can be used. Looks at files only and starts nothing."""
    return inspect(plan.directory, {lockfile.digest(plan.locks)}, stamp, plan.modules)


def inspect(directory: Path, digests: Set[str], stamp: str, modules: Sequence[str]) -> State:
    """Return the state of the environment in ``directory``. Looks at files only and starts nothing.

    It is "ready" when its lists' sum is among ``digests`` (see `lockfile.digest`), its stamp is ``stamp`` and the
    ``modules`` are there; "stale" when only the sum or the stamp differs.
    """
    if not directory.exists():
        return "missing"
    try:
        marker = json.loads((directory / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return "broken"
    if not interpreter_in(directory).exists() or not all(_is_there(directory, module) for module in modules):
        return "broken"
    return "ready" if marker in [_marker(one, stamp) for one in digests] else "stale"


def _is_there(directory: Path, module: str) -> bool:
    """Return whether ``module`` lies in the environment, as a folder or a file. An import would take seconds."""
    packages = "Lib/site-packages" if os.name == "nt" else "lib/python3*/site-packages"
    # Any suffix: bpy is a compiled ``bpy/__init__.so``.
    return any(True for name in (f"{module}/__init__.*", f"{module}.*") for _ in directory.glob(f"{packages}/{name}"))


def _marker(digest: str, stamp: str) -> dict[str, str]:
    return {"locks": digest, "stamp": stamp}


def create(
    plan: Plan, stamp: str, *, report: Report = no_report, timeout: float = LOCK_TIMEOUT, again: bool = False
) -> Path:
    """Make the environment unless it is ready, and return its interpreter.

    ``report(phase, detail, fraction)`` is called at every step; an exception that it raises ends the installer.
    ``timeout``: for how many seconds to wait for another process that builds the same one. ``again``: make it anew even
    when it seems ready.
    Raises RuntimeMissing when it cannot be made. What was begun is then "broken", and the next call makes it anew.
    """
    try:
        plan.directory.parent.mkdir(parents=True, exist_ok=True)
        plan.log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeMissing(
            f"The folder {error.filename} cannot be written ({error.strerror}): choose another folder for the "
            "runtime, or set CSD_TEXTURE_HOME to one that can."
        ) from error

    def on_wait() -> None:
        report("wait", "another process is installing it; waiting for that", None)

    with locked(plan.directory.with_suffix(".lock"), timeout=timeout, on_wait=on_wait):
        if again or state(plan, stamp) != "ready":
            _build(plan, stamp, report)
    report("ready", str(plan.directory), 1.0)
    return python(plan)


def _build(plan: Plan, stamp: str, report: Report) -> None:
    report("check", "looking at the disk and the Python", 0.0)
    _check_disk(plan)
    _check_path_length(plan)
    _check_can_make(plan)
    folders.delete(plan.directory, first=MARKER)
    plan.log.unlink(missing_ok=True)
    environment = plan.installer.environment()
    report("make", "making an empty environment", 0.02)
    plan.installer.prepare()
    run_step(plan.installer.make(plan.interpreter, plan.directory), log=plan.log, environment=environment)
    count = sum(len(lockfile.pins(lock)) for lock in plan.locks)
    fill = plan.installer.fill(python(plan), plan.locks)
    run_installer(
        fill, packages=count, log=plan.log, environment=environment, report=report,
        cache=plan.installer.uv_cache if plan.installer.uv else None,
    )  # fmt: skip
    report("verify", f"trying {', '.join(plan.modules)}", 0.95)
    check(plan)
    write_marker(plan, stamp)


def check(plan: Plan) -> Device | None:
    """Import the environment's libraries, let its torch compute, and keep what was found in ``CHECKED``.

    Returns the device; None where the environment has no torch.
    Raises RuntimeMissing when a library does not import or no device computes.
    """
    said = run_step(
        compute.check_command(python(plan), plan.modules), log=plan.log, environment=plan.installer.environment()
    )
    device = compute.read_device(said)
    found = {"device": device.to_json() if device else None, "bytes": folders.size(plan.directory)}
    (plan.directory / CHECKED).write_text(json.dumps(found), encoding="utf-8")
    return device


def _check_disk(plan: Plan) -> None:
    free = shutil.disk_usage(plan.directory.parent).free / 1e9
    if free < plan.disk_gb:
        raise RuntimeMissing(
            f"{plan.directory.parent} has {free:.1f} GB free and {plan.name} needs {plan.disk_gb:g} GB: "
            "make room, or choose a folder on another drive for the runtime."
        )


def _check_path_length(plan: Plan) -> None:
    longest = len(str(plan.directory / "Lib" / "site-packages")) + 1 + LONGEST_PACKAGE_PATH
    if os.name == "nt" and longest >= 260:
        raise RuntimeMissing(
            f"{plan.directory} is too long for Windows, which allows 260 characters in a path: choose a "
            "short folder for the runtime, such as C:\\csd."
        )


def _check_can_make(plan: Plan) -> None:
    if not plan.installer.uv and not plan.interpreter.has_venv:
        raise RuntimeMissing(
            f"{plan.interpreter.executable} lacks the venv or ensurepip module: install them (on Debian and "
            f"Ubuntu the package python{plan.interpreter.version[0]}.{plan.interpreter.version[1]}-venv)."
        )


def write_marker(plan: Plan, stamp: str) -> None:
    """Declare the environment ready for ``stamp``: the last step of making it."""
    aside = plan.directory / f"{MARKER}.part"
    aside.write_text(json.dumps(_marker(lockfile.digest(plan.locks), stamp)), encoding="utf-8")
    os.replace(aside, plan.directory / MARKER)


def remove(plan: Plan) -> None:
    """Delete the environment and its log. Raises RuntimeMissing when a file in it is in use."""
    if plan.directory.exists():
        with locked(plan.directory.with_suffix(".lock"), timeout=0.0):
            folders.delete(plan.directory, first=MARKER)
    plan.log.unlink(missing_ok=True)
