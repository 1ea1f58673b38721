"""Whole jobs with the bundled teacher, from the folder to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from csd_addon.core.settings import JobSettings
from csd_addon.jobs.folder import JobFolder, new_folder, read_json, write_json
from csd_addon.protocol import Cancelled, Done, Phase, Preview, Progress, Warning
from csd_addon.worker.control import Control, JobFailure
from csd_addon.worker.run import run_job
from tests import shapes

MINI = Path(__file__).parents[2] / "csd_addon" / "teachers" / "mini"


def make_folder(tmp_path: Path, **settings) -> JobFolder:
    folder = new_folder(tmp_path)
    shapes.cube().save(folder.mesh)
    values = JobSettings(**{"prompt": "red brick", "size": 64, "iterations": 3, "preset": "draft", **settings})
    teacher = {"root": str(MINI)}
    write_json(folder.job, {"settings": values.to_json(), "teacher": teacher})
    return folder


def run(folder: JobFolder, *, resume: bool = False, cancel_at: int = 0, stop_at: int = 0) -> list:
    control, said = Control(), []

    def emit(message) -> None:
        said.append(message)
        # Progress is thinned out by time, so requests come with the first phase that can honour them.
        if isinstance(message, Phase) and message.name == "optimize":
            if cancel_at:
                control.request_cancel()
            if stop_at:
                control.request_stop()

    run_job(folder, control, emit, resume)
    return said


def test_job_ends_with_a_full_report(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    said = run(folder)
    assert [m.name for m in said if isinstance(m, Phase)] == ["load", "views", "optimize", "bake"]
    assert isinstance(said[-1], Done) and json.loads(json.dumps(said[-1].report)) == read_json(folder.report)
    assert any(isinstance(m, Progress) for m in said) and any(isinstance(m, Preview) for m in said)
    report = said[-1].report
    for name in ("seconds", "iterations", "coverage", "seam_error", "bake_psnr", "peak_memory_mb", "gradient_norms",
                 "teacher", "seed", "versions"):  # fmt: skip
        assert name in report
    assert report["coverage"] == 1.0 and report["iterations"] == 3 and report["peak_memory_mb"] > 100
    assert set(report["gradient_norms"]) == {"generative", "classifier", "total"}
    assert report["conditions"] == ["depth", "canny"] and report["warnings"] == []
    assert not list(folder.path.rglob("*.part"))


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    images = []
    for seed in (5, 5, 6):
        folder = make_folder(tmp_path, seed=seed)
        run(folder)
        images.append(folder.basecolor.read_bytes())
    assert images[0] == images[1] != images[2]


def test_cancel_then_resume_gives_the_undisturbed_result(tmp_path: Path) -> None:
    whole = make_folder(tmp_path)
    run(whole)
    folder = make_folder(tmp_path)
    assert run(folder, cancel_at=1)[-1] == Cancelled(0) and not folder.report.exists()
    assert isinstance(run(folder, resume=True)[-1], Done)
    assert folder.basecolor.read_bytes() == whole.basecolor.read_bytes()


def test_stop_and_keep_bakes_and_says_so(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    report = run(folder, stop_at=1)[-1].report
    assert report["stopped_early"] and report["iterations"] == 0 and folder.basecolor.exists()


def test_words_outside_the_vocabulary_get_a_warning_with_the_words(tmp_path: Path) -> None:
    said = run(make_folder(tmp_path, prompt="a red flibbertigibbet brick", iterations=1))
    (warning,) = [m.sentence for m in said if isinstance(m, Warning)]
    assert "flibbertigibbet" in warning and "brick" not in warning.replace("README", "")


def test_sds_runs_too(tmp_path: Path) -> None:
    report = run(make_folder(tmp_path, loss="sds", iterations=1))[-1].report
    assert report["gradient_norms"]["total"][0] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [({"prompt": ""}, "prompt is empty"), ({"size": 0}, "size"), ({"device": "cuda"}, "cuda")],
)  # fmt: skip
def test_bad_settings_are_refused_by_the_worker_too(tmp_path: Path, change: dict, words: str) -> None:
    import torch

    if "device" in change and torch.cuda.is_available():
        pytest.skip("this machine has the device that should be missing")
    with pytest.raises(JobFailure, match=words):
        run(make_folder(tmp_path, **change))


def test_missing_parts_of_the_teacher_are_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    job = read_json(folder.job)
    write_json(folder.job, {**job, "teacher": {"root": str(tmp_path / "nothing")}})
    with pytest.raises(JobFailure, match="nothing") as caught:
        run(folder)
    assert caught.value.kind == "teacher"
