"""The diagnosis from a job folder to its figures, with a tiny teacher; and what each of its runs is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from csd_addon.core.diagnosis import VARIANTS
from csd_addon.core.recipe import Recipe, at
from csd_addon.core.resolving import overridden
from csd_addon.core.settings import JobSettings
from csd_addon.jobs.folder import new_folder, write_json
from csd_addon.protocol import Cancelled, Done, Warning
from csd_addon.worker.run import session
from csd_addon.worker.run.diagnosis import NEGATIVE, recipe_of
from csd_addon.worker.run.entry import run_job
from csd_addon.worker.serve.control import Control
from tests import shapes
from tests.worker.test_teacher import save_tiny

PREFERENCES = {
    "views": {"resolution": 64, "view_pool": 2, "views_per_step": 1, "view_words": False, "close_up_share": 0.0},
    "field": {"levels": 2, "table_log2": 6, "coarsest": 4, "finest": 8},
    "guide": {"negative": ""},
}


@pytest.fixture
def job(tmp_path: Path):
    root = save_tiny(tmp_path / "teacher")
    (root / "csd.json").write_text(json.dumps({"recipe": PREFERENCES}), encoding="utf-8")
    folder = new_folder(tmp_path)
    shapes.cube().save(folder.mesh)
    settings = JobSettings("diagnosis", prompt="red brick", preset="draft", iterations=2, device="cpu")
    write_json(folder.job, {"settings": settings.to_json(), "teacher": {"root": str(root)}})
    return folder


def test_a_diagnosis_leaves_its_figures(job) -> None:
    said: list = []
    (job.result / "report.json").write_text("{}", encoding="utf-8")  # of the texture of one step
    run_job(job, Control(), said.append, False)
    done = said[-1]
    assert isinstance(done, Done) and len(done.report["claims"]) == 3 and len(done.report["runs"]) == 7
    names = {Path(path).name for path in done.paths.values()}
    assert names == {"diagnosis.json", "norms.csv", "norms.png", "results.csv", "sweep.png", "negatives.png"}
    rows = (job.result / "norms.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + 7 * 2
    with Image.open(job.result / "sweep.png") as sweep, Image.open(job.result / "negatives.png") as negatives:
        assert sweep.width == negatives.width == 4 * 192 and sweep.height * 3 == negatives.height * 5
    assert done.report["negative"] == NEGATIVE


def test_a_memory_that_is_too_small_is_told_of_once(job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in each of the seven runs."""
    monkeypatch.setattr(session, "free_bytes", lambda device: 1)
    said: list = []
    run_job(job, Control(), said.append, False)
    assert isinstance(said[-1], Done) and len(said[-1].report["runs"]) == 7
    warnings = [message.sentence for message in said if isinstance(message, Warning)]
    print(warnings)
    assert sum("To fit into the memory" in sentence for sentence in warnings) == 1


@pytest.mark.parametrize("request_end", [Control.request_cancel, Control.request_stop])
def test_a_diagnosis_can_be_cancelled(job, request_end) -> None:
    control, said = Control(), []

    def emit(message) -> None:
        said.append(message)
        if getattr(message, "name", "") == "sds_7.5":
            request_end(control)

    run_job(job, control, emit, False)
    assert isinstance(said[-1], Cancelled) and not any(job.result.iterdir())


def test_the_runs_differ_in_their_rows_alone() -> None:
    base = overridden(Recipe(), {"negative": "ugly", "front": 90.0, "iterations": 7, "kappa": 0.3})
    for variant in VARIANTS:
        recipe, negative = recipe_of(base, variant, "")
        assert negative == ("ugly" if variant.negative else "") == recipe.guide.negative
        assert at(recipe.mover.kappa, 0.5) == 0 and (recipe.views.front, recipe.run.iterations) == (90.0, 7)
        was = {name: getattr(base.mover, name) for name in ("kappa", "w2", "sds_weight")}
        same = overridden(recipe, {"negative": "ugly", **was})
        assert same == base, variant.name
    annealed = recipe_of(base, VARIANTS[-1], "other words")
    assert annealed[1] == "other words" and [at(annealed[0].mover.w2, p) for p in (0, 0.5, 1)] == [1, 0.5, 0]
    assert recipe_of(overridden(base, {"negative": ""}), VARIANTS[-1], "")[1] == NEGATIVE
