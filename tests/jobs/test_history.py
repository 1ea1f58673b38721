"""The list of earlier runs: real runs of the fake worker, and folders that someone has broken."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from csd_addon.jobs.folder import JobFolder, new_folder, write_json
from csd_addon.jobs.history import delete_run, gradient_norms, list_runs
from csd_addon.jobs.job import Job
from tests.jobs.test_job import fake_worker, make_folder


def plain(parent: Path, *, age: float = 0.0, **settings: object) -> JobFolder:
    """A job folder that was set up and never run."""
    folder = new_folder(parent)
    write_json(folder.job, {"object": "Cube", "settings": {"kind": "texture", "prompt": "red brick", **settings}})
    then = folder.job.stat().st_mtime - age
    os.utime(folder.job, (then, then))
    return folder


def write_events(folder: JobFolder, *messages: object, end: str = "\n") -> None:
    folder.events.write_text("\n".join(map(json.dumps, messages)) + end, encoding="utf-8")


def progress(iteration: int, **norms: object) -> dict[str, object]:
    return {"type": "progress", "iteration": iteration, "of": 9, "seconds_left": 0.0, "norms": norms}


def test_no_folder_is_no_history(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "none") == []
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert list_runs(tmp_path / "file") == [] and list_runs(tmp_path) == []


def test_a_finished_and_a_cancelled_run(tmp_path: Path) -> None:
    worker = fake_worker(tmp_path)
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    try:
        done = Job(make_folder(jobs, seed=3), worker)
        done.start()
        done.wait()
        os.utime(done.folder.job, (1, 1))
        cancelled = Job(make_folder(jobs, iterations=100_000), worker)
        cancelled.start()
        cancelled.wait(lambda s: cancelled.cancel() if s.iteration > 2 and s.status == "running" else None)
    finally:
        worker.stop()
    newest, oldest = list_runs(jobs)
    assert (newest.state, oldest.state) == ("cancelled", "done")
    assert (oldest.words, oldest.settings["seed"], oldest.date) == ("red brick", 3, 1.0)
    assert oldest.seconds > 0 == newest.seconds and oldest.picture == done.folder.basecolor
    assert newest.picture == cancelled.folder.preview / "basecolor.png"
    assert oldest.size == sum(path.stat().st_size for path in done.folder.path.rglob("*") if path.is_file())
    curve = gradient_norms(done.folder)["total"]
    assert [i for i, _ in curve] == list(range(1, 21)) and curve[4] == (5, 0.2)


def test_newest_first_and_the_words_of_an_edit(tmp_path: Path) -> None:
    plain(tmp_path, age=50, prompt="old")
    plain(tmp_path, age=5, kind="edit", target="blue", remove="red", prompt="not this")
    plain(tmp_path, age=500, prompt="oldest")
    entries = list_runs(tmp_path)
    assert [entry.words for entry in entries] == ["blue", "old", "oldest"]
    assert [entry.is_edit for entry in entries] == [True, False, False]
    assert {entry.state for entry in entries} == {"unfinished"} and entries[0].object == "Cube"


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [("job.json", None, "job.json is missing"), ("job.json", '{"settings": ', "job.json is missing or damaged"),
     ("job.json", "[]", "JSON object"), ("job.json", '{"settings": 3}', "holds no settings"),
     ("job.json", "\0\xff", "job.json is missing or damaged"),
     ("result/report.json", "{", "report.json is missing or damaged")],
    ids=["no job", "half a job", "a list", "no settings", "garbage", "half a report"],
)  # fmt: skip
def test_damaged_folders_are_listed_as_such(tmp_path: Path, file: str, text: str | None, words: str) -> None:
    good, bad = plain(tmp_path), plain(tmp_path, age=9)
    if text is None:
        (bad.path / file).unlink()
    else:
        (bad.path / file).write_bytes(text.encode("latin-1"))
    entries = {entry.folder.path: entry for entry in list_runs(tmp_path)}
    assert entries[good.path].state == "unfinished" and not entries[good.path].problem
    assert entries[bad.path].state == "damaged" and words in entries[bad.path].problem
    delete_run(bad, tmp_path)
    assert [entry.folder for entry in list_runs(tmp_path)] == [good]


def test_what_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    folders = [plain(tmp_path, age=age) for age in (1, 2, 3, 4)]
    first = list_runs(tmp_path)
    write_json(folders[0].report, {"seconds": {"total": 2.0}})
    write_events(folders[1], {"type": "cancelled", "iteration": 3})
    (folders[2].path / "thumbnail.png").write_bytes(b"12345")
    second = list_runs(tmp_path, first)
    assert [a is b for a, b in zip(first, second, strict=True)] == [False, False, False, True]
    assert [entry.state for entry in second] == ["done", "cancelled", "unfinished", "unfinished"]
    assert second[2].size == first[2].size + 5 and second == list_runs(tmp_path)


def test_values_of_the_wrong_kind_are_no_traceback(tmp_path: Path) -> None:
    folder = plain(tmp_path, prompt=["a", 1])
    write_json(folder.report, {"seconds": "long", "iterations": None})
    (entry,) = list_runs(tmp_path)
    assert entry.state == "done" and entry.seconds == 0.0 and entry.words == "['a', 1]"


def test_only_a_folder_of_the_history_is_deleted(tmp_path: Path) -> None:
    jobs, elsewhere = tmp_path / "jobs", tmp_path / "elsewhere"
    jobs.mkdir()
    kept = plain(elsewhere)
    (jobs / "link").symlink_to(kept.path)
    for folder in (kept, JobFolder(jobs / "link"), JobFolder(jobs / "nothing"), JobFolder(jobs / ".." / "elsewhere")):
        with pytest.raises(ValueError, match="no job folder of the history"):
            delete_run(folder, jobs)
    assert kept.job.is_file() and list_runs(jobs) == [], "a link is no job folder"


def test_norms_of_damaged_and_resumed_events(tmp_path: Path) -> None:
    folder = plain(tmp_path)
    assert gradient_norms(folder) == {}
    write_events(
        folder, progress(1, total=1.0), progress(4, total=0.5, classifier=2), "text", progress(6, total=0.1),
        {"type": "phase", "name": "load"}, progress(5, total=0.4), progress(7, total=True, classifier="x"),
        {"type": "progress", "iteration": "8", "norms": {"total": 1}}, end='\n{"type": "progr',
    )  # fmt: skip
    assert gradient_norms(folder) == {"total": [(1, 1.0), (4, 0.5), (5, 0.4)], "classifier": [(4, 2.0)]}


def test_the_end_of_very_long_events_is_found(tmp_path: Path) -> None:
    folder = plain(tmp_path)
    write_events(folder, *[progress(i, total=1.0) for i in range(3000)], {"type": "cancelled", "iteration": 3000})
    assert list_runs(tmp_path)[0].state == "cancelled" and len(gradient_norms(folder)["total"]) == 3000
