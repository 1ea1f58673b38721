"""The presets hold for a teacher that says nothing of its own: the defaults table of the method, number by number."""

from __future__ import annotations

import pytest

from csd_addon.core.recipe import Distill, Recipe, at
from csd_addon.core.resolving import resolve
from csd_addon.core.settings import JobSettings
from tests.recipes import number


def of(preset: str) -> Recipe:
    return resolve(JobSettings(prompt="p", preset=preset), {})


@pytest.mark.parametrize(
    ("preset", "iterations", "kappa", "finest", "elevation", "rates", "betas"),
    [("draft", 1500, 0.05, 2048, (-20.0, 45.0), (0.01, 0.001), (0.9, 0.99)),
     ("balanced", 4000, 0.05, 2048, (-45.0, 75.0), (0.01, 0.001), (0.9, 0.99)),
     ("paper", 10_000, 0.0, 4096, (-10.0, 45.0), (0.001, 0.001), (0.9, 0.999))],
)  # fmt: skip
def test_constants_of_the_table(preset, iterations, kappa, finest, elevation, rates, betas) -> None:
    recipe = of(preset)
    views, field, mover = recipe.views, recipe.field, recipe.mover
    assert isinstance(mover, Distill) and recipe.edit is None
    assert (recipe.run.iterations, at(mover.kappa, 0.5), field.finest) == (iterations, kappa, finest)
    assert (views.elevation, mover.betas, views.fov) == (elevation, betas, (25.0, 45.0))
    assert (mover.rate_grid, mover.rate_mlp) == rates
    assert (field.levels, field.table_log2, field.coarsest, views.resolution) == (16, 19, 16, 512)
    assert mover.weighting == "sigma2" and views.view_words
    assert recipe.guide.negative.startswith("oversaturated color") and not recipe.guide.share_control
    assert at(mover.w1, 0.5) == 1 and mover.pixel_clip == 0


@pytest.mark.parametrize(
    ("preset", "name", "expected"),
    [("draft", "w2", (1, 1, 1)), ("balanced", "w2", (1, 0.5, 0.5)), ("paper", "w2", (1, 0.75, 0.5)),
     ("draft", "control_depth", (1, 1, 1)), ("balanced", "control_depth", (1, 0.8, 0.8)),
     ("paper", "control_canny", (1, 1, 1)), ("draft", "t_max", (0.8, 0.5, 0.5)), ("balanced", "t_max", (0.8, 0.5, 0.5)),
     ("paper", "t_max", (0.98, 0.5, 0.5)), ("draft", "t_min", (0.2, 0.02, 0.02)),
     ("paper", "t_min", (0.02, 0.02, 0.02))],
)  # fmt: skip
def test_schedules_of_the_table(preset: str, name: str, expected: tuple[float, ...]) -> None:
    values = [at(number(of(preset), name), progress) for progress in (0, 0.5, 1)]
    assert values == pytest.approx(expected)


def test_the_turns_of_the_schedules() -> None:
    draft, balanced = of("draft"), of("balanced")
    assert [at(number(draft, "t_max"), p) for p in (0.199, 0.2)] == [0.8, 0.5]
    assert [at(number(balanced, "t_max"), p) for p in (0.124, 0.125)] == [0.8, 0.5]
    assert [at(balanced.guide.control_depth, p) for p in (0.169, 0.17)] == [1.0, 0.8]
    assert at(number(balanced, "w2"), 0.25) == pytest.approx(0.75)
