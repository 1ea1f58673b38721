"""What strikes the worker: the job ends in one sentence, the folder says which, and resume gives the whole result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csd_addon.core.settings import JobSettings
from csd_addon.jobs.folder import JobFolder, new_folder, read_json, write_json
from csd_addon.jobs.job import Job
from csd_addon.jobs.process import WorkerProcess, program_folder, worker_command
from csd_addon.jobs.state import JobState
from tests import shapes
from tests.faults.saboteur import FAULTS, command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

PHASES = ("load", "optimize", "step", "bake", "result")
# What the sentence must name.
WORDS = {
    "sigkill": "SIGKILL", "sigstop": "said nothing", "segfault": "SIGSEGV", "abort": "SIGABRT",
    "exit_quietly": "exit code 0", "hang": "said nothing", "garbage": "no message", "half_line": "exit code 3",
    "half_line_and_silence": "said nothing", "nonsense_values": "no message", "nested": "no message",
    "path_outside": "outside the job folder", "out_of_memory": "ran out of memory", "disk_full": "File too large",
    "too_many_files": "Too many open files", "folder_deleted": "No such file", "result_unwritable": "result",
}  # fmt: skip
# In these phases nothing is written any more that the fault could hurt.
HARMLESS = {("clock_jump", phase) for phase in PHASES} | {
    (fault, "result") for fault in ("disk_full", "too_many_files", "folder_deleted", "result_unwritable")
}


def chosen() -> list[tuple[str, str]]:
    pairs = [(fault, phase) for fault in FAULTS for phase in PHASES if (fault, phase) not in HARMLESS]
    pairs += [("clock_jump", phase) for phase in PHASES[:-1]]
    if os.environ.get("CSD_ALL_FAULTS"):
        return pairs
    # Each fault once, the phases in turn.
    turn = {fault: PHASES[i % (len(PHASES) - 1)] for i, fault in enumerate(FAULTS)}
    return [pair for pair in pairs if turn[pair[0]] == pair[1]]


def make_folder(parent: Path, **settings) -> JobFolder:
    folder = new_folder(parent)
    shapes.cube().save(folder.mesh)
    values = JobSettings(**{"prompt": "red brick", "size": 32, "iterations": 6, "seed": 3, **settings})
    write_json(folder.job, {"settings": values.to_json(), "teacher": {}})
    return folder


def run(folder: JobFolder, words: list[str], *, resume: bool = False, silence: float = 1.5) -> JobState:
    worker = WorkerProcess(words, log=folder.path.parent / "worker.log", cwd=program_folder())
    try:
        job = Job(folder, worker, silence_limit=silence)
        # Starting Python is no silence.
        while not (said := worker.receive()) and worker.exit_code() is None:
            time.sleep(0.02)
        assert said
        job.start(resume=resume)
        return job.wait()
    finally:
        worker.kill()


def healthy(folder: JobFolder, *, resume: bool = True) -> JobState:
    cache = folder.path.parent / "pycache"
    return run(folder, [*worker_command(Path(sys.executable), cache), "--fake"], resume=resume, silence=60)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = make_folder(tmp_path_factory.mktemp("whole"))
    assert healthy(folder, resume=False).status == "done"
    return folder.basecolor.read_bytes()


def require_one_sentence(sentence: str) -> None:
    assert sentence and "\n" not in sentence and "Traceback" not in sentence and sentence.rstrip().endswith(".")


@pytest.mark.parametrize(("fault", "phase"), chosen())
def test_a_fault_in_the_worker_costs_nothing(fault: str, phase: str, tmp_path: Path, undisturbed: bytes) -> None:
    folder = make_folder(tmp_path)
    state = run(folder, command(fault, phase, python=Path(sys.executable), fake=True))
    if fault == "clock_jump":
        assert state.status == "done" and folder.basecolor.read_bytes() == undisturbed
        return
    print(state.error)
    assert state.status == "failed"
    require_one_sentence(state.error.sentence)
    assert WORDS[fault] in state.error.sentence
    if fault not in ("folder_deleted", "disk_full", "too_many_files"):
        last = json.loads(folder.events.read_text("utf-8").splitlines()[-1])
        assert last["type"] == "error" and last["sentence"] == state.error.sentence
    repair(folder, fault)
    again = healthy(folder)
    assert again.status == "done", again.error
    assert folder.basecolor.read_bytes() == undisturbed and read_json(folder.report)["iterations"] == 6
    assert not list(folder.path.rglob("*.part*"))


def repair(folder: JobFolder, fault: str) -> None:
    """What the artist does: make room again, or start the job of a deleted folder anew."""
    if fault == "result_unwritable":
        folder.result.unlink(missing_ok=True)
        folder.create()
    if fault == "folder_deleted":
        anew = make_folder(folder.path.parent)
        if folder.path.exists():
            # What was written after the folder had gone.
            for path in sorted(folder.path.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            folder.path.rmdir()
        anew.path.rename(folder.path)


DAMAGE = {
    "mesh missing": lambda f: f.mesh.unlink(),
    "mesh truncated": lambda f: f.mesh.write_bytes(f.mesh.read_bytes()[:300]),
    "mesh empty": lambda f: f.mesh.write_bytes(b""),
    "mesh flipped": lambda f: f.mesh.write_bytes(flipped(f.mesh.read_bytes())),
    "job missing": lambda f: f.job.unlink(),
    "job truncated": lambda f: f.job.write_bytes(f.job.read_bytes()[:40]),
    "job no object": lambda f: f.job.write_text("[1, 2]"),
    "job nested": lambda f: f.job.write_text('{"a":' * 100_000),
    "job endless": lambda f: (f.job.unlink(), os.mkfifo(f.job)),
    "result is a link": lambda f: (f.result.rmdir(), f.result.symlink_to("/tmp", target_is_directory=True)),
    "events is a link": lambda f: f.events.symlink_to("/dev/full"),
    "checkpoint is a link": lambda f: (f.checkpoint.rmdir(), f.checkpoint.symlink_to("..")),
}


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x40]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_export_is_a_sentence(damage: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    DAMAGE[damage](folder)
    outside = sorted(p.name for p in tmp_path.iterdir())
    state = healthy(folder, resume=False)
    print(state.error)
    assert state.status == "failed" and state.error.kind == "input"
    require_one_sentence(state.error.sentence)
    assert folder.path.name in state.error.sentence
    assert {p.name for p in tmp_path.iterdir()} - {*outside, "worker.log", "pycache"} == set()


@pytest.mark.parametrize("phase", PHASES[:-1])
def test_blender_killed_while_the_worker_works(phase: str, tmp_path: Path, undisturbed: bytes) -> None:
    # A parent that starts the worker and is killed at once when the job has reached the phase.
    folder = make_folder(tmp_path)
    program = (
        "import os, sys, time; from pathlib import Path; from csd_addon.jobs.process import *\n"
        "from csd_addon.jobs.job import Job; from csd_addon.jobs.folder import *\n"
        f"w = WorkerProcess({command('hang', phase, python=Path(sys.executable), fake=True)!r},"
        f" log=Path({str(tmp_path / 'w.log')!r}), cwd=program_folder())\n"
        f"j = Job(JobFolder(Path({str(folder.path)!r})), w); j.start(); print(w.pid, flush=True)\n"
        f"while j.poll().phase != {'optimize' if phase == 'step' else phase!r}: time.sleep(0.02)\n"
        "time.sleep(0.2); os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=program_folder())
    worker = int(parent.stdout.readline())
    parent.wait()
    began = time.monotonic()
    while Path(f"/proc/{worker}").exists() and time.monotonic() - began < 20:
        time.sleep(0.05)
    print(f"the worker was gone after {time.monotonic() - began:.1f} s")
    assert not Path(f"/proc/{worker}").exists()
    assert healthy(folder).status == "done" and folder.basecolor.read_bytes() == undisturbed


def test_garbage_from_blender_ends_the_worker(tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [*worker_command(Path(sys.executable), tmp_path / "c"), "--fake"], cwd=program_folder(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    worker.stdin.write(b"\xff\xfe nothing of the sort\n")
    worker.stdin.flush()
    assert worker.wait(30) == 0 and b"Traceback" not in worker.stderr.read()
