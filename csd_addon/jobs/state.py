"""The states of a job: ``transition(state, event)`` returns the next state and has no side effect.

    new -> starting -> running -> done | failed | cancelled
                          |  ^
               stopping / cancelling (asked, not yet answered)

Events are the worker's messages and the four local ones below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..protocol import Cancelled, Done, Error, Hello, Message, Phase, Preview, Progress, Warning, version_mismatch

ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Launched:
    """The worker has been asked to run the job."""


@dataclass(frozen=True)
class StopRequested:
    """The artist wants to stop and keep."""


@dataclass(frozen=True)
class CancelRequested:
    """The artist wants to cancel."""


@dataclass(frozen=True)
class WorkerLost:
    """The worker ended or hung. ``sentence`` says which; ``log`` is the path of its log."""

    sentence: str
    log: str = ""


Event = Message | Launched | StopRequested | CancelRequested | WorkerLost


@dataclass(frozen=True)
class JobState:
    """Everything that a panel or a script shows of a job."""

    # One of those in the diagram above.
    status: str = "new"
    # The worker's phase, and what it does in it.
    phase: str = ""
    detail: str = ""
    # The iteration that was reached, and how many there will be.
    iteration: int = 0
    of: int = 0
    seconds_left: float = 0.0
    # (name, norm) of each term of the gradient.
    norms: tuple[tuple[str, float], ...] = ()
    # The worker's memory, in MB.
    memory_mb: float = 0.0
    # The path of the newest preview. It can stay the same, so a new one is seen by the count.
    preview: str = ""
    previews: int = 0
    # Sentences, in the order that they came in.
    warnings: tuple[str, ...] = ()
    # Of a job that failed.
    error: Error | None = None
    # Of a job that is done.
    done: Done | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def report(self) -> dict[str, Any]:
        return self.done.report if self.done else {}


def transition(state: JobState, event: Event) -> JobState:
    """Return the state after ``event``. The state of an ended job never changes."""
    if state.ended:
        return state
    match event:
        case Launched():
            return replace(state, status="starting", phase="start")
        case StopRequested() if state.status in ("starting", "running"):
            return replace(state, status="stopping")
        case CancelRequested():
            return replace(state, status="cancelling")
        case WorkerLost(sentence, log):
            return _failed(state, Error("worker", sentence, log))
        case Hello(protocol):
            refusal = version_mismatch(protocol)
            return _failed(state, Error("version", refusal)) if refusal else state
        case Phase(name, detail):
            return replace(_running(state), phase=name, detail=detail)
        case Progress(iteration, of, seconds_left, norms, memory_mb):
            return replace(
                _running(state), iteration=iteration, of=of, seconds_left=seconds_left,
                norms=tuple(norms.items()), memory_mb=memory_mb,
            )  # fmt: skip
        case Preview(path):
            return replace(state, preview=path, previews=state.previews + 1)
        case Warning(sentence):
            return replace(state, warnings=(*state.warnings, sentence))
        case Error():
            return _failed(state, event)
        case Cancelled(iteration):
            return replace(state, status="cancelled", iteration=iteration)
        case Done():
            return replace(state, status="done", done=event)
    return state


def _running(state: JobState) -> JobState:
    return replace(state, status="running") if state.status == "starting" else state


def _failed(state: JobState, error: Error) -> JobState:
    return replace(state, status="failed", error=error)
