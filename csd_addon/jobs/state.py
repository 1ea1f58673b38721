"""The life of a job as pure data: ``transition(state, event)`` gives the next state and touches nothing.

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
    """The worker ended or fell silent. ``sentence`` says which; ``log`` is where to look."""

    sentence: str
    log: str = ""


Event = Message | Launched | StopRequested | CancelRequested | WorkerLost


@dataclass(frozen=True)
class JobState:
    """All that a panel or a script needs to show. status: see the module's picture.

    preview: path of the newest one. previews: how many there were; the path stays the same.
    """

    status: str = "new"
    phase: str = ""
    detail: str = ""
    iteration: int = 0
    of: int = 0
    seconds_left: float = 0.0
    norms: tuple[tuple[str, float], ...] = ()
    memory_mb: float = 0.0
    preview: str = ""
    previews: int = 0
    warnings: tuple[str, ...] = ()
    error: Error | None = None
    done: Done | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def report(self) -> dict[str, Any]:
        return self.done.report if self.done else {}


def transition(state: JobState, event: Event) -> JobState:
    """The state after ``event``. An ended job never changes again."""
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
