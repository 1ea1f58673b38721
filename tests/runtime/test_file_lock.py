"""One holder at a time, even where the lock's file is deleted while others wait for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from csd_addon.runtime.errors import RuntimeMissing
from csd_addon.runtime.file_lock import is_locked, locked


@contextmanager
def waiter(path: Path) -> Iterator[threading.Event]:
    """Wait for the lock in a thread; the event tells when it is held, and it is held until the block ends."""
    waits, held, over = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        with locked(path, timeout=30, on_wait=waits.set):
            held.set()
            over.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert waits.wait(30)
    try:
        yield held
    finally:
        over.set()
        thread.join()


def test_a_lock_has_one_holder_and_its_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.lock"
    assert not is_locked(path) and not path.parent.exists()
    with locked(path, timeout=0):
        assert is_locked(path)
        with pytest.raises(RuntimeMissing, match="Another process is working on"), locked(path, timeout=0):
            pass
    assert path.exists() and not is_locked(path)


def test_a_lock_can_go_with_what_it_protects(tmp_path: Path) -> None:
    with locked(tmp_path / "a.lock", timeout=0, delete=True):
        pass
    assert not list(tmp_path.iterdir())


def test_who_waits_for_a_deleted_file_holds_the_only_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with ExitStack() as stack:
        with locked(path, timeout=0, delete=True):
            held = stack.enter_context(waiter(path))
        assert held.wait(30)
        with pytest.raises(RuntimeMissing), locked(path, timeout=0):
            pass
