"""View words at their angles and on their way to the teacher, vocabulary, embedding cache."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from csd_addon.worker.method.synthesis import Synthesis

from csd_addon.core.mesh import Normalization
from csd_addon.core.resolving import resolve
from csd_addon.core.settings import JobSettings
from csd_addon.core.views import View
from csd_addon.jobs.folder import read_json
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.views import sample_pool
from csd_addon.worker.teacher.prompts import PromptCache, text_for, view_word
from tests import shapes
from tests.worker.test_synthesis import ImageTeacher

MINI = Path(__file__).parents[2] / "csd_addon" / "teachers" / "mini"
# What Blender's views of these names look at: the side that faces this way.
FACES = {"front": (0, -1), "right": (1, 0), "back": (0, 1), "left": (-1, 0)}


@pytest.mark.parametrize(
    ("azimuth", "elevation", "word"),
    [(0, 0, "front"), (44.9, 0, "front"), (45.1, 0, "side"), (-44.9, 0, "front"), (134.9, 0, "side"),
     (135.1, 0, "back"), (180, 0, "back"), (-180, 0, "back"), (181, 0, "back"), (539.9, 0, "back"), (360, 0, "front"),
     (315.1, 0, "front"), (314.9, 0, "side"), (0, 60, "front"), (0, 60.1, "overhead"), (180, -60.1, "bottom")],
)  # fmt: skip
def test_view_words(azimuth: float, elevation: float, word: str) -> None:
    assert view_word(View(azimuth, elevation, 3, 40), 0) == f"{word} view"
    # An object that is turned has its views turned with it.
    assert view_word(View(azimuth + 90, elevation, 3, 40), 90) == f"{word} view"


def expected_word(view: View, face: tuple[int, int]) -> str:
    """The word by the angle between the camera's direction over the ground and the way that the front faces."""
    if abs(view.elevation) > 60:
        return "overhead view" if view.elevation > 0 else "bottom view"
    x, y, _ = view.direction
    angle = math.degrees(math.acos((x * face[0] + y * face[1]) / math.hypot(x, y)))
    return "front view" if angle <= 45 else "back view" if angle >= 135 else "side view"


@pytest.mark.parametrize("front", FACES)
def test_each_view_of_a_run_gets_the_word_of_the_side_that_it_sees(front: str) -> None:
    mesh, small = shapes.cube(), {"resolution": 16, "view_pool": 24, "views_per_step": 24, "close_up_share": 0.0}
    settings = JobSettings(prompt="red brick", front=front, expert={**small, "levels": 4, "table_log2": 10}).validate()
    recipe, generator = resolve(settings, {}), torch.Generator().manual_seed(0)
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    teacher = ImageTeacher()
    pool = list(sample_pool(surface, recipe, generator, teacher.conditions))
    asked: list[str] = []
    embed = teacher.embed
    teacher.embed = lambda texts: asked.extend(texts) or embed(texts)  # type: ignore[method-assign]
    Synthesis(teacher, pool, recipe, prompt="red brick", negative="", loss="csd", generator=generator).step()
    wanted = {f"red brick, {expected_word(pooled.view, FACES[front])}" for pooled in pool}
    print(f"{front}: {sorted(wanted)}")
    assert set(asked) - {""} == wanted and len(wanted) >= 4
    one = next(pooled.view for pooled in pool if abs(pooled.view.elevation) < 20)
    assert text_for("x", one, recipe, close_up=False) == f"x, {expected_word(one, FACES[front])}"


def test_the_bundled_teachers_know_no_view_words_and_one_without_wishes_does() -> None:
    settings = JobSettings(prompt="x", front="left")
    for name in ("mini", "broad"):
        assert not resolve(settings, read_json(MINI.parent / name / "csd.json")).view_words
    recipe = resolve(settings, {})
    assert recipe.view_words and recipe.front == 270


def test_text_row_gets_view_and_close_up_words_as_the_recipe_says() -> None:
    view, recipe = View(180, 0, 3, 40), resolve(JobSettings(prompt="brick"), {})
    assert text_for("brick", view, recipe, close_up=True) == "brick, back view, close-up"
    silent = replace(recipe, view_words=False)
    assert text_for("brick", view, silent, close_up=False) == "brick"
    assert text_for("brick", view, replace(silent, close_up_words=""), close_up=True) == "brick"


def test_each_text_is_embedded_once() -> None:
    asked: list[str] = []

    def embed(texts) -> torch.Tensor:
        asked.extend(texts)
        return torch.stack([torch.full((2, 3), float(len(text))) for text in texts])

    cache = PromptCache(embed)
    result = cache(["a", "bbb", "a"])
    assert cache(["bbb"]).shape == (1, 2, 3) and asked == ["a", "bbb"]
    assert result[:, 0, 0].tolist() == [1.0, 3.0, 1.0]
