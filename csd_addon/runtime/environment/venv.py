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
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import folders
from ..errors import RuntimeMissing
from ..file_lock import locked
from ..paths import Paths, bundled_wheels
from . import compute, lockfile, sizes
from .bundle import Bundle
from .compute import Device
from .installer import Installer, choose_installer
from .interpreter import SUPPORTED, Interpreter, find_interpreters, has_nvidia
from .run_installer import Report, no_report, run_installer, run_step
from .user_python import WORKER_MODULES

State = Literal["ready", "missing", "stale", "broken", "busy"]

MARKER = "csd-environment.json"
# What the last check found: the device and the size on disk. Only for showing, so it may be missing.
CHECKED = "csd-checked.json"
BLENDER_MODULES = ("bpy",)
# Blender as a module takes 1.0 GB; the rest is room for what pip keeps aside meanwhile.
BLENDER_REQUIRED_GB = 3.0
# Windows' 260 characters less the longest file below site-packages (a licence text of torch's).
LONGEST_PACKAGE_PATH = 174
WAIT_SECONDS = 3600.0


@dataclass(frozen=True)
class Plan:
    """One environment: what it is called, which Python it starts from, what goes into it, and where.

    ``locks`` are hash-pinned requirement lists, installed together; ``modules`` are imported once at the
    end to see that the result works; ``accelerator`` is "cpu", "cuda", "mps" or "" (none asked for).
    ``disk_gb`` must be free.
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


def plan_worker(
    paths: Paths,
    *,
    interpreter: Path | None = None,
    accelerator: str = lockfile.AUTO,
    bundle: Bundle | None = None,
) -> Plan:
    """Plan the worker's environment; ``interpreter`` (default: this process's) is tried first.

    ``accelerator``: "auto", or that of a list in ``locks/``. ``bundle``: install from this folder alone.
    Raises RuntimeMissing when no Python on this machine fits a list.
    """
    return _plan("worker", paths, interpreter, WORKER_MODULES, accelerator=accelerator, bundle=bundle)


def plan_blender(paths: Paths, *, interpreter: Path | None = None) -> Plan:
    """Plan an environment with Blender as a Python module, for work without a Blender program.

    Raises RuntimeMissing when no Python on this machine fits a list.
    """
    return _plan("blender", paths, interpreter, BLENDER_MODULES)


def _plan(
    kind: str,
    paths: Paths,
    interpreter: Path | None,
    modules: tuple[str, ...],
    *,
    accelerator: str = lockfile.AUTO,
    bundle: Bundle | None = None,
) -> Plan:
    answered, refused = find_interpreters(interpreter or Path(sys.executable))
    installers = {
        found: choose_installer(found, wheels=bundled_wheels(), cache=paths.cache, bundle=bundle)
        for found in answered
    }
    wheel_folders = [folder for one in installers.values() for folder in one.settings.folders]
    choice = lockfile.choose(
        kind,
        answered,
        wheel_folders=wheel_folders,
        accelerator=accelerator,
        nvidia=has_nvidia(),
        only=bundle.list_name if bundle else None,
    )
    if choice is None:
        others = lockfile.usable_lists(kind, answered, wheel_folders=wheel_folders)
        if others and bundle is None:
            raise RuntimeMissing(_only_others_fit(accelerator, others[0].interpreter.platform))
        raise RuntimeMissing(_nothing_fits(kind, answered, refused, accelerator, bundle))
    name = "-".join(filter(None, (kind, choice.accelerator, choice.interpreter.tag)))
    return Plan(
        name=name,
        interpreter=choice.interpreter,
        locks=(choice.lock,),
        directory=paths.environments / name,
        log=paths.logs / f"install-{name}.log",
        installer=installers[choice.interpreter],
        modules=modules,
        disk_gb=sizes.REQUIRED_GB.get(choice.accelerator, BLENDER_REQUIRED_GB),
        accelerator=choice.accelerator,
    )


def _only_others_fit(accelerator: str, platform: str) -> str:
    return (
        f"The registry has no torch for '{accelerator}' on {platform}: choose Automatic, install from a bundle, or "
        "name a Python of your own."
    )


def _nothing_fits(
    kind: str, answered: Sequence[Interpreter], refused: Sequence[str], accelerator: str, bundle: Bundle | None
) -> str:
    what = "Blender as a Python module" if kind == "blender" else "the texture worker"
    what += f" from the bundle for {bundle.list_name.removeprefix('worker-')}" if bundle else ""
    what += "" if accelerator == lockfile.AUTO else f' with the accelerator "{accelerator}"'
    found = [f"{one.executable} ({one.version[0]}.{one.version[1]}, {one.platform})" for one in answered]
    other = "" if kind == "blender" else ", or name one that has torch and diffusers in CSD_WORKER_PYTHON"
    return (
        f"No Python here fits {what}: install Python {' or '.join(SUPPORTED)} on 64-bit Linux, Windows or "
        f"an Apple-silicon Mac{other}. Found: {'; '.join([*found, *refused]) or 'none'}."
    )


def python(plan: Plan) -> Path:
    """Return the environment's interpreter, existing or not."""
    return interpreter_in(plan.directory)


