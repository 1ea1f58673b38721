"""One job in one worker: the object that every driver uses (modal, blocking, after file load).

``poll`` does not block and may be called from a timer. ``wait`` polls until the end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from pathlib import Path

from ..protocol import Cancel, Cancelled, Done, Error, Message, Preview, ProtocolError, Start, StopAndKeep, encode
from .folder import JobFolder
from .process import WorkerProcess, describe_exit
from .state import CancelRequested, Event, JobState, Launched, StopRequested, WorkerLost, transition

# A worker that has sent nothing for this many seconds has hung: every phase reports more often.
SILENCE_LIMIT = 600.0
# A cancelled worker saves its checkpoint. After this many seconds it is killed.
CANCEL_TIMEOUT = 4.0


class Job:
    """``start`` once, then ``poll`` until ``state.ended``."""

    def __init__(self, folder: JobFolder, worker: WorkerProcess, *, silence_limit: float = SILENCE_LIMIT) -> None:
        self.folder = folder
        self.worker = worker
        self.state = JobState()
        self._silence_limit = silence_limit
        self._cancel_deadline = float("inf")
        self._first: Generator[None, None, None] | None = None

    def start(self, *, resume: bool = False, first: Generator[None, None, None] | None = None) -> None:
        """Ask the worker to run the job. ``resume``: continue from its checkpoint.

        ``first``: work to be done before the worker is asked; each ``poll`` runs it to its next ``yield``. Where it
        raises ``ValueError`` or ``OSError``, the job fails with that sentence and the worker is never asked.
        """
        self._apply(Launched())
        self._first = first
        if first is None:
            self._ask(resume)

    @property
    def is_preparing(self) -> bool:
        """Whether the worker has not been asked yet, because the work before it is not done."""
        return self._first is not None

    def _prepare(self, first: Generator[None, None, None]) -> None:
        """Do the next piece of the work before the job, and ask the worker after the last piece."""
        try:
            next(first)
        except StopIteration:
            self._first = None
            self._ask(resume=False)
        except (ValueError, OSError) as error:
            self._first = None
            self._apply(Error("input", str(error)))

    def _ask(self, resume: bool) -> None:
        # A warm worker now writes its log into this job's folder (worker/serve/process.py).
        self.worker.log = self.folder.log
        self.worker.last_heard = time.monotonic()
        self.worker.send(Start(str(self.folder.path), resume))
        if self.state.status == "stopping":
            self.worker.send(StopAndKeep())

    def poll(self) -> JobState:
        """Read the worker's new messages and return the new state."""
        if self._first is not None:
            self._prepare(self._first)
            return self.state
        if self.state.ended:
            return self.state
        # The exit code comes first: messages that the worker sent before it ended are still read below.
        code = self.worker.exit_code()
        try:
            for message in self.worker.receive():
                self._require_inside(message)
                self._apply(message)
        except ProtocolError as error:
            self._lose(f"The worker sent something that is no message and was stopped: {str(error).rstrip('.')}.")
        if not self.state.ended:
            self._check_life(code)
        return self.state

    def stop_and_keep(self) -> None:
        """Ask the worker to stop optimising, and to bake and keep what is there."""
        self._apply(StopRequested())
        if not self.is_preparing:
            self.worker.send(StopAndKeep())

    def cancel(self) -> None:
        """Ask the worker to stop without a result. The checkpoint stays, and the job can be resumed from it."""
        if self._first is not None:
            self._first.close()
            self._first = None
            return self._end_cancelled()
        self._apply(CancelRequested())
        self._cancel_deadline = min(self._cancel_deadline, time.monotonic() + CANCEL_TIMEOUT)
        self.worker.send(Cancel())

    def wait(self, on_change: Callable[[JobState], None] | None = None, *, interval: float = 0.05) -> JobState:
        """Poll every ``interval`` seconds until the job has ended. ``on_change`` is called with each new state."""
        seen = self.state
        while not self.poll().ended:
            if on_change and self.state is not seen:
                seen = self.state
                on_change(seen)
            time.sleep(interval)
        if on_change:
            on_change(self.state)
        return self.state

    def _check_life(self, code: int | None) -> None:
        now = time.monotonic()
        if code is not None and self.state.status == "cancelling":
            self._end_cancelled()
        elif code is not None:
            self._fail(f"{describe_exit(code)} The log is {self.worker.log}.")
        elif now > self._cancel_deadline:
            self.worker.kill()
            self._end_cancelled()
        elif now - self.worker.last_heard > self._silence_limit:
            self._lose(f"The worker has said nothing for {self._silence_limit:.0f} seconds and was stopped.")

    def _end_cancelled(self) -> None:
        self._apply(Cancelled(self.state.iteration))

    def _require_inside(self, message: Message) -> None:
        """Raise ``ProtocolError`` unless every path in ``message`` lies in the job's folder."""
        paths = [message.path] if isinstance(message, Preview) else []
        paths += message.paths.values() if isinstance(message, Done) else []
        for path in paths:
            if not self.folder.contains(Path(path)):
                raise ProtocolError(f"{path} lies outside the job folder.")

    def _lose(self, sentence: str) -> None:
        self.worker.kill()
        self._fail(sentence)

    def _fail(self, sentence: str) -> None:
        """End the job as failed, and add the reason to its events."""
        self._apply(WorkerLost(sentence, str(self.worker.log)))
        # The state holds the sentence, too, if this can't be written.
        with contextlib.suppress(OSError), open(self.folder.events, "ab") as events:
            # The worker's last line may be half written.
            events.write(b"\n" + encode(Error("worker", sentence)))

    def _apply(self, event: Event) -> None:
        self.state = transition(self.state, event)


def exit_code(state: JobState) -> int:
    """Return the command line's exit code for an ended job: 0, 2, 3, 4 or 130."""
    if state.status == "done":
        return 0
    if state.status == "cancelled":
        return 130
    kinds = {"input": 2, "teacher": 3, "version": 3}
    return kinds.get(state.error.kind, 4) if isinstance(state.error, Error) else 4
