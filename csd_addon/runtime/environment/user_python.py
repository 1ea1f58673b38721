"""A Python of the user's own for the worker. Nothing is installed into it; it is only checked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .. import choices
from ..errors import RuntimeMissing
from ..paths import default_base
from .compute import Device, check_command, read_device
from .interpreter import clean_environment, probe

WORKER_MODULES = ("torch", "diffusers", "transformers", "safetensors", "psutil")
CHECK_SECONDS = 300


def find_user_python(argument: str | None = None) -> Path | None:
    """Return the interpreter that the user named for the worker, or None.

    ``argument`` goes before the variable CSD_WORKER_PYTHON, and that before `choices`. The path may not exist.
    """
    named = argument or os.environ.get("CSD_WORKER_PYTHON") or choices.read(default_base()).python
    return Path(named).expanduser().absolute() if named else None


def check_worker_python(python: Path) -> Device:
    """Import the worker's libraries in ``python`` and return the device that its torch computes on.

    Raises RuntimeMissing when it does not run, is older than 3.11, lacks a library, or can't multiply two matrices.
    """
    version = probe(python).version
    if version < (3, 11):
        raise RuntimeMissing(f"{python} is Python {version[0]}.{version[1]}; the worker needs 3.11 or newer.")
    try:
        done = subprocess.run(
            check_command(python, WORKER_MODULES),
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            env=clean_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeMissing(f"{python} did not finish its check in {CHECK_SECONDS} seconds; name another.") from error
    device = read_device(done.stdout)
    if done.returncode or device is None:
        said = done.stderr.strip().rpartition("ERROR: ")[2] or f"exit status {done.returncode}"
        raise RuntimeMissing(f"{python} cannot run the worker, {said}. Install them there or name another.")
    return device
