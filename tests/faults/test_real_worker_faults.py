"""The true worker with torch: what it had reached is on disk, and resume ends in the very bytes of a whole run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from csd_addon.core.settings import JobSettings
from csd_addon.jobs.folder import JobFolder, new_folder, write_json
from csd_addon.jobs.process import worker_command
from tests import shapes
from tests.faults.saboteur import command
from tests.faults.test_worker_faults import flipped, repair, require_one_sentence, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

MINI = Path(__file__).parents[2] / "csd_addon" / "teachers" / "mini"
STATE, FORMER = "state.safetensors", "former.safetensors"
EVERY = bool(os.environ.get("CSD_ALL_FAULTS"))
SILENCE = 300.0


def make_folder(parent: Path) -> JobFolder:
    folder = new_folder(parent)
    shapes.cube().save(folder.mesh)
    expert = {"view_pool": 4, "levels": 4, "table_log2": 10}
    settings = JobSettings(prompt="red brick", size=64, iterations=4, preset="draft", seed=3, expert=expert)
    write_json(folder.job, {"settings": settings.to_json(), "teacher": {"root": str(MINI)}})
    return folder


def resumed(folder: JobFolder) -> object:
    return run(folder, worker_command(Path(sys.executable), folder.path.parent / "c"), resume=True, silence=SILENCE)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = make_folder(tmp_path_factory.mktemp("whole"))
    state = resumed(folder)
    assert state.status == "done", state.error
    return folder.basecolor.read_bytes()


@pytest.mark.parametrize(
    ("fault", "phase"),
    [("sigkill", "bake"), ("disk_full", "bake"), ("segfault", "step"), ("out_of_memory", "bake"), ("sigkill", "views"),
     ("folder_deleted", "step")][: None if EVERY else 1],
)  # fmt: skip
def test_resume_gives_the_bytes_of_an_undisturbed_run(
    fault: str, phase: str, tmp_path: Path, undisturbed: bytes
) -> None:
    folder = make_folder(tmp_path)
    words = command(fault, phase, python=Path(sys.executable), fake=False)
    state = run(folder, words, silence=SILENCE)
    print(state.error)
    assert state.status == "failed"
    require_one_sentence(state.error.sentence)
    if phase == "bake":
        assert {p.name for p in folder.checkpoint.iterdir()} >= {STATE, FORMER}
    if fault == "folder_deleted":
        repair_anew(folder)
    else:
        repair(folder, fault)
    again = resumed(folder)
    assert again.status == "done", again.error
    assert folder.basecolor.read_bytes() == undisturbed


def repair_anew(folder: JobFolder) -> None:
    shutil.rmtree(folder.path, ignore_errors=True)
    make_folder(folder.path.parent).path.rename(folder.path)


DAMAGE = {
    "flipped": lambda f: (f / STATE).write_bytes(flipped((f / STATE).read_bytes())),
    "truncated": lambda f: (f / STATE).write_bytes((f / STATE).read_bytes()[:-1000]),
    "missing": lambda f: (f / STATE).unlink(),
}


@pytest.mark.parametrize("damage", list(DAMAGE)[: None if EVERY else 1])
def test_a_damaged_checkpoint_costs_one_checkpoint(damage: str, tmp_path: Path, undisturbed: bytes) -> None:
    folder = make_folder(tmp_path)
    run(folder, command("sigkill", "bake", python=Path(sys.executable), fake=False), silence=SILENCE)
    DAMAGE[damage](folder.checkpoint)
    again = resumed(folder)
    assert again.status == "done", again.error
    assert folder.basecolor.read_bytes() == undisturbed


def test_two_damaged_checkpoints_are_a_sentence(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    run(folder, command("sigkill", "bake", python=Path(sys.executable), fake=False), silence=SILENCE)
    for name in (STATE, FORMER):
        path = folder.checkpoint / name
        path.write_bytes(flipped(path.read_bytes()))
    state = resumed(folder)
    print(state.error)
    require_one_sentence(state.error.sentence)
    assert state.error.kind == "input" and "start the run anew" in state.error.sentence
