"""Noise that is anchored to the surface: normal, the same from every side, and the step's own where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from csd_addon.core.mesh import Normalization
from csd_addon.core.resolving import overridden, resolve
from csd_addon.core.settings import JobSettings
from csd_addon.core.teacher_folder import read_preferences
from csd_addon.core.views import View
from csd_addon.runtime.paths import bundled_teachers
from csd_addon.worker.look.gbuffer import GBuffer, render_gbuffer
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.views import sample_pool
from csd_addon.worker.method.anchored_noise import AnchoredNoise
from csd_addon.worker.method.assembly import assemble
from csd_addon.worker.method.guide import Words
from csd_addon.worker.run.checkpoint import load_checkpoint
from csd_addon.worker.shape.appearance import NewTexture
from csd_addon.worker.teacher.diffusion import DiffusionTeacher
from tests import shapes
from tests.worker.test_loop import ImageTeacher, batch_of, colors, run
from tests.worker.test_memory import SMALL, make_loop
from tests.worker.test_teacher import load, save_tiny

ANCHORED = overridden(SMALL, {"noise_share": 0.6, "noise_cells": 16})


@pytest.fixture(scope="module")
def seen() -> list[GBuffer]:
    mesh = shapes.sphere(48, 96)
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    views = [View(azimuth, 10, 4, 35) for azimuth in (0, 20, 180)]
    return [render_gbuffer(surface, view, size=64, supersample=2) for view in views]


def fresh(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 64, 16, 16, generator=torch.Generator().manual_seed(seed))


def mixed(noise: AnchoredNoise, seen: list[GBuffer], fresh: torch.Tensor) -> torch.Tensor:
    """What the views meet in a step whose own noise is ``fresh``."""
    views = zip(seen, fresh, strict=True)
    return torch.stack([noise.of_gbuffer(g, len(new), new.shape[-1]).mixed(new) for g, new in views])


def whole(gbuffer: GBuffer) -> torch.Tensor:
    """(256,) whether the surface covers all of a pixel of the small image."""
    return torch.nn.functional.avg_pool2d(gbuffer.coverage[None, None], 4).flatten() == 1


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_it_stays_standard_normal(seen: list[GBuffer], share: float) -> None:
    noise = mixed(AnchoredNoise(share, 32, 0), seen, fresh(3, 1))
    mean, deviation = float(noise.mean()), float(noise.std())
    print(f"mean {mean:.4f}, deviation {deviation:.4f}, tolerances 0.01 and 0.01")
    assert abs(mean) < 0.01 and abs(deviation - 1) < 0.01


def test_neighbours_are_nearly_independent(seen: list[GBuffer]) -> None:
    noise = mixed(AnchoredNoise(1.0, 32, 0), seen, fresh(3, 1))[0]
    correlation = float((noise[:, :, 1:] * noise[:, :, :-1]).mean())
    print(f"correlation of neighbours {correlation:.3f}, tolerance 0.1")
    assert correlation < 0.1


def test_a_view_meets_its_noise_again(seen: list[GBuffer]) -> None:
    noise = AnchoredNoise(1.0, 32, 0)
    first, again = (mixed(noise, seen[:1], fresh(1, seed))[0].flatten(1) for seed in (1, 2))
    covered = whole(seen[0])
    print(f"{int(covered.sum())} of 256 pixels are covered")
    assert torch.equal(first[:, covered], again[:, covered])
    assert not torch.equal(first[:, ~covered], again[:, ~covered])


def test_another_view_meets_it_where_it_sees_the_same(seen: list[GBuffer]) -> None:
    """In the sums over the whole object, for single pixels cut the surface otherwise in each view."""
    noise = mixed(AnchoredNoise(1.0, 32, 0), seen, fresh(3, 1)).flatten(2)
    sums = torch.stack([part[:, whole(g)].sum(1) for part, g in zip(noise, seen, strict=True)])
    near, behind = (float(torch.corrcoef(sums[[0, other]])[0, 1]) for other in (1, 2))
    print(f"20 degrees apart {near:.2f} (at least 0.6), from behind {behind:.2f} (at most 0.35)")
    assert near > 0.6 and abs(behind) < 0.35


def test_nothing_is_anchored_at_share_0(seen: list[GBuffer]) -> None:
    new = fresh(3, 1)
    assert torch.equal(mixed(AnchoredNoise(0.0, 32, 0), seen, new), new)


@pytest.mark.parametrize("teacher", ["mini", "broad"])
def test_a_bundled_teacher_meets_white_noise(teacher: str) -> None:
    """In its own views: noise whose broad waves are too strong reads as a pattern (docs/pitfalls.md)."""
    preferences = read_preferences(bundled_teachers() / teacher)
    settings = JobSettings(prompt="brick", preset="draft").validate()
    recipe = overridden(resolve(settings, preferences), {"view_pool": 4})
    mesh = shapes.sphere(48, 96)
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    pool = list(sample_pool(surface, recipe.views, torch.Generator().manual_seed(0), ()))
    loop = assemble(ImageTeacher(), pool, NewTexture(recipe), recipe, Words("x"), loss="csd",
                    generator=torch.Generator().manual_seed(0))  # fmt: skip
    edge = recipe.views.resolution
    blank = torch.zeros(4, 3, edge, edge)
    _, noise = loop.mover.noise(batch_of(loop, range(4)), blank, blank, 0)
    met = noise[..., 24:40, 24:40]
    neighbours = float((met[..., 1:] * met[..., :-1]).mean())
    print(f"{teacher}: variance {float(met.var()):.2f}, neighbours {neighbours:.3f}; 1 +- 0.15, at most 0.12")
    assert neighbours < 0.12 and abs(float(met.var()) - 1) < 0.15


def test_a_resumed_run_meets_it_again(tmp_path: Path) -> None:
    teacher: DiffusionTeacher = load(save_tiny(tmp_path / "teacher"))
    undisturbed, free = run(make_loop(teacher, ANCHORED), tmp_path), run(make_loop(teacher), tmp_path)
    run(make_loop(teacher, ANCHORED), tmp_path, until=2)
    second = make_loop(teacher, ANCHORED)
    load_checkpoint(tmp_path, second)
    run(second, tmp_path)
    assert torch.equal(colors(second), colors(undisturbed))
    assert not torch.equal(colors(second), colors(free)), "nothing is anchored in SMALL"
