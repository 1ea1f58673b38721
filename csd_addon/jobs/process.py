"""The worker as a child process: starting it, messages to and from it, ending it. It serves one job after another.

The child gets a clean environment and a process group of its own. When this process dies, the pipe to the child's stdin
closes, and the worker ends. Reading does not block, and there are no threads.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..protocol import Hello, Message, ProtocolError, Shutdown, decode, encode

# The first three make glibc keep its memory. Measured: an optimisation step on the CPU then takes a 15th of the time.
_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONUNBUFFERED": "1",
}
# The longest line that a worker may send, in bytes.
_LONGEST_LINE = 2**24
# What the worker must not inherit.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "LD_PRELOAD")


def worker_command(python: Path, cache: Path) -> list[str]:
    """Return the command that starts the worker. Run it with ``program_folder()`` as working directory.

    -s and -E keep the user's own packages and variables out. Compiled files go to ``cache`` and not beside the code.
    """
    return [str(python), "-s", "-E", "-X", f"pycache_prefix={cache}", "-m", "csd_addon.worker"]


def program_folder() -> Path:
    """Return the folder that holds the package ``csd_addon``."""
    return Path(__file__).resolve().parents[2]


def worker_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return ``base`` with the worker's settings and without what would mix another Python into it.

    Torch gets one thread unless ``base`` says otherwise: on a small or shared machine, more are far slower.
    """
    kept = {k: v for k, v in base.items() if k not in _NOT_INHERITED}
    return {**kept, **_ENVIRONMENT, "OMP_NUM_THREADS": kept.get("OMP_NUM_THREADS", "1")}


class WorkerProcess:
    """One running worker.

    ``command``: see ``worker_command``. ``log``: the file for everything that the worker prints. ``cwd``: see
    ``program_folder``. Raises ``OSError`` if the program can't be started.
    """

    def __init__(self, command: Sequence[str], *, log: Path, cwd: Path) -> None:
        self.log = log
        self._buffer = b""
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as stream:
            self._child: subprocess.Popen[bytes] = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, cwd=cwd,
                # Unbuffered: what a lost worker can't read would be written again, and fail, at the interpreter's end.
                bufsize=0, env=worker_environment(os.environ), **own_group(),
            )  # fmt: skip
        assert self._child.stdin and self._child.stdout
        self._stdin: IO[bytes] = self._child.stdin
        self._stdout: IO[bytes] = self._child.stdout
        make_non_blocking(self._stdout.fileno())
        self.last_heard = time.monotonic()
        self.send(Hello(versions={"python": sys.version.split()[0]}))

    @property
    def pid(self) -> int:
        return self._child.pid

    def exit_code(self) -> int | None:
        """Return None while the worker runs, else its exit code; a negative one is the signal that ended it."""
        return self._child.poll()

    def send(self, message: Message) -> None:
        """Write one message. Raises nothing if the worker has ended: ``exit_code`` tells that."""
        with contextlib.suppress(BrokenPipeError, OSError, ValueError):
            self._stdin.write(encode(message))

    def receive(self) -> list[Message]:
        """Return all complete messages since the last call. Does not block.

        Raises ``ProtocolError`` on a line that is no message.
        """
        while chunk := read_available(self._stdout.fileno()):
            self._buffer += chunk
            self.last_heard = time.monotonic()
            # Only the part after the last line end counts.
            if len(self._buffer) > _LONGEST_LINE and self._buffer.rfind(b"\n", -_LONGEST_LINE) < 0:
                raise ProtocolError("The worker sent 16 MB without a line end.")
        *lines, self._buffer = self._buffer.split(b"\n")
        return [decode(line) for line in lines if line.strip()]

    def stop(self, *, timeout: float = 3.0) -> None:
        """End the worker: ask it, close its stdin, wait ``timeout`` seconds, then kill it. May be called again."""
        self.send(Shutdown())
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._stdout.close()

    def kill(self) -> None:
        """End the worker at once."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()


def describe_exit(code: int) -> str:
    """Return a sentence that says how the worker ended."""
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
        return f"The worker was killed by the system or by someone ({name})."
    return f"The worker ended unexpectedly with exit code {code}."


def own_group() -> dict[str, Any]:
    """Return Popen options: the terminal's Ctrl-C does not reach the child, and Windows opens no console."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def make_non_blocking(descriptor: int) -> None:
    """Let reads from the pipe ``descriptor`` return at once."""
    if sys.platform == "win32":
        # os.set_blocking handles Windows pipes only from Python 3.12 on; drop this when 3.11 goes.
        import ctypes
        import msvcrt

        no_wait = ctypes.c_ulong(1)
        handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))
        ctypes.windll.kernel32.SetNamedPipeHandleState(handle, ctypes.byref(no_wait), None, None)
    else:
        os.set_blocking(descriptor, False)


def read_available(descriptor: int) -> bytes | None:
    """Read from a non-blocking ``descriptor``: b"" if nothing has come yet, None if the other side has closed it."""
    try:
        return os.read(descriptor, 65536) or None
    except BlockingIOError:
        return b""
    except OSError:
        # Windows says "no data" on an empty no-wait pipe with EINVAL.
        return b"" if sys.platform == "win32" else None
