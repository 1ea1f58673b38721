"""The check at the end of every installation, run by a true interpreter on a torch of a few lines."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from csd_addon.runtime.environment.compute import Device, check_command, read_device
from csd_addon.runtime.environment.venv import interpreter_in

from .conftest import toy_torch


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder)
    return folder


def run(empty: Path, torch: str | None, *modules: str) -> subprocess.CompletedProcess[str]:
    (packages,) = empty.glob("Lib/site-packages" if sys.platform == "win32" else "lib/python3*/site-packages")
    module = packages / "torch.py"
    module.unlink(missing_ok=True)
    if torch is not None:
        module.write_text(torch, encoding="utf-8")
    command = check_command(interpreter_in(empty), modules)
    # Without compiled files: two versions of the toy within a second would be taken for one.
    return subprocess.run([command[0], "-B", *command[1:]], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("torch", "kind", "problem"),
    [
        (toy_torch(), "cpu", ""),
        (toy_torch(seen="cuda"), "cuda", ""),
        (toy_torch(seen="mps"), "mps", ""),
        (toy_torch(seen="cuda", broken="cuda"), "cpu", "does not compute: no kernel image is available"),
        (toy_torch(seen="mps", wrong="mps"), "cpu", "a product of two matrices is wrong"),
    ],
)
def test_the_best_device_that_computes_is_found(empty: Path, torch: str, kind: str, problem: str) -> None:
    done = run(empty, torch, "torch")
    found = read_device(done.stdout)
    assert found is not None, done.stderr
    print(found.sentence)
    assert found.kind == kind and problem in found.problem and bool(found.problem) == bool(problem)
    assert found.gflops > 0
    assert Device.from_json(found.to_json()) == found


def test_a_card_is_described(empty: Path) -> None:
    found = read_device(run(empty, toy_torch(seen="cuda"), "torch").stdout)
    assert found is not None
    assert (found.name, found.memory_gb, found.capability) == ("Toy card", 8.0, "6.1")
    assert "Toy card (cuda): 8 GB" in found.sentence and "compute capability 6.1" in found.sentence


def test_no_device_at_all_is_an_error(empty: Path) -> None:
    done = run(empty, toy_torch(wrong="cpu"), "torch")
    assert done.returncode and "ERROR: no device multiplies two matrices: cpu is there" in done.stderr


def test_missing_modules_are_named_before_anything_is_computed(empty: Path) -> None:
    done = run(empty, None, "torch", "csd_absent", "json")
    assert done.returncode and "torch (ModuleNotFoundError" in done.stderr and "csd_absent" in done.stderr
    assert "json (" not in done.stderr
    assert read_device(done.stdout) is None


def test_without_torch_nothing_is_computed(empty: Path) -> None:
    done = run(empty, None, "json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("kept", [None, [], {}, {"kind": "cpu"}, {"kind": "cpu", "name": "", "torch": "", "x": 1}])
def test_another_releases_note_is_not_taken_for_a_device(kept: object) -> None:
    assert Device.from_json(kept) is None
