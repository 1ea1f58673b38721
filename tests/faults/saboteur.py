"""A worker that fails on purpose: ``python -m tests.faults.saboteur FAULT PHASE [--fake]``.

It is the true worker, fake or real, whose messages are listened to: when the job reaches PHASE, the FAULT strikes in
the worker's own process. PHASE is the name of a phase, "step" for the first steps of the optimisation, or "result" when
everything is written and only the last word is missing.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from csd_addon.jobs.folder import JobFolder
from csd_addon.protocol import Done, Message, Phase, Progress
from csd_addon.worker.serve import process
from csd_addon.worker.serve.control import Control

FOREVER = 3600.0


class Strike:
    """The faults by name; each is called with the job's folder and the raw channel to Blender."""

    def __init__(self, folder: JobFolder, channel: int) -> None:
        self.folder, self.channel = folder, channel

    def sigkill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def sigstop(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def segfault(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def abort(self) -> None:
        os.kill(os.getpid(), signal.SIGABRT)

    def exit_quietly(self) -> None:
        os._exit(0)

    def hang(self) -> None:
        time.sleep(FOREVER)

    def garbage(self) -> None:
        self._say(b"\x00\xff not json {\n")
        time.sleep(FOREVER)

    def half_line(self) -> None:
        self._say(b'{"type":"progress","itera')
        os._exit(3)

    def half_line_and_silence(self) -> None:
        self._say(b'{"type":"progress","itera')
        time.sleep(FOREVER)

    def nonsense_values(self) -> None:
        self._say(b'{"type":"progress","iteration":"ten","of":NaN,"seconds_left":1}\n')
        time.sleep(FOREVER)

    def nested(self) -> None:
        self._say(b"[" * 200_000 + b"\n")
        time.sleep(FOREVER)

    def path_outside(self) -> None:
        self._say(b'{"type":"done","paths":{"basecolor":"/etc/hostname"},"report":{}}\n')
        time.sleep(FOREVER)

    def out_of_memory(self) -> None:
        raise MemoryError

    def disk_full(self) -> None:
        # No file may grow any more; the system says so with an error as a full disk does.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def too_many_files(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    def folder_deleted(self) -> None:
        shutil.rmtree(self.folder.path)

    def result_unwritable(self) -> None:
        # A file where the folder should be refuses even the system's administrator.
        shutil.rmtree(self.folder.result)
        self.folder.result.write_bytes(b"")

    def clock_jump(self) -> None:
        later = time.time
        time.time = lambda: later() + 400 * 86400

    def _say(self, line: bytes) -> None:
        os.write(self.channel, line)


FAULTS = [name for name in vars(Strike) if not name.startswith("_")]


def sabotaged(run_job: process.RunJob, fault: str, phase: str, channel: int) -> process.RunJob:
    """``run_job`` with the fault built in."""

    def run(folder: JobFolder, control: Control, emit: Callable[[Message], None], resume: bool) -> None:
        strike = Strike(folder, channel)
        struck = False

        def emit_and_strike(message: Message) -> None:
            nonlocal struck
            if not struck and _reached(message, phase):
                struck = True
                if phase != "result":
                    emit(message)
                getattr(strike, fault)()
                if phase != "result":
                    return
            emit(message)

        run_job(folder, control, emit_and_strike, resume)

    return run


def _reached(message: Message, phase: str) -> bool:
    if phase == "result":
        return isinstance(message, Done)
    if phase == "step":
        return isinstance(message, Progress) and message.iteration >= 2
    return isinstance(message, Phase) and message.name == phase


def main() -> None:
    fault, phase, *rest = sys.argv[1:]
    if "--fake" in rest:
        from csd_addon.worker.serve.fake import run_job
    else:
        from csd_addon.worker.method import loop
        from csd_addon.worker.run import grow
        from csd_addon.worker.run.entry import run_job

        # A checkpoint and a message at every step.
        loop.CHECKPOINT_PERIOD, grow.PROGRESS_PERIOD = -1.0, -1.0
    channel = process.claim_stdout()
    with contextlib.suppress(KeyboardInterrupt):
        process.serve(sabotaged(run_job, fault, phase, channel.fileno()), sys.stdin.buffer, channel)


def command(fault: str, phase: str, *, python: Path, fake: bool) -> list[str]:
    """The words that start such a worker; run them in the root of the program."""
    return [str(python), "-s", "-m", "tests.faults.saboteur", fault, phase, *(["--fake"] if fake else [])]


if __name__ == "__main__":
    main()
