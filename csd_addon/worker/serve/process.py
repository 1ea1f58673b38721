"""The worker's side of the conversation: handshake, one job at a time, requests while it runs, life-line.

stdout is taken away from everyone at the start (``claim_stdout``): messages go through a descriptor of our own,
stray prints of libraries go to the log. Imports nothing heavy, so that the handshake is instant.
"""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ...jobs.folder import JobFolder
from ...protocol import (
    Cancel,
    Done,
    Error,
    Hello,
    Message,
    ProtocolError,
    Shutdown,
    Start,
    StopAndKeep,
    decode,
    encode,
    version_mismatch,
)
from .control import Control, JobFailure, is_out_of_memory

Emit = Callable[[Message], None]
RunJob = Callable[[JobFolder, Control, Emit, bool], None]

# An orphaned worker saves what it can and is gone after this many seconds.
ORPHAN_GRACE = 3.0


def claim_stdout() -> IO[bytes]:
    """Duplicate stdout for messages, then point descriptor 1 at stderr: no stray print can corrupt a message."""
    channel = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return channel


def serve(run_job: RunJob, source: IO[bytes], channel: IO[bytes]) -> None:
    """Answer messages from ``source`` on ``channel`` until a ``Shutdown`` or the end of ``source``."""

    def emit(message: Message) -> None:
        # Nobody listens any more: the closed life-line ends the job, which first saves its checkpoint.
        with contextlib.suppress(BrokenPipeError):
            channel.write(encode(message))

    emit(Hello(versions={"python": platform.python_version()}))
    listener = _Listener(source)
    while True:
        message, control = listener.inbox.get()
        if isinstance(message, Shutdown):
            return
        if isinstance(message, Hello) and (sentence := version_mismatch(message.protocol)):
            emit(Error("version", sentence))
        elif isinstance(message, Start):
            run_in_folder(run_job, message, control, emit)


def run_in_folder(run_job: RunJob, start: Start, control: Control, emit: Emit) -> None:
    """Run one job; every way it can fail becomes one ``Error`` message, with the traceback in ``worker.log``."""
    folder = JobFolder(Path(start.folder))
    try:
        _require_own_files(folder)
        with open(folder.events, "ab") as events:
            _redirect_log(folder)

            def emit_and_record(message: Message) -> None:
                events.write(encode(message))
                events.flush()
                emit(message)

            run_job(folder, control, emit_and_record, start.resume)
    except Exception as error:  # the worker's outermost frame: nothing may end it without a sentence
        message = _as_message(error, folder)
        # On a full disk neither of these can be written, but the sentence still reaches Blender.
        with contextlib.suppress(OSError):
            traceback.print_exc()
        with contextlib.suppress(OSError), open(folder.events, "ab") as events:
            events.write(encode(message))
        emit(message)


def _require_own_files(folder: JobFolder) -> None:
    try:
        folder.require_own_files()
    except ValueError as error:
        raise JobFailure("input", str(error)) from error


def _as_message(error: Exception, folder: JobFolder) -> Error:
    detail = traceback.format_exc()
    if isinstance(error, JobFailure):
        return Error(error.kind, str(error), detail)
    if is_out_of_memory(error):
        return Error("memory", "The device ran out of memory: choose a smaller texture size or preset.", detail)
    if isinstance(error, OSError):
        return Error("disk", f"Reading or writing the job folder failed: {error}.", detail)
    return Error("internal", f"The job failed unexpectedly ({error}). The log is {folder.log}.", detail)


def _redirect_log(folder: JobFolder) -> None:
    """Send stdout and stderr of this process, C libraries included, to the job's own log."""
    with open(folder.log, "ab") as log:
        os.dup2(log.fileno(), 2)
        os.dup2(log.fileno(), 1)


class _Listener:
    """Reads Blender's messages on a thread, so that requests reach a job that is busy computing."""

    def __init__(self, source: IO[bytes]) -> None:
        self.inbox: queue.Queue[tuple[Message, Control]] = queue.Queue()
        self._control = Control()
        threading.Thread(target=self._listen, args=(source,), daemon=True).start()

    def _listen(self, source: IO[bytes]) -> None:
        for line in source:
            try:
                message = decode(line)
            except ProtocolError:
                # Who sends that can't be relied upon to end us.
                break
            if isinstance(message, StopAndKeep):
                self._control.request_stop()
            elif isinstance(message, Cancel):
                self._control.request_cancel()
            else:
                # A request right behind ``Start`` must reach that job, even before it has begun.
                self._control = Control()
                self.inbox.put((message, self._control))
        self._orphaned()

    def _orphaned(self) -> None:
        """Blender is gone or has closed the life-line: let the job save itself, then end in any case."""
        self._control.request_cancel()
        self.inbox.put((Shutdown(), self._control))
        timer = threading.Timer(ORPHAN_GRACE, os._exit, args=(1,))
        timer.daemon = True
        timer.start()


def replay(run_job: RunJob, folder: Path) -> int:
    """Run the job in ``folder`` without Blender, printing its messages as JSON lines. Returns an exit code."""
    if not (folder / "job.json").is_file():
        print(f"{folder} is not a job folder: it has no job.json.", file=sys.stderr)
        return 2
    channel = claim_stdout()
    last: list[Message] = []

    def emit(message: Message) -> None:
        channel.write(encode(message))
        last[:] = [message]

    run_in_folder(run_job, Start(str(folder)), Control(), emit)
    return 0 if isinstance(last[0], Done) else 4
