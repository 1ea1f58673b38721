"""The method's numbers in the panel: what ticking them changes, which sliders a method has, and its menu."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import pytest

from csd_addon.core.recipe import Recipe
from csd_addon.core.resolving import resolve
from csd_addon.drive.choose_teacher import preferences_of, with_chosen_teacher
from csd_addon.runtime.paths import bundled_teachers
from csd_addon.ui import guidance, properties

pytestmark = pytest.mark.usefixtures("addon")

TEXTURE = {"mode": "TEXTURE", "prompt": "red brick"}
EDIT = {"mode": "EDIT", "target": "blue brick", "remove": "red brick"}


def choose(**values: Any) -> bpy.types.PropertyGroup:
    scene = bpy.context.scene.csd
    for name, value in values.items():
        setattr(scene, name, value)
    return scene


def run_of(scene: bpy.types.PropertyGroup) -> tuple[Recipe, dict[str, Any]]:
    """The recipe that a click would have, and the expert values that it is made with."""
    settings = with_chosen_teacher(properties.read_settings(bpy.context.scene, scene.mode.lower()))
    return resolve(settings, preferences_of(settings.teacher)), dict(settings.expert)


@pytest.mark.parametrize("preset", ["draft", "balanced", "paper"])
@pytest.mark.parametrize(
    "words",
    [TEXTURE, {**TEXTURE, "method_menu": "CSD"}, {**TEXTURE, "method_menu": "SDS"},
     {**TEXTURE, "method_menu": "SAMPLE"}, {**TEXTURE, "teacher": "mini"}, {**TEXTURE, "negative": "plain gray"},
     EDIT, {**EDIT, "strength": 0.5}, {**EDIT, "keep": "nothing"}, {**EDIT, "keep": "nothing", "strength": 0.3}],
    ids=lambda words: " ".join(str(value) for value in words.values()),
)  # fmt: skip
def test_own_values_change_no_number(words: dict[str, Any], preset: str) -> None:
    scene = choose(**words, preset=preset)
    before, none = run_of(scene)
    scene.guidance.own_guidance = scene.guidance.own_views = True
    after, own = run_of(scene)
    assert not none and own and set(own) >= set(guidance.SLIDERS[guidance.mover_of(scene_settings(scene))])
    assert replace(after, views=before.views) == before
    # Of the views 32 bits are all that is kept.
    assert after.views.elevation == pytest.approx(before.views.elevation)


def scene_settings(scene: bpy.types.PropertyGroup):
    return with_chosen_teacher(properties.read_settings(bpy.context.scene, scene.mode.lower()))


def test_a_slider_that_moves_changes_its_number_alone() -> None:
    scene = choose(**TEXTURE, preset="draft")
    before, _ = run_of(scene)
    scene.guidance.own_guidance = True
    scene.guidance.guidance = 3.0
    after, _ = run_of(scene)
    assert after == replace(before, mover=replace(before.mover, guidance=3.0))
    scene.guidance.noise_level = (0.9, 0.02)
    after, _ = run_of(scene)
    assert after.mover.noise_level == (0.0, 0.9, 0.02, 1.0)


def test_a_moved_schedule_keeps_its_times() -> None:
    scene = choose(**TEXTURE, method_menu="CSD", teacher="broad")
    before, _ = run_of(scene)
    scene.guidance.own_guidance = True
    assert before.mover.t_max == (0.5, 0.6, 0.4, 0.9)
    scene.guidance.t_max[1] = 0.3
    after, _ = run_of(scene)
    assert after.mover.t_max == (0.5, 0.6, 0.3, 0.9)
    assert replace(after, mover=replace(after.mover, t_max=before.mover.t_max)) == before


def test_a_moved_step_stays_a_step(tmp_path: Path) -> None:
    # A teacher that says nothing: the preset's own noise levels fall at once, after an eighth of the run.
    shutil.copytree(bundled_teachers() / "mini", tmp_path / "quiet", ignore=shutil.ignore_patterns("csd.json"))
    scene = choose(**TEXTURE, teacher=str(tmp_path / "quiet"), preset="balanced")
    before, _ = run_of(scene)
    scene.guidance.own_guidance = True
    scene.guidance.t_max[1], scene.guidance.t_min, scene.guidance.w1 = 0.4, 0.05, 2.0
    after, _ = run_of(scene)
    assert before.mover.t_max == (0.125, 0.8, 0.5, 0.125) and after.mover.t_max == (0.125, 0.8, 0.4, 0.125)
    assert after.mover.t_min == (0.125, 0.2, 0.05, 0.125) and after.mover.w1 == (0.0, 2.0, 2.0, 0.0)


def test_a_teacher_that_makes_no_recipe_leaves_the_sliders_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bundled_teachers() / "mini", tmp_path / "flat")
    (tmp_path / "flat" / "csd.json").write_text('{"recipe": {"kappa": 0.1}}', encoding="utf-8")
    scene = choose(**TEXTURE, teacher=str(tmp_path / "flat"))
    scene.guidance.own_guidance = scene.guidance.own_views = True
    assert "Traceback" not in "".join(capfd.readouterr())
    with pytest.raises(ValueError, match="'kappa' outside of its part"):
        run_of(scene)


def test_another_method_takes_its_own_sliders_and_the_run_begins() -> None:
    scene = choose(**TEXTURE, preset="draft")
    scene.guidance.own_guidance = True
    assert set(run_of(scene)[1]) == set(guidance.SLIDERS["sample"])
    before = run_of(choose(method_menu="CSD"))
    assert set(before[1]) == set(guidance.SLIDERS["distill"])
    scene.guidance.own_guidance = False
    assert run_of(scene)[0] == before[0], "they too were filled from what would be used"


@pytest.mark.parametrize(
    ("menu", "method", "loss"),
    [("AUTO", "auto", "csd"), ("SAMPLE", "sample", "csd"), ("CSD", "distill", "csd"), ("SDS", "distill", "sds")],
)
def test_one_menu_stands_for_method_and_loss(menu: str, method: str, loss: str) -> None:
    scene = choose(method_menu=menu)
    assert (scene.method, scene.loss) == (method, loss)
    scene.method, scene.loss = "auto", "csd"
    scene.method, scene.loss = method, loss
    assert scene.method_menu == menu


def test_sds_alone_is_shown_as_distillation() -> None:
    assert choose(method="auto", loss="sds").method_menu == "SDS"


def test_settings_that_exclude_each_other_still_draw_and_the_run_says_so() -> None:
    scene = choose(**EDIT, method="sample")
    scene.guidance.own_guidance = True
    assert guidance.mover_of(scene_settings(scene)) == "distill"
    with pytest.raises(ValueError, match="Sampling replaces the pattern"):
        run_of(scene)
