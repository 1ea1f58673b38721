"""Real child processes: the fake worker, and programs that misbehave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csd_addon.core.settings import JobSettings
from csd_addon.jobs.folder import JobFolder, new_folder, read_json, write_json
from csd_addon.jobs.job import Job, exit_code
from csd_addon.jobs.process import WorkerProcess, program_folder, worker_command, worker_environment
from csd_addon.jobs.state import JobState
from csd_addon.protocol import Hello, ProtocolError, encode
from tests import shapes


def make_folder(tmp_path: Path, **settings) -> JobFolder:
    folder = new_folder(tmp_path)
    shapes.cube().save(folder.mesh)
    values = JobSettings(**{"prompt": "red brick", "size": 32, **settings})
    write_json(folder.job, {"settings": values.to_json(), "teacher": {}})
    return folder


def fake_worker(tmp_path: Path) -> WorkerProcess:
    command = [*worker_command(Path(sys.executable), tmp_path / "pycache"), "--fake"]
    return WorkerProcess(command, log=tmp_path / "worker.log", cwd=program_folder())


def scripted(tmp_path: Path, program: str) -> WorkerProcess:
    """A worker that is the Python text ``program``."""
    return WorkerProcess([sys.executable, "-c", program], log=tmp_path / "worker.log", cwd=tmp_path)


@pytest.fixture
def worker(tmp_path: Path):
    process = fake_worker(tmp_path)
    yield process
    process.stop()


HELLO = f"import sys, time; sys.stdout.buffer.write({encode(Hello())!r}); sys.stdout.flush(); "


def pieces(log: list[str], error: Exception | None = None):
    """Two pieces of work, after which comes ``error``."""
    try:
        for piece in ("one", "two"):
            log.append(piece)
            yield
        if error:
            raise error
    finally:
        log.append("end")


def test_the_worker_is_asked_after_what_comes_first(tmp_path: Path, worker: WorkerProcess) -> None:
    folder, log = make_folder(tmp_path), []
    job = Job(folder, worker)
    job.start(first=pieces(log))
    job.stop_and_keep()
    assert log == [] and job.is_preparing and job.state.status == "stopping"
    job.poll()
    assert log == ["one"] and not folder.events.exists()
    assert job.wait().status == "done" and log == ["one", "two", "end"]
    assert read_json(folder.report)["stopped_early"], "the wish to stop was passed on"


def test_what_comes_first_fails_the_job_in_one_sentence(tmp_path: Path, worker: WorkerProcess) -> None:
    folder, log = make_folder(tmp_path), []
    job = Job(folder, worker)
    job.start(first=pieces(log, ValueError("The mask is black.")))
    state = job.wait()
    assert (state.status, state.error.kind, state.error.sentence) == ("failed", "input", "The mask is black.")
    assert exit_code(state) == 2 and not folder.events.exists()
    again = Job(folder, worker)
    again.start()
    assert again.wait().status == "done", "the worker is as it was"


def test_cancel_before_the_worker_was_asked(tmp_path: Path, worker: WorkerProcess) -> None:
    folder, log = make_folder(tmp_path), []
    job = Job(folder, worker)
    job.start(first=pieces(log))
    job.poll()
    job.cancel()
    assert job.state.status == "cancelled" and log == ["one", "end"] and not folder.events.exists()
    again = Job(folder, worker)
    again.start()
    assert again.wait().status == "done", "the worker is as it was"


def test_two_jobs_in_one_warm_worker(tmp_path: Path, worker: WorkerProcess) -> None:
    for seed in (1, 2):
        folder = make_folder(tmp_path, seed=seed)
        job = Job(folder, worker)
        job.start()
        states = []
        state = job.wait(states.append)
        assert state.status == "done" and exit_code(state) == 0
        assert read_json(folder.report)["seed"] == seed and folder.basecolor.read_bytes()[:4] == b"\x89PNG"
        events = [json.loads(line) for line in folder.events.read_text(encoding="utf-8").splitlines()]
        assert [e["name"] for e in events if e["type"] == "phase"] == ["load", "optimize", "bake"]
        assert events[-1]["type"] == "done" and states[-1].ended and state.preview
        assert not list(folder.path.rglob("*.part"))


def test_stop_and_keep_bakes_what_is_there(tmp_path: Path, worker: WorkerProcess) -> None:
    job = Job(make_folder(tmp_path, iterations=100_000), worker)
    job.start()
    state = job.wait(lambda s: job.stop_and_keep() if s.iteration > 4 and s.status == "running" else None)
    assert state.status == "done" and state.report["stopped_early"] and job.folder.basecolor.exists()


def test_cancel_keeps_a_checkpoint_and_resume_continues(tmp_path: Path, worker: WorkerProcess) -> None:
    folder = make_folder(tmp_path, iterations=400)
    job = Job(folder, worker)
    job.start()
    began = time.monotonic()
    state = job.wait(lambda s: job.cancel() if s.iteration > 4 and s.status == "running" else None)
    assert state.status == "cancelled" and exit_code(state) == 130 and not folder.report.exists()
    assert time.monotonic() - began < 5
    again = Job(folder, worker)
    again.start(resume=True)
    first = []
    assert again.wait(lambda s: first.append(s.iteration) if s.iteration else None).status == "done"
    print(f"cancelled at {state.iteration}, went on at {first[0]}")
    assert first[0] >= state.iteration > 4


def test_cancel_right_behind_the_start_is_not_lost(tmp_path: Path, worker: WorkerProcess) -> None:
    job = Job(make_folder(tmp_path, iterations=100_000), worker)
    job.start()
    job.cancel()
    began = time.monotonic()
    assert job.wait().status == "cancelled" and worker.exit_code() is None, "answered, not killed"
    assert time.monotonic() - began < 3


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killed_worker_is_a_sentence_and_exit_code_4(tmp_path: Path, worker: WorkerProcess) -> None:
    job = Job(make_folder(tmp_path, iterations=100_000), worker)
    job.start()

    def kill_early(s: JobState) -> None:
        if s.status == "running" and s.iteration >= 3:
            os.kill(worker.pid, signal.SIGKILL)

    state = job.wait(kill_early)
    assert state.status == "failed" and exit_code(state) == 4
    assert "SIGKILL" in state.error.sentence and str(worker.log) in state.error.sentence


def test_crash_inside_the_worker(tmp_path: Path, worker: WorkerProcess) -> None:
    job = Job(make_folder(tmp_path, prompt="crash"), worker)
    job.start()
    assert "exit code 11" in job.wait().error.sentence


def test_hung_worker_is_noticed_and_killed(tmp_path: Path, worker: WorkerProcess) -> None:
    job = Job(make_folder(tmp_path, prompt="hang"), worker, silence_limit=1.0)
    job.start()
    state = job.wait()
    assert "said nothing for 1 seconds" in state.error.sentence and worker.exit_code() is not None


def test_cancelling_a_hung_worker_ends_within_five_seconds(tmp_path: Path, worker: WorkerProcess) -> None:
    job = Job(make_folder(tmp_path, prompt="hang"), worker)
    job.start()
    while job.poll().iteration < 2:
        time.sleep(0.02)
    began = time.monotonic()
    job.cancel()
    assert job.wait().status == "cancelled"
    print(f"{time.monotonic() - began:.1f} s, limit 5")
    assert time.monotonic() - began < 5


def test_bad_input_is_reported_by_the_worker(tmp_path: Path, worker: WorkerProcess) -> None:
    folder = make_folder(tmp_path)
    folder.mesh.write_bytes(b"not a mesh")
    job = Job(folder, worker)
    job.start()
    state = job.wait()
    assert exit_code(state) == 2 and "mesh.npz" in state.error.sentence
    assert "Traceback" in folder.log.read_text(encoding="utf-8"), "the log has the details"
    next_job = Job(make_folder(tmp_path), worker)
    next_job.start()
    assert next_job.wait().status == "done", "the worker survives a failed job"


@pytest.mark.parametrize(
    ("program", "words"),
    [(HELLO + "print('garbage'); sys.stdout.flush(); time.sleep(60)", "no message"),
     (HELLO + "sys.stdout.write('{\"type\": \"prog'); sys.stdout.flush(); sys.exit(3)", "exit code 3"),
     ("import sys; sys.exit(0)", "exit code 0"),
     ("import sys, time; print('{\"type\":\"hello\",\"protocol\":0}', flush=True); time.sleep(60)", "protocol 0"),
     (HELLO + "sys.stdout.buffer.write(b'x' * 2**25); sys.stdout.flush(); time.sleep(60)", "without a line end")],
    ids=["garbage", "half a line", "silent exit", "other version", "endless line"],
)  # fmt: skip
def test_misbehaving_programs(tmp_path: Path, program: str, words: str) -> None:
    worker = scripted(tmp_path, program)
    job = Job(make_folder(tmp_path), worker)
    job.start()
    state = job.wait()
    worker.kill()
    assert state.status == "failed" and words in state.error.sentence


def test_an_endless_line_is_noticed_behind_a_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much of both comes at once; many short lines are no long one."""
    for long, refused in ((b"x", True), (b"\n", False)):
        worker = scripted(tmp_path, "import time; time.sleep(60)")
        arrived = iter([encode(Hello()) + long * 2**23, long * 2**23, long * 2**23, b""])
        monkeypatch.setattr("csd_addon.jobs.process.read_available", lambda _, arrived=arrived: next(arrived))
        if refused:
            with pytest.raises(ProtocolError, match="16 MB without a line end"):
                worker.receive()
        else:
            assert worker.receive() == [Hello()]
        worker.kill()


