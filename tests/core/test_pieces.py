"""Long work in pieces: a thread's result and errors come back, and closing leaves no thread behind."""

from __future__ import annotations

import threading
import time

import pytest

from csd_addon.scene.pieces import Pieces, in_thread, run_to_end


def test_the_result_comes_and_the_caller_is_never_kept() -> None:
    gate, main = threading.Event(), threading.get_ident()
    pieces = in_thread(lambda number: (gate.wait(10), number, threading.get_ident()), 7)
    for _ in range(3):
        next(pieces)
    gate.set()
    waited, number, thread = run_to_end(pieces)
    assert (waited, number) == (True, 7) and thread != main


def test_what_the_thread_raises_is_raised() -> None:
    def fails() -> None:
        raise OSError("The disk is full.")

    with pytest.raises(OSError, match="The disk is full"):
        run_to_end(in_thread(fails))


def test_pieces_of_pieces() -> None:
    def work() -> Pieces[int]:
        yield
        return (yield from in_thread(lambda: 3)) + 1

    assert run_to_end(work()) == 4


def test_closing_waits_so_that_what_was_written_can_be_removed() -> None:
    ended: list[bool] = []
    pieces = in_thread(lambda: (time.sleep(0.1), ended.append(True)))
    next(pieces)
    pieces.close()
    assert ended == [True]
