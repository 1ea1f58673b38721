"""The two ways to draw the views of a step: neighbours from a random place, and each in its turn."""

from __future__ import annotations

import pytest
import torch

from csd_addon.worker.look.batches import RandomViews, ViewsInTurn
from csd_addon.worker.look.views import PooledView
from tests.worker.test_loop import RECIPE, make_pool

COUNT = 12


@pytest.fixture(scope="module")
def pool() -> list[PooledView]:
    assert RECIPE.views.view_pool == COUNT
    return make_pool(torch.Generator().manual_seed(0))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(views: RandomViews | ViewsInTurn, iterations: range) -> list[tuple[int, ...]]:
    return [views.draw(iteration).numbers for iteration in iterations]


def test_random_views_are_neighbours_from_any_place(pool: list[PooledView]) -> None:
    drawn = numbers(RandomViews(pool, 5, 3, seeded(0)), range(200))
    assert all(batch == tuple((batch[0] + i) % COUNT for i in range(5)) for batch in drawn)
    starts = [batch[0] for batch in drawn]
    print(f"starts: {sorted(set(starts))}")
    assert set(starts) == set(range(COUNT)), "over the pool's end too"
    assert drawn == numbers(RandomViews(pool, 5, 3, seeded(0)), range(200))
    assert drawn != numbers(RandomViews(pool, 5, 3, seeded(1)), range(200))


def test_views_in_turn_follow_their_seed_and_the_iteration_alone(pool: list[PooledView]) -> None:
    views = ViewsInTurn(pool, 5, 3, seeded(0), seed=7)
    drawn = numbers(views, range(24))
    assert views.turn == COUNT / 5
    row = [number for batch in drawn for number in batch]
    assert sorted(row[:COUNT]) == list(range(COUNT)), "each once before one comes again"
    assert row == row[:COUNT] * 10
    # Whatever was drawn before, and whoever drew from the generator: a resumed run sees the same views.
    assert numbers(ViewsInTurn(pool, 5, 3, seeded(1), seed=7), range(20, 24)) == drawn[20:]
    assert numbers(ViewsInTurn(pool, 5, 3, seeded(0), seed=8), range(24)) != drawn


@pytest.mark.parametrize("channels", [3, 5])
@pytest.mark.parametrize("kind", ["random", "in turn"])
def test_a_batch_is_complete(pool: list[PooledView], kind: str, channels: int) -> None:
    generator = seeded(0)
    views = (
        RandomViews(pool, 4, channels, generator) if kind == "random"
        else ViewsInTurn(pool, 4, channels, generator, seed=0)
    )  # fmt: skip
    batches = [views.draw(i) for i in range(200)]
    for batch in batches:
        assert len(batch) == 4 and all(view is pool[n] for n, view in zip(batch.numbers, batch.views, strict=True))
        assert batch.backgrounds.shape == (4, channels) and batch.groups is None
    backgrounds = torch.cat([batch.backgrounds for batch in batches])
    gray = float((backgrounds == backgrounds[:, :1]).all(1).float().mean())
    print(f"{gray:.2f} of {len(backgrounds)} backgrounds are grey, 0.5 +- 0.06; mean {float(backgrounds.mean()):.3f}")
    assert gray == pytest.approx(0.5, abs=0.06) and float(backgrounds.mean()) == pytest.approx(0.5, abs=0.03)
    assert 0 <= float(backgrounds.min()) < 0.05 and 0.95 < float(backgrounds.max()) <= 1
