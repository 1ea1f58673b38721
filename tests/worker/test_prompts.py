"""View words at their angles and on their way to the teacher, vocabulary, embedding cache."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from csd_addon.core.mesh import Normalization
from csd_addon.core.resolving import resolve
from csd_addon.core.settings import JobSettings
from csd_addon.core.teacher_folder import read_preferences
from csd_addon.core.views import View
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.views import sample_pool
from csd_addon.worker.method.assembly import assemble
from csd_addon.worker.method.guide import Words
from csd_addon.worker.shape.appearance import NewTexture
from csd_addon.worker.teacher.diffusion import MOST_EMBEDDED, DiffusionTeacher
from csd_addon.worker.teacher.loading import load_networks
from csd_addon.worker.teacher.prompts import text_for, view_word
from tests import shapes
from tests.worker.test_loop import ImageTeacher
from tests.worker.test_teacher import CPU, save_tiny

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
    pool = list(sample_pool(surface, recipe.views, generator, teacher.conditions))
    asked: list[str] = []
    predict_noise = teacher.predict_noise

    def listening(x_t, t, told, rows):
        asked.extend(text for row in rows for text in told.prompts[row])
        return predict_noise(x_t, t, told, rows)

    teacher.predict_noise = listening  # type: ignore[method-assign]
    words = Words("red brick")
    assemble(teacher, pool, NewTexture(recipe), recipe, words, loss="csd", generator=generator).step()
    wanted = {f"red brick, {expected_word(pooled.view, FACES[front])}" for pooled in pool}
    print(f"{front}: {sorted(wanted)}")
    assert set(asked) - {""} == wanted and len(wanted) >= 4
    one = next(pooled.view for pooled in pool if abs(pooled.view.elevation) < 20)
    assert text_for("x", one, recipe.views, close_up=False) == f"x, {expected_word(one, FACES[front])}"


def test_the_bundled_teachers_know_no_view_words_and_one_without_wishes_does() -> None:
    settings = JobSettings(prompt="x", front="left")
    for name in ("mini", "broad"):
        assert not resolve(settings, read_preferences(MINI.parent / name)).views.view_words
    views = resolve(settings, {}).views
    assert views.view_words and views.front == 270


def test_text_row_gets_view_and_close_up_words_as_the_recipe_says() -> None:
    view, numbers = View(180, 0, 3, 40), resolve(JobSettings(prompt="brick"), {}).views
    assert text_for("brick", view, numbers, close_up=True) == "brick, back view, close-up"
    silent = replace(numbers, view_words=False)
    assert text_for("brick", view, silent, close_up=False) == "brick"
    assert text_for("brick", view, replace(silent, close_up_words=""), close_up=True) == "brick"


def test_each_text_is_embedded_once_and_alone(tmp_path: Path) -> None:
    networks = load_networks({"root": str(save_tiny(tmp_path))}, torch.float32, ())
    teacher = DiffusionTeacher.of(networks, tmp_path, CPU, torch.float32)
    asked: list[torch.Tensor] = []
    networks.text_encoder.register_forward_hook(lambda network, given, answer: asked.append(given[0]))
    result = teacher.embed(["red brick", "moss", "red brick"])
    assert teacher.embed(["moss"]).shape == (1, *result.shape[1:])
    assert [len(tokens) for tokens in asked] == [1, 1], "two texts, each alone"
    assert torch.equal(result[0], result[2]) and not torch.equal(result[0], result[1])
    # A warm worker does not keep all that it was ever asked.
    teacher.embed([f"wall {i}" for i in range(MOST_EMBEDDED)])
    teacher.embed(["moss"])
    teacher.embed(["moss"])
    assert len(asked) == 2 + MOST_EMBEDDED + 1
