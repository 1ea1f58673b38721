"""Starts Blender without a window for one request, relays its messages, and passes Ctrl-C on as a cancel.

Blender is the first of these that is there: the program in ``CSD_BLENDER``; a ``blender`` on PATH that is 4.5 or newer;
the bpy wheel in an environment of our own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..jobs.folder import write_json
from ..jobs.process import own_group, program_folder
from ..protocol import PROTOCOL_VERSION
from ..runtime.environment import installed, planning, venv
from ..runtime.environment.run_installer import Report
from ..runtime.environment.user_python import check_worker_python, find_user_python
from ..runtime.errors import RuntimeMissing
from ..runtime.paths import Paths
from .request import PREFIX, Request

MINIMUM_BLENDER = (4, 5)
# After Ctrl-C the worker saves a checkpoint and everything ends within this many seconds.
CANCEL_SECONDS = 5.0

_START = "import csd_addon.cli.headless as headless; headless.main()"


def worker_python(paths: Paths, report: Report) -> Path:
    """Return the worker's interpreter; install it first where it is missing. Raises ``RuntimeMissing``."""
    if named := find_user_python():
        check_worker_python(named)
        return named
    found = installed.find(paths, str(PROTOCOL_VERSION))
    if found and found.state == "ready":
        return found.python
    return venv.create(planning.plan_worker(paths), str(PROTOCOL_VERSION), report=report)


def blender_command(paths: Paths, report: Report) -> list[str]:
    """Return the command that runs ``headless.main`` inside Blender. Append the path of the request.

    Raises ``RuntimeMissing`` if there is no Blender and the wheel can't be installed.
    """
    program = find_blender()
    if program:
        return [
            program, "--background", "--factory-startup", "--python-exit-code", "1",
            "--python-use-system-env", "--python-expr", _START, "--",
        ]  # fmt: skip
    python = venv.create(planning.plan_blender(paths), str(PROTOCOL_VERSION), report=report)
    return [str(python), "-m", "csd_addon.cli.headless"]


def find_blender() -> str | None:
    """Return a Blender program that is new enough, or None. Raises ``RuntimeMissing`` if ``CSD_BLENDER`` is none."""
    named = os.environ.get("CSD_BLENDER")
    program = named or shutil.which("blender")
    if not program:
        return None
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=300).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeMissing(f"{program} can't be started ({error}); set CSD_BLENDER to a Blender 4.5.") from error
    match = re.search(r"Blender (\d+)\.(\d+)", said)
    if match and (int(match[1]), int(match[2])) >= MINIMUM_BLENDER:
        return program
    if named:
        raise RuntimeMissing(f"CSD_BLENDER names {named}, which is no Blender 4.5 or newer.")
    return None


def run(
    request: Request, command: Sequence[str], python: Path, on_message: Callable[[dict[str, Any]], None]
) -> int:
    """Run ``request`` in Blender and return the exit code. ``on_message`` gets each message as a dict."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "request.json"
        write_json(path, request.to_json())
        child = subprocess.Popen(
            [*command, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=program_folder(), env=_environment(python, Path(scratch)), text=True, encoding="utf-8",
            errors="replace", **own_group(),
        )  # fmt: skip
        try:
            return _relay(child, on_message)
        except KeyboardInterrupt:
            _cancel(child)
            return 130
        finally:
            child.kill()
            child.wait()


def _environment(python: Path, scratch: Path) -> dict[str, str]:
    """Return variables that give Blender our package, the worker's interpreter and an empty user profile."""
    profile = scratch / "profile"
    profile.mkdir()
    return {
        **os.environ, "PYTHONPATH": str(program_folder()), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1",
        "CSD_WORKER_PYTHON": str(python), "BLENDER_USER_RESOURCES": str(profile),
    }  # fmt: skip


def _relay(child: subprocess.Popen[str], on_message: Callable[[dict[str, Any]], None]) -> int:
    """Pass messages on until Blender ends. Its other lines are shown only if it fails without a message."""
    chatter: list[str] = []
    failed = False
    assert child.stdout
    for line in child.stdout:
        if not line.startswith(PREFIX):
            chatter.append(line)
            continue
        body = json.loads(line.removeprefix(PREFIX))
        failed = failed or body["type"] == "error"
        on_message(body)
    code = child.wait()
    if code in (0, 2, 3, 4, 130):
        return code
    if not failed:
        on_message({"type": "error", "kind": "blender", "sentence": _how_it_ended(code, chatter),
                    "detail": "".join(chatter)})  # fmt: skip
    return 4


def _how_it_ended(code: int, chatter: list[str]) -> str:
    if code < 0:
        return f"Blender was killed by the system or by someone ({signal.Signals(-code).name})."
    return f"Blender ended unexpectedly: {' '.join(part.strip() for part in chatter[-3:])}"


def _cancel(child: subprocess.Popen[str]) -> None:
    """Ask Blender to end and wait for it. Closing stdin has the same meaning. A second Ctrl-C changes nothing."""
    assert child.stdin
    with contextlib.suppress(OSError, KeyboardInterrupt):
        child.stdin.write("cancel\n")
        child.stdin.close()
    deadline = time.monotonic() + CANCEL_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(0.05)

