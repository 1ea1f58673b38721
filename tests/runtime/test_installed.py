"""The runtime as a panel sees it: by its files, for this release or for another one."""

from __future__ import annotations

import json
import os
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from csd_addon.runtime import folders
from csd_addon.runtime.environment import installed, lockfile, venv
from csd_addon.runtime.environment.compute import Device
from csd_addon.runtime.environment.user_python import WORKER_MODULES
from csd_addon.runtime.errors import RuntimeMissing
from csd_addon.runtime.file_lock import locked
from csd_addon.runtime.paths import Paths

from .conftest import lay_packages
from .test_file_lock import waiter

LOCK = lockfile.LOCKS / "worker-linux-x64-cpu-py311.txt"


def lay(paths: Paths, name: str = "worker-cpu-py311", *, lock: Path = LOCK, stamp: str = "1") -> Path:
    """Put a complete runtime of empty files into place."""
    directory = paths.environments / name
    python = venv.interpreter_in(directory)
    python.parent.mkdir(parents=True)
    python.touch()
    lay_packages(directory, *WORKER_MODULES)
    marker = {"locks": lockfile.digest([lock]), "stamp": stamp}
    (directory / venv.MARKER).write_text(json.dumps(marker), encoding="utf-8")
    return directory


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "home")


def test_none_at_all(paths: Paths) -> None:
    assert installed.find(paths, "1") is None
    assert installed.remove_all(paths) == 0 and not paths.base.exists()


def test_a_complete_one_of_this_release(paths: Paths) -> None:
    directory = lay(paths)
    device = Device("cuda", "Toy card", "2.0", 100.0)
    kept = {"device": device.to_json(), "bytes": 5}
    (directory / venv.CHECKED).write_text(json.dumps(kept), encoding="utf-8")
    found = installed.find(paths, "1")
    assert found == installed.Installed(directory, "ready", LOCK, device, 5)
    assert found and found.python == venv.interpreter_in(directory) and found.accelerator == "cpu"


def test_another_list_or_protocol_is_stale(paths: Paths, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("torch==1.0\n", encoding="utf-8")
    lay(paths, lock=other)
    found = installed.find(paths, "1")
    assert found and (found.state, found.lock) == ("stale", None)
    lay(paths, "worker-cuda-py311", lock=lockfile.LOCKS / "worker-linux-x64-cuda-py311.txt", stamp="0")
    found = installed.find(paths, "1")
    assert found and found.state == "stale"


def test_a_lost_torch_is_broken(paths: Paths) -> None:
    directory = lay(paths)
    next(directory.rglob("torch.py")).unlink()
    found = installed.find(paths, "1")
    assert found and found.state == "broken"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"device": {"kind": 1}, "bytes": 1}'])
def test_a_spoilt_note_only_hides_the_device(paths: Paths, text: str) -> None:
    (lay(paths) / venv.CHECKED).write_text(text, encoding="utf-8")
    found = installed.find(paths, "1")
    assert found and (found.state, found.device) == ("ready", None)


def test_a_ready_one_goes_before_a_newer_broken_one_and_the_newest_before_all(paths: Paths) -> None:
    cpu = lay(paths)
    cuda = lay(paths, "worker-cuda-py311", lock=lockfile.LOCKS / "worker-linux-x64-cuda-py311.txt")
    os.utime(cpu / venv.MARKER, (1, 1))
    found = installed.find(paths, "1")
    assert found and found.directory == cuda
    (cuda / venv.MARKER).unlink()
    found = installed.find(paths, "1")
    assert found and found.directory == cpu
    installed.remove_others(paths, keep=cpu)
    assert not cuda.exists() and cpu.exists()


def test_removing_leaves_what_is_the_artists(paths: Paths) -> None:
    lay(paths)
    for folder in (paths.cache / "uv", paths.cache / "uv-0123", paths.logs):
        folder.mkdir(parents=True)
        (folder / "install-worker-cpu-py311.log").write_text("x" * 10)
    assert installed.log(paths) == paths.logs / "install-worker-cpu-py311.log"
    weights, job = paths.teachers / "sd15", paths.jobs / "one"
    for folder in (weights, job):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    freed = installed.remove_all(paths)
    assert freed > 20 and installed.find(paths, "1") is None
    assert sorted(str(path.relative_to(paths.base)) for path in paths.base.rglob("*")) == [
        "jobs", "jobs/one", "jobs/one/file", "teachers", "teachers/sd15", "teachers/sd15/file",
    ]  # fmt: skip


def test_one_that_is_being_installed_is_not_removed(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "LOCK_TIMEOUT", 0.3)
    directory = lay(paths)
    next(directory.rglob("torch.py")).unlink()
    with locked(directory.with_suffix(".lock"), timeout=0):
        found = installed.find(paths, "1")
        assert found and found.state == "busy"
        with pytest.raises(RuntimeMissing, match="Another process is working on"):
            installed.remove_all(paths)
    found = installed.find(paths, "1")
    assert found and found.state == "broken"


def test_who_waits_while_one_is_removed_holds_the_only_lock(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = lay(paths).with_suffix(".lock")
    with ExitStack() as stack:
        waiting: list[threading.Event] = []
        size = folders.size

        def size_while_another_waits(folder: Path) -> int:
            waiting.append(stack.enter_context(waiter(lock)))
            return size(folder)

        monkeypatch.setattr(folders, "size", size_while_another_waits)
        installed.remove_all(paths)
        assert waiting[0].wait(30)
        with pytest.raises(RuntimeMissing), locked(lock, timeout=0):
            pass
