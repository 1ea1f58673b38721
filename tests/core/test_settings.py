"""Schedules, validation, and how presets, the teacher's wishes and the artist's settings are laid over each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csd_addon.core.settings import PRESETS, JobSettings, Recipe, at, constant, resolve

SETTINGS = JobSettings(prompt="red brick")
shares = st.floats(0, 1)


def test_schedule_before_at_between_and_after() -> None:
    ramp = (0.2, 1.0, 0.5, 0.6)
    values = [at(ramp, p) for p in (0.0, 0.2, 0.4, 0.6, 1.0)]
    assert values == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.5])
    assert [at((0.2, 0.0, 2.0, 0.4), p) for p in (0.1, 0.3, 0.9)] == pytest.approx([0.0, 1.0, 2.0])


def test_step_takes_its_new_value_at_the_step() -> None:
    assert [at((0.5, 0.8, 0.3, 0.5), p) for p in (0.0, 0.499, 0.5, 1.0)] == [0.8, 0.8, 0.3, 0.3]


@given(shares, shares, st.floats(-5, 5), st.floats(-5, 5), shares)
def test_schedule_stays_between_its_ends(a: float, b: float, x: float, y: float, progress: float) -> None:
    value = at((min(a, b), x, y, max(a, b)), progress)
    assert min(x, y) - 1e-9 <= value <= max(x, y) + 1e-9
    assert at(constant(x), progress) == x


@pytest.mark.parametrize(
    ("change", "word"),
    [({"prompt": " "}, "prompt"), ({"size": 0}, "size"), ({"size": 9000}, "size"), ({"seed": -1}, "seed"),
     ({"preset": "fast"}, "preset"), ({"loss": "vsd"}, "loss"), ({"device": "tpu"}, "device"),
     ({"iterations": -1}, "iterations"), ({"strength": 1.5}, "strength")],
)  # fmt: skip
def test_bad_values_are_named_in_one_sentence(change: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        JobSettings(**{"prompt": "red brick", **change}).validate()
    assert str(caught.value).count("\n") == 0


def test_json_round_trip_refuses_unknown_settings() -> None:
    assert JobSettings.from_json(SETTINGS.to_json()) == SETTINGS
    with pytest.raises(ValueError, match="colour"):
        JobSettings.from_json({**SETTINGS.to_json(), "colour": "red"})


def test_teacher_is_laid_over_preset_and_artist_over_both() -> None:
    draft_only = {"iterations": 100, "fov": [20, 30]}
    wishes = {"recipe": {"kappa": [0, 0.2, 0.2, 0], "iterations": 300}, "presets": {"draft": draft_only}}
    draft = resolve(JobSettings(prompt="x", preset="draft"), wishes)
    assert (draft.kappa, draft.iterations, draft.fov) == ((0, 0.2, 0.2, 0), 100, (20, 30))
    assert resolve(SETTINGS, wishes).iterations == 300
    assert resolve(JobSettings(prompt="x", iterations=7, negative="n"), wishes).iterations == 7
    assert resolve(JobSettings(prompt="x", negative="n"), wishes).negative == "n"
    with pytest.raises(ValueError, match="speed"):
        resolve(SETTINGS, {"recipe": {"speed": 1}})


def test_paper_preset_is_the_published_method() -> None:
    paper = PRESETS["paper"]
    assert at(paper.kappa, 0.5) == 0 and at(paper.w1, 0.3) == 1 and at(paper.w2, 0) == 1 and at(paper.w2, 1) == 0.5
    assert at(paper.t_max, 0.49) == 0.98 and at(paper.t_max, 0.5) == 0.5
    assert all(isinstance(recipe, Recipe) and recipe.albedo[0] > 0 for recipe in PRESETS.values())