def test_worker_ends_when_its_life_line_closes(tmp_path: Path) -> None:
    # A parent that starts a worker on a long job and is then killed, as Blender may be.
    folder = make_folder(tmp_path, iterations=100_000)
    program = (
        "import sys, time; from pathlib import Path; from csd_addon.jobs.process import *\n"
        "from csd_addon.jobs.job import Job; from csd_addon.jobs.folder import *\n"
        f"w = WorkerProcess([*worker_command(Path(sys.executable), Path({str(tmp_path)!r}) / 'c'), '--fake'],"
        f" log=Path({str(tmp_path)!r}) / 'w.log', cwd=program_folder())\n"
        f"j = Job(JobFolder(Path({str(folder.path)!r})), w); j.start()\n"
        "while j.poll().iteration < 3: time.sleep(0.05)\n"
        "print(w.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=program_folder())
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    began = time.monotonic()
    while _alive(pid) and time.monotonic() - began < 10:
        time.sleep(0.05)
    print(f"the worker was gone after {time.monotonic() - began:.1f} s, limit 5")
    assert not _alive(pid) and time.monotonic() - began < 5
    assert (folder.checkpoint / "fake.txt").exists(), "it saved what it had"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_replay_runs_a_folder_without_blender(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    command = [*worker_command(Path(sys.executable), tmp_path / "c"), "--fake", "--replay", str(folder.path)]
    done = subprocess.run(command, cwd=program_folder(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["type"] == "done"
    missing = subprocess.run([*command[:-1], str(tmp_path)], cwd=program_folder(), capture_output=True, text=True)
    assert missing.returncode == 2 and "no job folder" in missing.stderr or "not a job folder" in missing.stderr


def test_a_result_that_can_not_be_written_is_a_sentence(tmp_path: Path, worker: WorkerProcess) -> None:
    folder = make_folder(tmp_path)
    folder.result.rmdir()
    folder.result.write_bytes(b"")
    job = Job(folder, worker)
    job.start()
    state = job.wait()
    assert state.error.kind == "disk" and exit_code(state) == 4 and not state.done


def test_environment_is_clean_and_one_threaded() -> None:
    base = {"PYTHONPATH": "x", "PYTHONHOME": "y", "PATH": "z", "LD_PRELOAD": "w"}
    environment = worker_environment(base)
    assert "PYTHONPATH" not in environment and "PYTHONHOME" not in environment and "LD_PRELOAD" not in environment
    assert environment["PATH"] == "z" and environment["OMP_NUM_THREADS"] == "1"
    assert environment["MALLOC_MMAP_MAX_"] == "0" and environment["HF_HUB_OFFLINE"] == "1"
    assert worker_environment({"OMP_NUM_THREADS": "4"})["OMP_NUM_THREADS"] == "4"


def test_json_files_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        write_json(path, {"a": float("inf")})
    assert read_json(path) == {"a": 1}
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match="JSON object"):
        read_json(path)


def test_a_word_to_a_lost_worker_makes_no_noise_later(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from csd_addon.jobs.process import WorkerProcess
from csd_addon.protocol import Cancel
worker = WorkerProcess([sys.executable, "-c", "pass"], log=Path(sys.argv[1]), cwd=Path("."))
while worker.exit_code() is None:
    time.sleep(0.01)
worker.send(Cancel())
"""
    words = [sys.executable, "-c", script, str(tmp_path / "worker.log")]
    done = subprocess.run(words, cwd=program_folder(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
