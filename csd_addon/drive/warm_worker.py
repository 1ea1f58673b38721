"""The worker process that Blender's side shares: which Python it runs in, and how it stays warm between jobs."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

from ..jobs.folder import JobFolder
from ..jobs.process import WorkerProcess, program_folder, worker_command
from ..protocol import PROTOCOL_VERSION
from ..runtime.environment import installed
from ..runtime.environment.user_python import find_user_python
from ..runtime.errors import RuntimeMissing
from ..runtime.paths import Paths, default_base

# Tests run the whole road without torch by setting this variable to "fake" (worker/serve/fake.py).
FAKE_VARIABLE = "CSD_TEXTURE_WORKER"


class WarmWorker:
    """One worker process, started for the first job and kept for the next ones.

    process: the one that was started last, None before that and after ``stop``.
    """

    def __init__(self) -> None:
        self.process: WorkerProcess | None = None

    def get(self, folder: JobFolder) -> WorkerProcess:
        """The running process, or a new one whose log goes into ``folder``.

        Raises ``RuntimeMissing`` if there is no Python for it, ``OSError`` if it can't be started.
        """
        if self.process is None or self.process.exit_code() is not None:
            command = worker_command(interpreter(), Paths(default_base()).cache / "pycache")
            self.process = WorkerProcess(
                [*command, *(["--fake"] if is_fake() else [])], log=folder.log, cwd=program_folder()
            )  # fmt: skip
        return self.process

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.stop()
            self.process = None


# The panel, the operators and headless Blender use this one, so that a teacher is loaded once.
shared_worker = WarmWorker()
atexit.register(shared_worker.stop)


def is_fake() -> bool:
    """Whether the tests' worker runs, which needs no runtime."""
    return os.environ.get(FAKE_VARIABLE) == "fake"


def interpreter() -> Path:
    """The worker's Python. The tests' worker runs in this process's own. Raises ``RuntimeMissing``."""
    return Path(sys.executable) if is_fake() else worker_python()


def worker_python() -> Path:
    """The worker's interpreter: one that the user names, else the private environment.

    Raises ``RuntimeMissing`` with a sentence that says how to install it.
    """
    if named := find_user_python():
        return named
    found = installed.find(Paths(default_base()), str(PROTOCOL_VERSION))
    if found is None:
        raise RuntimeMissing(
            "The texture runtime is not installed: use Install Runtime in the add-on's panel, or run "
            "'python3 -m csd_addon runtime install' in a terminal."
        )
    if found.state != "ready":
        raise RuntimeMissing(
            f"The texture runtime in {found.directory} is {found.state}: use Repair in the add-on's preferences, or "
            "run 'python3 -m csd_addon runtime repair' in a terminal."
        )
    return found.python
