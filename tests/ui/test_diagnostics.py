"""The figures of the last run, from its report and its events."""

from __future__ import annotations

import bpy
import pytest

from csd_addon.jobs.folder import new_folder, write_json
from csd_addon.ui import diagnostics, past_runs
from tests.scene.objects import cube

pytestmark = pytest.mark.usefixtures("addon")

REPORT = {
    "seconds": {"load": 4.959, "views": 0.676, "optimize": 80.344, "bake": 3.647, "total": 89.625}, "iterations": 300,
    "coverage": 0.99994, "seam_error": {"mean": 1.1143, "max": 41.994}, "bake_psnr": 47.561, "peak_memory_mb": 1215.6,
    "teacher": "mini",
}  # fmt: skip


def test_the_figures_of_a_report() -> None:
    rows = dict(diagnostics.figures(REPORT))
    assert rows == {
        "Load": "5.0 s", "Views": "0.7 s", "Optimize": "80.3 s", "Bake": "3.6 s", "Total": "89.6 s",
        "Iterations": "300", "Coverage": "99.99 %", "Seam error, mean": "1.11 / 255",
        "Seam error, largest": "42.0 / 255", "Bake PSNR": "47.6 dB", "Peak memory": "1216 MB",
    }  # fmt: skip


@pytest.mark.parametrize("report", [{}, {"seconds": None, "seam_error": 3, "coverage": "all", "iterations": True}])
def test_what_a_report_does_not_say_is_left_out(report: dict) -> None:
    assert diagnostics.figures(report) == []


@pytest.mark.parametrize("method", ["Sampling", "Distillation (CSD)", "Distillation (DDS)"])
def test_the_method_that_ran_comes_first(method: str) -> None:
    assert diagnostics.figures({"method": method, "iterations": 3}) == [("Method", method), ("Iterations", "3")]


def test_the_last_run_is_shown_with_its_plot() -> None:
    cube()
    for seed in (1, 2):
        bpy.ops.csd.texture("EXEC_DEFAULT", prompt=f"seed {seed}", size=64, iterations=30, seed=seed)
    past_runs.refresh()
    while past_runs._work() is not None:
        pass
    last = past_runs.last()
    assert last.words == "seed 2" and last.plot == last.folder.plot and last.plot.read_bytes()[:4] == b"\x89PNG"
    assert dict(diagnostics.figures(last.report))["Iterations"] == "30"
    write_json(new_folder(past_runs.folder()).job, {"object": "Cube", "settings": {"prompt": "not begun"}})
    past_runs.refresh()
    assert past_runs.entries()[0].words == "not begun"
    assert past_runs.last().words == "seed 2", "a run that has nothing to show is passed over"
    write_json(last.folder.report, REPORT)
    past_runs.refresh()
    assert dict(diagnostics.figures(past_runs.last().report))["Total"] == "89.6 s"
