"""Fitting a grid of colours to images: what views see is linear, and nothing changes but what they show."""

from __future__ import annotations

import pytest
import torch

from csd_addon.core.resolving import overridden
from csd_addon.worker.field.colorgrid import MIDDLE, ColorGrid
from csd_addon.worker.field.hashgrid import level_table
from csd_addon.worker.field.leastsquares import ViewMatrix, fit, images
from csd_addon.worker.look.compositing import composite
from csd_addon.worker.look.views import PooledView
from tests.worker.test_loop import RECIPE, make_pool

LEVELS = level_table(6, 12, 4, 40)
ALBEDO = (0.06, 0.94)


def pool(count: int = 3) -> list[PooledView]:
    return make_pool(torch.Generator().manual_seed(1), overridden(RECIPE, {"view_pool": count}))


def matrices(views: list[PooledView]) -> list[ViewMatrix]:
    return [ViewMatrix(view.gbuffer, LEVELS, torch.ones(len(view.gbuffer.position))) for view in views]


def grid(deviation: float = 0.0) -> ColorGrid:
    made = ColorGrid(LEVELS, channels=3, albedo=ALBEDO)
    return made.requires_grad_(False) if not deviation else filled(made, deviation)


def filled(made: ColorGrid, deviation: float) -> ColorGrid:
    made.table.normal_(std=deviation, generator=torch.Generator().manual_seed(2))
    return made


def wave(points: torch.Tensor) -> torch.Tensor:
    """(P, 3) a pattern a few pixels wide."""
    return 0.1 * torch.stack([torch.sin(9 * points[:, 0]), torch.cos(8 * points[:, 1]), torch.sin(7 * points[:, 2])], 1)


def waves(views: list[PooledView]) -> torch.Tensor:
    """(B, S * S, 3) the pattern as the views show it."""
    return torch.stack([v.gbuffer.resolve(wave(v.gbuffer.position)).flatten(0, 1) for v in views])


def test_a_view_matrix_shows_what_the_renderer_does() -> None:
    views, field = pool(), grid(0.02)
    black = torch.zeros(len(views), 3)
    rendered = composite(views, torch.cat([field(v.gbuffer.position) for v in views]), black)
    middle = torch.stack([MIDDLE * v.gbuffer.coverage for v in views])[:, None]
    seen = images(field, matrices(views)).transpose(1, 2).reshape(rendered.shape) + middle
    error = float((seen - rendered).abs().max())
    print(f"largest difference {error:.1e}, tolerance 1e-5; the images span {rendered.std():.3f}")
    assert error < 1e-5 < float(rendered.std())


def test_back_is_the_transpose() -> None:
    (matrix,) = matrices(pool(1))
    numbers = torch.randn(len(matrix.columns), 3, generator=torch.Generator().manual_seed(3))
    pixels = torch.randn(24 * 24, 3, generator=torch.Generator().manual_seed(4))
    one, other = float((matrix.image(numbers) * pixels).sum()), float((numbers * matrix.back(pixels)).sum())
    print(f"<A p, r> = {one:.5f}, <p, A^T r> = {other:.5f}")
    assert one == pytest.approx(other, rel=1e-4)
    ones = matrix.back.squared(torch.ones(24 * 24, 1))
    assert float((ones - matrix.back(torch.ones(24 * 24, 1))).max()) <= 1e-6, "weights are at most 1"


def test_more_steps_come_nearer_and_ten_are_near() -> None:
    views = pool()
    change, weights = waves(views), torch.ones(len(views), 24 * 24)
    left = []
    for steps in (1, 3, 10, 30):
        field = grid()
        fit(field, matrices(views), change, weights, steps)
        left.append(float((images(field, matrices(views)) - change).square().sum() / change.square().sum()))
    print("share of the squares left after 1, 3, 10, 30 steps: " + ", ".join(f"{x:.4f}" for x in left))
    assert left == sorted(left, reverse=True) and left[2] < 0.005


def test_what_lies_between_the_pixels_follows() -> None:
    """Of the diagonal without its root 0.009 was left: coloured noise (docs/pitfalls.md)."""
    views, field = pool(12), grid()
    fit(field, matrices(views), waves(views), torch.ones(len(views), 24 * 24), 10)
    other = make_pool(torch.Generator().manual_seed(9), overridden(RECIPE, {"view_pool": 6}))
    points = torch.cat([view.gbuffer.position for view in other])
    error = float((field(points) - MIDDLE - wave(points)).square().mean() / wave(points).square().mean())
    print(f"share of the squares left at {len(points)} other points: {error:.4f}, tolerance 0.004")
    assert error < 0.004


def test_nothing_changes_that_no_weighted_pixel_shows() -> None:
    views, field = pool(2), grid(0.02)
    before = field.table.clone()
    seen, hidden = matrices(views)
    weights = torch.stack([torch.ones(24 * 24), torch.zeros(24 * 24)])
    fit(field, [seen, hidden], waves(views), weights, 5)
    alone = torch.ones(len(before), dtype=torch.bool)
    alone[seen.columns] = False
    assert torch.equal(field.table[alone], before[alone]) and int(alone.sum()) > 100
    assert not torch.equal(field.table, before)


def test_nothing_to_do_changes_nothing() -> None:
    views, field = pool(2), grid(0.02)
    before = field.table.clone()
    fit(field, matrices(views), torch.zeros(2, 24 * 24, 3), torch.ones(2, 24 * 24), 5)
    assert torch.equal(field.table, before)


def test_half_of_a_colour_shows_half_of_a_change() -> None:
    (view,), field = pool(1), grid(0.02)
    whole, half = (ViewMatrix(view.gbuffer, LEVELS, torch.full((len(view.gbuffer.position),), s)) for s in (1.0, 0.5))
    assert torch.allclose(images(field, [half]) * 2, images(field, [whole]), atol=1e-6)


def test_colours_stay_in_the_albedo_range_and_start_grey() -> None:
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(5)) * 2 - 1
    assert torch.equal(grid()(points), torch.full((200, 3), MIDDLE))
    colors = grid(1.0)(points)
    assert float(colors.min()) == pytest.approx(ALBEDO[0]) and float(colors.max()) == pytest.approx(ALBEDO[1])
