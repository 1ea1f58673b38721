"""``python3 -m csd_addon runtime …`` and ``doctor``: the worker's environment, and what is wrong on this machine."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..jobs.history import list_runs
from ..protocol import PROTOCOL_VERSION
from ..runtime import choices, folders
from ..runtime.environment import bundle, installed, lockfile, planning, venv, write_bundle
from ..runtime.environment.interpreter import has_nvidia
from ..runtime.environment.run_installer import Report
from ..runtime.environment.user_python import check_worker_python
from ..runtime.errors import RuntimeMissing
from ..runtime.machine.doctor import anonymize, examine
from ..runtime.machine.resources import Finding
from ..runtime.paths import Paths
from . import session

STAMP = str(PROTOCOL_VERSION)
ACCELERATORS = (lockfile.AUTO, "cpu", "cuda", "mps")


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``runtime`` to ``parser``."""
    parser.add_argument("action", choices=("install", "repair", "remove", "bundle", "use"))
    parser.add_argument("python", nargs="?", default="", metavar="PYTHON", help="for use: the worker's interpreter")
    parser.add_argument(
        "--accelerator", choices=ACCELERATORS, default=lockfile.AUTO,
        help="what torch is built for; auto takes CUDA's where an NVIDIA driver is",
    )  # fmt: skip
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="install from this offline bundle, with no network")
    parser.add_argument("--output", type=Path, metavar="DIR", help="for bundle: the folder to fill")


def run_runtime(words: argparse.Namespace, paths: Paths, report: Report) -> str:
    """Carry out one action and return a sentence that says what was done.

    Raises RuntimeMissing when it can't be done, ValueError on wrong arguments.
    """
    if words.action in ("install", "repair"):
        return _install(words, paths, report)
    if words.action == "bundle":
        return _bundle(words, paths, report)
    return _use(words, paths) if words.action == "use" else _remove(paths)


def _install(words: argparse.Namespace, paths: Paths, report: Report) -> str:
    found = installed.find(paths, STAMP)
    accelerator = words.accelerator
    if words.action == "repair" and found and accelerator == lockfile.AUTO:
        accelerator = found.accelerator
    # "auto" takes CUDA's build where there is no card, too, if the registry has no other, as on Linux. It may be kept.
    is_so_already = found is not None and found.accelerator == "cuda"
    if words.accelerator == "cuda" and not (has_nvidia() or is_so_already):
        raise RuntimeMissing("No NVIDIA driver is here: install the card's driver first, or leave the choice to auto.")
    offline = bundle.read(words.bundle.expanduser().absolute()) if words.bundle else None
    plan = planning.plan_worker(paths, accelerator=accelerator, bundle=offline)
    python = venv.create(plan, STAMP, report=report, again=words.action == "repair")
    installed.remove_others(paths, plan.directory)
    now = installed.find(paths, STAMP)
    device = f" Device: {now.device.sentence}." if now and now.device else ""
    return f"The runtime is ready in {python.parent.parent}.{device}"


def _bundle(words: argparse.Namespace, paths: Paths, report: Report) -> str:
    if not words.output:
        raise ValueError("Say where the bundle is to lie: runtime bundle --output DIR.")
    folder = words.output.expanduser().absolute()
    made = write_bundle.write(planning.plan_worker(paths, accelerator=words.accelerator), folder, report=report)
    gigabytes = folders.size(folder) / 1e9
    return (
        f"The bundle for {made.list_name.removeprefix('worker-')} is in {folder} ({gigabytes:.2f} GB). On the other "
        "machine: runtime install --bundle DIR, or Install from Bundle in the add-on's preferences."
    )


def _use(words: argparse.Namespace, paths: Paths) -> str:
    if not words.python:
        choices.change(paths.base, python="")
        return "The worker runs in the runtime of our own again."
    python = Path(words.python).expanduser().absolute()
    device = check_worker_python(python)
    choices.change(paths.base, python=str(python))
    return f"The worker runs in {python}. Device: {device.sentence}."


def _remove(paths: Paths) -> str:
    freed = installed.remove_all(paths) / 1e9
    return f"Removed {freed:.2f} GB." if freed else "There was no runtime to remove."


def findings(paths: Paths) -> Iterator[Finding]:
    """Look at everything that the doctor reports: Blender, the machine, the last job."""
    yield _blender()
    yield from examine(paths, STAMP)
    yield _last_error(paths)


def _blender() -> Finding:
    try:
        program = session.find_blender()
    except RuntimeMissing as error:
        return Finding("blender", False, str(error), "Correct CSD_BLENDER, or unset it.")
    where = program or "no program on PATH, so the terminal uses Blender as a Python module"
    return Finding("blender", True, f"Blender: {where}.")


def _last_error(paths: Paths) -> Finding:
    entry = next(iter(list_runs(paths.jobs)), None)
    error = _error_of(entry.folder.events) if entry and entry.state == "unfinished" else ""
    if not error:
        return Finding("last job", True, "The last job ended without an error." if entry else "No job was run yet.")
    return Finding("last job", False, f"The last job failed: {error}", "Follow the sentence; Copy Log has the rest.")


def _error_of(events: Path) -> str:
    """Return the sentence of the last error message in a job's events; "" if there is none."""
    try:
        lines = events.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    said = (_message(line) for line in reversed(lines) if '"error"' in line)
    return next((str(message["sentence"]) for message in said if message.get("type") == "error"), "")


def _message(line: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def finding_lines(found: Finding, *, as_json: bool) -> str:
    """Return one finding as a JSON line, or as a line for a person, without the user's name in paths."""
    if as_json:
        return json.dumps(asdict(found))
    mark = "ok     " if found.ok else "PROBLEM"
    return anonymize(f"{mark} {found.name}: {found.sentence} {found.remedy}".rstrip())
