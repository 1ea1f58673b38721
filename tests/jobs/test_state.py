"""Every transition of a job's life."""

from __future__ import annotations

import pytest

from csd_addon.jobs.job import exit_code
from csd_addon.jobs.state import (
    CancelRequested,
    JobState,
    Launched,
    StopRequested,
    WorkerLost,
    transition,
)  # fmt: skip
from csd_addon.protocol import Cancelled, Done, Error, Hello, Phase, Preview, Progress, Warning

DONE = Done({"basecolor": "x.png"}, {"coverage": 1.0})


def after(*events: object) -> JobState:
    state = JobState()
    for event in events:
        state = transition(state, event)
    return state


def test_the_usual_life() -> None:
    progress = Progress(5, 10, 2.0, {"total": 0.5}, 100.0)
    steps = [(Launched(), "starting"), (Hello(), "starting"), (Phase("load"), "running"), (progress, "running"),
             (Preview("p.png"), "running"), (Warning("w"), "running"), (DONE, "done")]  # fmt: skip
    state = JobState()
    for event, status in steps:
        state = transition(state, event)
        assert state.status == status
    assert (state.iteration, state.of, state.seconds_left, state.memory_mb) == (5, 10, 2.0, 100.0)
    assert (state.preview, state.warnings, state.norms) == ("p.png", ("w",), (("total", 0.5),))
    assert state.report == {"coverage": 1.0} and exit_code(state) == 0


def test_stop_and_keep_then_done() -> None:
    state = after(Launched(), Phase("optimize"), StopRequested())
    assert state.status == "stopping"
    assert transition(state, Progress(6, 10, 1.0)).status == "stopping"
    assert transition(state, DONE).status == "done"
    assert transition(state, CancelRequested()).status == "cancelling"


def test_cancel_wins_and_keeps_the_iteration() -> None:
    state = after(Launched(), CancelRequested())
    assert transition(state, StopRequested()).status == "cancelling"
    ended = transition(state, Cancelled(7))
    assert (ended.status, ended.iteration, exit_code(ended)) == ("cancelled", 7, 130)
    assert transition(state, DONE).status == "done", "a result that arrives first is kept"


@pytest.mark.parametrize("before", [(Launched(),), (Launched(), Phase("a")), (Launched(), StopRequested())])
@pytest.mark.parametrize(
    ("event", "code"),
    [(Error("input", "No."), 2), (Error("teacher", "No."), 3), (Error("memory", "No."), 4), (WorkerLost("Gone."), 4),
     (Hello(protocol=99), 3)],
)  # fmt: skip
def test_failures_from_anywhere(before: tuple, event: object, code: int) -> None:
    state = after(*before, event)
    assert state.status == "failed" and state.error.sentence and exit_code(state) == code


@pytest.mark.parametrize("end", [DONE, Cancelled(1), Error("disk", "Full."), WorkerLost("Gone.")])
def test_an_ended_job_never_changes(end: object) -> None:
    ended = after(Launched(), end)
    assert ended.ended
    for event in (Launched(), Phase("a"), Progress(1, 2, 0), Error("x", "y"), CancelRequested(), DONE, Warning("w")):
        assert transition(ended, event) is ended


def test_a_job_that_was_not_started_cannot_be_stopped() -> None:
    assert after(StopRequested()).status == "new"


def test_previews_are_counted_because_their_path_stays_the_same() -> None:
    state = after(Launched(), Phase("optimize"), Preview("p.png"), Preview("p.png"))
    assert (state.preview, state.previews) == ("p.png", 2)
