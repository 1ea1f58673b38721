"""xatlas beside the window: it runs in the worker's Python, in a process of its own with a time limit.

Whatever becomes of it, the object has UVs: those of Smart UV Project stay where xatlas gives none.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from ..jobs.folder import JobFolder
from ..jobs.process import own_group, program_folder, worker_command, worker_environment
from ..scene.pieces import Pieces

# Measured: 63,000 triangles take 37 s on a busy machine, 9,000 take 4.
SECONDS = 120.0
_MODULE = "csd_addon.worker.unwrap"


def unwrap_in_pieces(python: Path, cache: Path, folder: JobFolder, *, seconds: float = SECONDS) -> Pieces[str]:
    """Let xatlas unwrap ``folder.polygons`` into ``folder.layer``, in pieces; why it could not, empty where it could.

    Ending the pieces ends the process. Raises ``OSError`` if the log can't be written.
    """
    *begin, _ = worker_command(python, cache)
    deadline = time.monotonic() + seconds
    with open(folder.log, "ab") as log:
        try:
            child = subprocess.Popen(
                [*begin, _MODULE, str(folder.polygons), str(folder.layer)], cwd=program_folder(), stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, env=worker_environment(os.environ), **own_group(),
            )  # fmt: skip
        except OSError as error:
            return f"its process can't be started ({error})"
    try:
        while child.poll() is None:
            if time.monotonic() > deadline:
                return f"it had not finished after {seconds:.0f} seconds"
            yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.wait()
        folder.polygons.unlink(missing_ok=True)
    return _trouble(child.returncode, folder.log)


def _trouble(code: int, log: Path) -> str:
    if code == 0:
        return ""
    if "No module named 'xatlas'" in log.read_text("utf-8", "replace"):
        return "the worker's Python has no xatlas"
    return f"its process ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"
