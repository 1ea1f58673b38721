from __future__ import annotations

import re
from pathlib import Path

import pytest

from csd_addon.runtime.environment.interpreter import Interpreter
from csd_addon.runtime.environment.lockfile import LOCKS, choose, digest, pins

SHIPPED = sorted(LOCKS.glob("*.txt"))
PY311 = Interpreter(Path("a"), (3, 11), "linux-x64", has_venv=True)
PY313 = Interpreter(Path("b"), (3, 13), "linux-x64", has_venv=True)
PY314 = Interpreter(Path("c"), (3, 14), "linux-x64", has_venv=True)


def test_every_platform_has_its_lists() -> None:
    kinds = {re.sub(r"-(cpu|cuda|mps)-", "-", lock.stem) for lock in SHIPPED}
    platforms = ("linux-x64", "windows-x64", "macos-arm64")
    expected = {
        f"{kind}-{machine}-{python}"
        for kind in ("worker", "blender")
        for machine in platforms
        for python in ("py311", "py313")
    }
    assert kinds == expected


@pytest.mark.parametrize("lock", SHIPPED, ids=lambda lock: lock.stem)
def test_each_pin_has_a_sum_and_no_address(lock: Path) -> None:
    text = lock.read_text("utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if entry]
    assert len(entries) == len(pins(lock)) > 5
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9._-]+==[0-9a-z.+]+( \\\n    --hash=sha256:[0-9a-f]{64})+", entry), entry
    assert not re.search(r"https?:|file:|--index|--find-links|/", text)


def test_the_worker_is_the_same_everywhere() -> None:
    """Results must not depend on which list a machine took: only torch's build may differ."""
    names = ("torch", "diffusers", "transformers", "tokenizers", "safetensors", "numpy", "pillow", "psutil")
    seen = {
        tuple(pins(lock)[name].partition("+")[0] for name in names)
        for lock in SHIPPED
        if lock.stem.startswith("worker")
    }
    assert len(seen) == 1, seen


def test_blenders_are_the_oldest_and_the_newest_supported() -> None:
    for python, series in (("py311", "4.5."), ("py313", "5.2.")):
        found = {pins(lock)["bpy"] for lock in SHIPPED if lock.stem.endswith(python) and "bpy" in pins(lock)}
        assert len(found) == 1 and found.pop().startswith(series)


def lists(folder: Path, **content: str) -> Path:
    folder.mkdir()
    for name, text in content.items():
        (folder / f"{name.replace('_', '-')}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return lists(
        tmp_path / "locks",
        worker_linux_x64_cpu_py311="torch==2.0+cpu\n",
        worker_linux_x64_cuda_py311="torch==2.0\n",
        worker_linux_x64_cuda_py313="torch==2.0\n",
        blender_linux_x64_py313="bpy==5.0\n",
    )


def chosen(locks: Path, *interpreters: Interpreter, folders: tuple[Path, ...] = ()) -> str | None:
    choice = choose("worker", interpreters, wheel_folders=folders, locks=locks)
    return choice and choice.lock.stem


def test_the_first_interpreter_with_a_list_is_taken(locks: Path) -> None:
    assert chosen(locks, PY314, PY313, PY311) == "worker-linux-x64-cuda-py313"
    assert chosen(locks, PY311, PY313) == "worker-linux-x64-cuda-py311"
    assert chosen(locks, PY314) is None


def test_a_wheel_in_the_machines_own_folder_goes_first(locks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    assert chosen(locks, PY313, PY311, folders=(folder,)) == "worker-linux-x64-cuda-py313"
    (folder / "torch-2.0+cpu-cp313-cp313-linux_x86_64.whl").touch()
    (folder / "torch-2.1+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert chosen(locks, PY313, PY311, folders=(folder,)) == "worker-linux-x64-cuda-py313"
    (folder / "torch-2.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert chosen(locks, PY313, PY311, folders=(folder,)) == "worker-linux-x64-cpu-py311"


def test_a_kind_without_accelerators_is_found(locks: Path) -> None:
    choice = choose("blender", [PY311, PY313], wheel_folders=(), locks=locks)
    assert choice is not None
    assert (choice.interpreter, choice.accelerator) == (PY313, "")


def test_the_digest_follows_the_content_and_the_order(tmp_path: Path) -> None:
    first, second, windows = (tmp_path / name for name in ("a", "b", "c"))
    first.write_bytes(b"x==1\n")
    second.write_bytes(b"y==1\n")
    windows.write_bytes(b"x==1\r\n")
    assert digest([first]) == digest([windows])
    assert len({digest([first]), digest([second]), digest([first, second]), digest([second, first])}) == 4
