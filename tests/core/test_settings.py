"""Schedules, validation, and how presets, the teacher's wishes and the artist's settings are laid over each other."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csd_addon.core.recipe import PRESETS, Change, Distill, Paint, Sample, at, constant, method_of
from csd_addon.core.resolving import explained, resolve
from csd_addon.core.settings import JobSettings
from tests.recipes import number, numbers_of

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
    draft_only = {"run": {"iterations": 100}, "views": {"fov": [20, 30]}}
    wishes = {"recipe": {"distill": {"kappa": 0.2}, "run": {"iterations": 300}}, "presets": {"draft": draft_only}}
    draft = resolve(JobSettings(prompt="x", preset="draft"), wishes)
    assert (number(draft, "kappa"), draft.run.iterations, draft.views.fov) == ((0, 0.2, 0.2, 0), 100, (20, 30))
    assert resolve(SETTINGS, wishes).run.iterations == 300
    assert resolve(JobSettings(prompt="x", iterations=7, negative="n"), wishes).run.iterations == 7
    assert resolve(JobSettings(prompt="x", negative="n"), wishes).guide.negative == "n"
    assert resolve(JobSettings(prompt="x", front="left"), wishes).views.front == 270
    assert resolve(SETTINGS, {"recipe": {"views": {"front": 45}}}).views.front == 45, "nobody chose the front"


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [({"recipe": {"run": {"speed": 1}}}, r"\(teacher, run\): speed; there are: compile, iterations"),
     ({"recipe": {"kappa": 0.1}}, "says 'kappa' outside of its part .*: put it into 'distill', as in"),
     ({"recipe": {"speed": 0.1}}, "says 'speed' .*no part of a recipe; the parts are: run, views,"),
     ({"methods": {"sampel": {}}}, "says 'sampel', which means nothing there; there are: distill, sample"),
     ({"presets": {"fast": {}}}, "says 'fast', .*there are: draft, balanced, paper"),
     ({"recipes": {}}, "says 'recipes', .*there are: recipe, methods, presets, edit"),
     ({"edit": {"kept": {}}}, "says 'kept', .*there are: recipe, methods, presets, keep, replace"),
     ({"edit": 3}, "'edit' is 3; it must be an object"),
     ({"recipe": {"run": 5}}, "says 'run' .*no part"), ({"recipe": 5}, "'recipe' is 5; it must be an object"),
     ({"methods": {"distill": []}}, "'distill' is .*must be an object"),
     ({"presets": {"balanced": "x"}}, "'balanced' is .x.; it must be"),
     ({"recipe": {"method": "guess"}}, "names the method 'guess'; there are: distill, sample"),
     ({"recipe": {"field": {"levels": 0}}}, "The value 'levels' of the teacher's csd.json is 0; it must be a whole"),
     ({"recipe": {"distill": {"kappa": [1, 2]}}}, "'kappa' of the teacher's csd.json is .*four")],
)  # fmt: skip
def test_what_a_teacher_may_not_say_is_named(wishes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        resolve(SETTINGS, wishes)
    assert "\n" not in str(caught.value)


def test_paper_preset_is_the_published_method() -> None:
    paper = resolve(JobSettings(prompt="x", preset="paper"), {}).mover
    assert isinstance(paper, Distill)
    assert at(paper.kappa, 0.5) == 0 and at(paper.w1, 0.3) == 1 and at(paper.w2, 0) == 1 and at(paper.w2, 1) == 0.5
    assert at(paper.t_max, 0.49) == 0.98 and at(paper.t_max, 0.5) == 0.5
    assert all(resolve(JobSettings(prompt="x", preset=preset), {}).field.albedo[0] > 0 for preset in PRESETS)


EXPERT = {"kappa": 0.1, "w2": [0, 1, 0.2, 0.5], "views_per_step": 2, "view_words": False, "fov": [20, 30],
          "negative": "ugly", "weighting": "uniform", "rate_mlp": 0.5}  # fmt: skip
IN_FIELDS = {**EXPERT, "kappa": constant(0.1), "w2": (0, 1, 0.2, 0.5), "fov": (20, 30)}


def test_expert_values_are_laid_over_everything_else() -> None:
    settings = JobSettings(prompt="x", negative="n", iterations=7, expert={**EXPERT, "iterations": 9}).validate()
    wishes = {"recipe": {"distill": {"kappa": 0.3, "w2": 0.3, "rate_mlp": 2.0}, "views": {"view_words": True}}}
    recipe = resolve(settings, wishes)
    assert {name: number(recipe, name) for name in EXPERT} == IN_FIELDS and recipe.run.iterations == 9
    plain = numbers_of(resolve(JobSettings(prompt="x", negative="n", iterations=7), wishes))
    assert {name for name, value in numbers_of(recipe).items() if value != plain[name]} <= {
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
    for method in ("distill", "sample"):
        with pytest.raises(ValueError, match=f"'noise_share' is {share}; it must lie between 0.0 and 1.0"):
            resolve(JobSettings(prompt="brick", method=method, expert={"noise_share": share}), {})


FALLING = [0, 0.9, 0.1, 1]
SAMPLING = {
    "recipe": {"method": "sample"},
    "methods": {
        "sample": {"sample": {"guidance": 2.0, "noise_level": FALLING}, "views": {"view_pool": 12}},
        "distill": {"distill": {"t_max": 0.6}},
    },
    "presets": {"draft": {"run": {"iterations": 70}}, "paper": {"method": "distill"}},
}  # fmt: skip


@pytest.mark.parametrize("level", [0.5, [0, 0.1, 0.9, 1], [0, 1.2, 0.1, 1], [0, 0.9, -0.1, 1]])
def test_sampling_needs_noise_that_falls(level: object) -> None:
    with pytest.raises(ValueError, match="Sampling needs a noise level that falls .*, and noise_level goes from"):
        resolve(JobSettings(prompt="x", method="sample", expert={"noise_level": level}).validate(), {})
    falling = JobSettings(prompt="x", method="sample", expert={"noise_level": FALLING}).validate()
    assert number(resolve(falling, {}), "noise_level") == tuple(FALLING)
    with pytest.raises(ValueError, match="'guidance' is -1"):
        resolve(JobSettings(prompt="x", method="sample", expert={"guidance": -1}), {})


def test_the_method_is_the_artists_then_that_of_sds_then_the_teachers() -> None:
    def mover(wishes: dict, **changes: str) -> Distill | Sample:
        return resolve(JobSettings(**{"prompt": "x", "preset": "draft", **changes}), wishes).mover

    assert mover(SAMPLING) == Sample(guidance=2.0, noise_level=tuple(FALLING))
    for changes in ({"preset": "paper"}, {"loss": "sds"}, {"method": "distill"}, {"kind": "diagnosis"}):
        found = mover(SAMPLING, **changes)
        assert isinstance(found, Distill) and found.t_max == constant(0.6), changes
    assert isinstance(mover({}), Distill) and isinstance(mover({}, method="sample"), Sample)
    assert isinstance(mover(SAMPLING, preset="paper", method="sample"), Sample)
    assert resolve(JobSettings(prompt="x", preset="draft", loss="sds"), SAMPLING).run.iterations == 70
    with pytest.raises(ValueError, match="SDS is a loss of distillation"):
        mover(SAMPLING, method="sample", loss="sds")


def test_a_number_of_one_mover_can_not_be_set_for_the_other() -> None:
    movers = {"distill": (Distill, Sample, Change), "sample": (Sample, Distill, Paint)}
    for method, (own, other, edit) in movers.items():
        foreign = {f.name for f in fields(other)} - {f.name for f in fields(own)}
        assert foreign
        for name in foreign | {f.name for kind in (Change, Paint) for f in fields(kind)}:
            with pytest.raises(ValueError, match=f"expert value '{name}' belongs to (Distillation|Sampling|edits)"):
                resolve(JobSettings(prompt="x", method=method, expert={name: 0.5}), {})
        words = {"kind": "edit", "target": "moss", "keep": "nothing", "method": method, "size": 0}
        held = resolve(JobSettings(**words, expert={f.name: 0.5 for f in fields(edit) if f.name != "reference"}), {})
        assert isinstance(held.edit, edit) and isinstance(held.mover, own)


def test_a_diagnosis_is_distilled_whatever_a_texture_would_be() -> None:
    for changes in ({}, {"method": "sample"}, {"method": "sample", "loss": "sds"}, {"expert": {"w1": 2}}):
        found = resolve(JobSettings(**{"prompt": "x", "kind": "diagnosis", "preset": "draft", **changes}), SAMPLING)
        assert isinstance(found.mover, Distill) and found.mover.t_max == constant(0.6), changes
    with pytest.raises(ValueError, match="'guidance' belongs to Sampling, and losses are compared by Distillation"):
        resolve(JobSettings(prompt="x", kind="diagnosis", expert={"guidance": 3.0}), SAMPLING)


def test_every_number_of_a_recipe_is_within_the_experts_reach() -> None:
    for method in ("distill", "sample"):
        for preset in PRESETS:
            settings = JobSettings(prompt="x", preset=preset, method=method)
            recipe = resolve(settings, {})
            values = json.loads(json.dumps(numbers_of(recipe)))
            assert resolve(replace(settings, expert=values).validate(), {}) == recipe


def test_the_explanation_names_every_number_and_who_decided_it() -> None:
    settings = JobSettings(prompt="x", preset="draft", iterations=7, expert={"guidance": 3.0})
    rows = {row.name: row for row in explained(settings, SAMPLING)}
    assert {name: row.value for name, row in rows.items()} == numbers_of(resolve(settings, SAMPLING))
    sources = {"guidance": "expert value", "iterations": "settings", "noise_level": "teacher, Sampling",
               "view_pool": "teacher, Sampling", "levels": "default", "elevation": "preset draft"}  # fmt: skip
    assert {name: rows[name].source for name in sources} == sources
    edit = JobSettings(kind="edit", target="blue brick", remove="red brick", size=0, strength=0.5)
    by_name = {row.name: row.source for row in explained(edit, {})}
    assert (by_name["anchor"], by_name["reference"], by_name["rate_grid"]) == ("strength 0.5", "edit, keep", "edit")
    none = {row.name: row for row in explained(replace(edit, strength=0.0), {})}
    assert (none["iterations"].value, none["iterations"].source) == (0, "strength 0")


def test_the_names_of_the_methods() -> None:
    def name(**changes: str) -> str:
        settings = JobSettings(**{"prompt": "x", "target": "moss", "preset": "draft", **changes})
        return method_of(resolve(settings, SAMPLING), settings.loss)

    assert name() == "Sampling" and name(loss="sds") == "Distillation (SDS)"
    assert name(preset="paper") == "Distillation (CSD)"
    assert name(kind="edit", keep="pattern") == "Distillation (DDS)"
    assert name(kind="edit", keep="pattern", loss="sds") == "Distillation (SDS)"


@pytest.mark.parametrize(("prompt", "negative"), [
    ("red brick", "plain paint, low quality"), ("Plain blue", "low quality"), ("high quality paint", ""),
    ("explained", "plain paint, low quality"),
])  # fmt: skip
def test_a_default_negative_never_argues_with_the_prompt(prompt: str, negative: str) -> None:
    wishes = {"recipe": {"guide": {"negative": "plain paint, low quality"}}}
    assert resolve(JobSettings(prompt=prompt), wishes).guide.negative == negative
    assert resolve(JobSettings(prompt=prompt, negative="Plain"), wishes).guide.negative == "Plain"
