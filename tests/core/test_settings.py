"""Schedules, validation, and how presets, the teacher's wishes and the artist's settings are laid over each other."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csd_addon.core.recipe import PRESETS, Recipe, at, constant
from csd_addon.core.resolving import descending, resolve
from csd_addon.core.settings import JobSettings

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
     ({"iterations": -1}, "iterations"), ({"strength": 1.5}, "strength"), ({"front": "-Y"}, "front"),
     ({"depth": "12"}, "depth"), ({"margin": -1}, "margin"), ({"margin": 129}, "margin")],
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


EXPERT = {"kappa": 0.1, "w2": [0, 1, 0.2, 0.5], "views_per_step": 2, "view_words": False, "fov": [20, 30],
          "negative": "ugly", "weighting": "uniform", "rate_mlp": 0.5}  # fmt: skip
IN_FIELDS = {**EXPERT, "kappa": constant(0.1), "w2": (0, 1, 0.2, 0.5), "fov": (20, 30)}


def test_expert_values_are_laid_over_everything_else() -> None:
    settings = JobSettings(prompt="x", negative="n", iterations=7, expert={**EXPERT, "iterations": 9}).validate()
    wishes = {"recipe": dict.fromkeys(("kappa", "w2"), [0, 0.3, 0.3, 0]) | {"view_words": True, "rate_mlp": 2.0}}
    recipe = resolve(settings, wishes)
    assert {name: getattr(recipe, name) for name in EXPERT} == IN_FIELDS and recipe.iterations == 9
    plain = resolve(JobSettings(prompt="x", negative="n", iterations=7), wishes)
    assert {f.name for f in fields(Recipe) if getattr(recipe, f.name) != getattr(plain, f.name)} <= {
        *EXPERT, "iterations",
    }, "nothing else has changed"  # fmt: skip


def test_expert_values_survive_json() -> None:
    settings = JobSettings(prompt="x", expert=EXPERT)
    again = JobSettings.from_json(json.loads(json.dumps(settings.to_json())))
    assert again == settings and resolve(again, {}) == resolve(settings, {})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [("speed", 1, "no expert value 'speed'; there are: albedo, anchor, .*, weighting"),
     ("kappa", "high", "'kappa' is 'high'; it must be one number, or four"),
     ("kappa", [0, 1], "'kappa' is .*four"), ("kappa", [0.6, 1, 1, 0.5], "'kappa' is .*four"),
     ("kappa", True, "'kappa' is True"), ("kappa", math.nan, "'kappa' is nan"), ("kappa", None, "'kappa' is None"),
     ("levels", 2.5, "'levels' is 2.5; it must be a whole number above 0"), ("levels", 0, "'levels' is 0"),
     ("levels", True, "'levels' is True"), ("close_up_directions", -1, "is -1; it must be a whole number, 0 or more"),
     ("anchor", [1], "'anchor' is .*; it must be a number"),
     ("view_words", 1, "'view_words' is 1; it must be true or false"), ("negative", 3, "'negative' is 3; .* text"),
     ("fov", [30, 20], "'fov' is .*; it must be two numbers"), ("fov", 30, "'fov' is 30"),
     ("weighting", "sigma", "'weighting' is 'sigma'; choose one of: sigma2, uniform")],
)  # fmt: skip
def test_a_wrong_expert_value_is_named(name: str, value: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        JobSettings(prompt="x", expert={name: value}).validate()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("expert", [{"t_max": 0.01}, {"t_max": [0, 0.9, 0.1, 0.1]}, {"t_max": 1.2}, {"t_min": -0.1}])
def test_a_range_of_noise_levels_that_is_none_is_refused(expert: dict) -> None:
    with pytest.raises(ValueError, match="noise levels run from t_min .* to t_max .* of the run"):
        resolve(JobSettings(prompt="x", expert=expert).validate(), {})


@pytest.mark.parametrize("share", [-0.1, 2.0])
def test_more_than_all_of_the_noise_can_not_stick(share: float) -> None:
    with pytest.raises(ValueError, match=f"'noise_share' is {share}; it must lie between 0.0 and 1.0"):
        resolve(JobSettings(prompt="brick", expert={"noise_share": share}), {})


FALLING = [0, 0.9, 0.1, 1]
STRIDING = {"presets": {"draft": {"stride": 2.0, "t_min": FALLING, "t_max": FALLING, "iterations": 70}}}


def test_a_stride_needs_noise_that_falls() -> None:
    expert = {"stride": 2.0, "t_min": 0.0, "t_max": 0.5}
    with pytest.raises(ValueError, match=r"stride of 2 the noise level has to fall, and t_max goes from 0.5 to 0.5"):
        resolve(JobSettings(prompt="x", expert=expert).validate(), {})
    assert resolve(JobSettings(prompt="x", expert={**expert, "t_max": FALLING}).validate(), {}).stride == 2
    with pytest.raises(ValueError, match="'stride' is -1"):
        resolve(JobSettings(prompt="x", expert={"stride": -1}).validate(), {})


def test_sds_descends_where_the_teacher_strides() -> None:
    csd, sds = (resolve(JobSettings(prompt="x", preset="draft", loss=loss), STRIDING) for loss in ("csd", "sds"))
    paper = resolve(JobSettings(prompt="x", preset="paper"), STRIDING)
    assert (csd.stride, csd.t_max) == (2, tuple(FALLING))
    assert sds == replace(paper, iterations=70)
    assert descending(JobSettings(prompt="x", preset="draft"), STRIDING) == sds
    assert descending(SETTINGS, {}) == resolve(SETTINGS, {})


def test_every_field_of_a_recipe_is_within_the_experts_reach() -> None:
    for recipe in PRESETS.values():
        values = json.loads(json.dumps(asdict(recipe)))
        assert resolve(JobSettings(prompt="x", expert=values).validate(), {}) == recipe


@pytest.mark.parametrize(("prompt", "negative"), [
    ("red brick", "plain paint, low quality"), ("Plain blue", "low quality"), ("high quality paint", ""),
    ("explained", "plain paint, low quality"),
])  # fmt: skip
def test_a_default_negative_never_argues_with_the_prompt(prompt: str, negative: str) -> None:
    wishes = {"recipe": {"negative": "plain paint, low quality"}}
    assert resolve(JobSettings(prompt=prompt), wishes).negative == negative
    assert resolve(JobSettings(prompt=prompt, negative="Plain"), wishes).negative == "Plain"
