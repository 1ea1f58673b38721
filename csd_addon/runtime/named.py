"""A Python that the user names for the worker: nothing is installed into it, it is only asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .errors import RuntimeMissing
from .interpreter import clean_environment, probe
from .steps import import_check

WORKER_MODULES = ("torch", "diffusers", "transformers", "safetensors")
IMPORT_SECONDS = 300


def named_python(argument: str | None = None) -> Path | None:
    """Return the interpreter named by ``argument``, else by CSD_WORKER_PYTHON, else None."""
    named = argument or os.environ.get("CSD_WORKER_PYTHON")
    return Path(named).expanduser().absolute() if named else None


def check_worker_python(python: Path) -> None:
    """Import the worker's libraries in ``python``, as it is.

    Raises RuntimeMissing when it does not run, is older than 3.11, or lacks one of them, and names which.
    """
    version = probe(python).version
    if version < (3, 11):
        raise RuntimeMissing(f"{python} is Python {version[0]}.{version[1]}; the worker needs 3.11 or newer.")
    done = subprocess.run(
        import_check(python, WORKER_MODULES),
        capture_output=True,
        text=True,
        timeout=IMPORT_SECONDS,
        env=clean_environment(),
    )
    if done.returncode:
        said = done.stderr.strip().rpartition("ERROR: ")[2]
        raise RuntimeMissing(f"{python} cannot run the worker, {said}. Install them there or name another.")