def interpreter_in(directory: Path) -> Path:
    """Return where the interpreter of an environment in ``directory`` lies."""
    return directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def state(plan: Plan, stamp: str) -> State:
    """Tell whether the environment can be used: looks at files only, starts nothing."""
    return inspect(plan.directory, {lockfile.digest(plan.locks)}, stamp, plan.modules)


def inspect(directory: Path, digests: Set[str], stamp: str, modules: Sequence[str]) -> State:
    """Tell the state of the environment in ``directory``; it is current when its lists are among ``digests``."""
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
    """Whether ``module`` lies in the environment, as a folder or a file. An import would take seconds."""
    packages = "Lib/site-packages" if os.name == "nt" else "lib/python3*/site-packages"
    # Any suffix: bpy is a compiled ``bpy/__init__.so``.
    return any(True for name in (f"{module}/__init__.*", f"{module}.*") for _ in directory.glob(f"{packages}/{name}"))


def _marker(digest: str, stamp: str) -> dict[str, str]:
    return {"locks": digest, "stamp": stamp}


def create(
    plan: Plan, stamp: str, *, report: Report = no_report, timeout: float = WAIT_SECONDS, again: bool = False
) -> Path:
    """Make the environment unless it is ready, and return its interpreter.

    ``report(phase, detail, fraction)`` is told of every step; an exception it raises ends the installer.
    ``timeout`` is for how many seconds to wait for another process that is building the same one. ``again`` makes it
    anew even when it seems ready.
    Raises RuntimeMissing when it cannot be made; what was begun is then found "broken" and made anew.
    """
    _make_folders(plan)

    def waiting() -> None:
        report("wait", "another process is installing it; waiting for that", None)

    with locked(plan.directory.with_suffix(".lock"), timeout=timeout, on_wait=waiting):
        if again or state(plan, stamp) != "ready":
            _build(plan, stamp, report)
    report("ready", str(plan.directory), 1.0)
    return python(plan)


def _make_folders(plan: Plan) -> None:
    try:
        plan.directory.parent.mkdir(parents=True, exist_ok=True)
        plan.log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeMissing(
            f"The folder {error.filename} cannot be written ({error.strerror}): choose another folder for the "
            "runtime, or set CSD_TEXTURE_HOME to one that can."
        ) from error


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
    """Import the environment's libraries, compute, and keep what was found for showing. None: it has no torch.

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
    """Declare the environment ready for ``stamp``: the last act of making it."""
    aside = plan.directory / f"{MARKER}.part"
    aside.write_text(json.dumps(_marker(lockfile.digest(plan.locks), stamp)), encoding="utf-8")
    os.replace(aside, plan.directory / MARKER)


def remove(plan: Plan) -> None:
    """Delete the environment and its log. Raises RuntimeMissing when a file in it is in use."""
    if plan.directory.exists():
        with locked(plan.directory.with_suffix(".lock"), timeout=0.0):
            folders.delete(plan.directory, first=MARKER)
    plan.log.unlink(missing_ok=True)
