"""Every place belongs, in shares that sum up to 1, to the views that see it from the front."""

from __future__ import annotations

import torch

from csd_addon.core.mesh import Normalization
from csd_addon.core.views import View
from csd_addon.worker.look.gbuffer import render_gbuffer
from csd_addon.worker.look.ownership import Ownership
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.views import PooledView
from tests import shapes


def pool(*azimuths: float) -> list[PooledView]:
    """Views of a sphere from the side."""
    mesh = shapes.sphere(48, 96)
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    views = [View(azimuth, 0, 4, 35) for azimuth in azimuths]
    return [
        PooledView(
            surface=surface, view=view, close_up=False, conditions={},
            gbuffer=render_gbuffer(surface, view, size=160, supersample=2),
        )
        for view in views
    ]  # fmt: skip


def share(seen: list[PooledView], number: int) -> torch.Tensor:
    """That of one view among all of them, where it is drawn alone."""
    return Ownership(seen).of([number])[0][0]


def test_the_shares_of_a_place_sum_up_to_one() -> None:
    seen = pool(*range(0, 360, 30))
    cubes, total, count = {}, {}, {}
    for number, view in enumerate(seen):
        mine = share(seen, number)
        inside = (view.gbuffer.coverage == 1).flatten()[view.gbuffer.pixel]
        places = torch.floor(view.gbuffer.position[inside] * 4).long()
        for place, value in zip(places.tolist(), mine.flatten()[view.gbuffer.pixel][inside].tolist(), strict=True):
            cubes.setdefault((tuple(place), number), []).append(value)
    for (place, _), values in cubes.items():
        total[place] = total.get(place, 0.0) + sum(values) / len(values)
        count[place] = count.get(place, 0) + len(values)
    sums = torch.tensor([total[place] for place in total if count[place] > 2000])
    print(f"{len(sums)} places; sums {sums.min():.2f} to {sums.max():.2f}, mean {sums.mean():.3f}; within 0.1, 0.03")
    assert len(sums) > 20 and (sums - 1).abs().max() < 0.1 and abs(float(sums.mean()) - 1) < 0.03


def test_a_place_belongs_to_the_view_that_faces_it() -> None:
    seen = pool(0, 50)
    mine = share(seen, 0)
    center, between, far = float(mine[80, 80]), float(mine[80, 115]), float(mine[80, 140])
    print(f"share of the view from the front at its middle {center:.3f}, half way {between:.3f}, beyond {far:.3f}")
    assert center > 0.95 and 0.1 < between < 0.9 and far < 0.05
    assert float(mine[0, 0]) == 0, "beside the sphere"


def test_what_one_view_alone_sees_is_its_own() -> None:
    """However steeply it looks at it."""
    seen = pool(0, 180)
    for number, view in enumerate(seen):
        mine = share(seen, number)[view.gbuffer.coverage == 1]
        print(f"below {float(mine.quantile(0.2)):.3f} lies a fifth, in cubes of both views at the rim")
        assert float(mine.quantile(0.2)) > 0.99
        assert bool(torch.isfinite(mine).all())


def test_least_squares_move_a_place_as_far_as_its_views_do_together() -> None:
    """Of two views drawn of three: (sum of shares) m, weighted with each one's part, is the sum of share m."""
    seen = pool(0, 50, 100)
    together, own = Ownership(seen).of([0, 1])
    front = (slice(None), 80, 80)
    print(f"in front of the first: together {together[front].tolist()}, own {own[front].tolist()}")
    assert float(together[0, 80, 80]) > 0.95 and float(own[0, 80, 80]) > 0.95
    inside = torch.stack([view.gbuffer.coverage == 1 for view in seen[:2]])
    apart = torch.stack([share(seen, 0), share(seen, 1)])
    difference = (together * own - apart)[inside].abs()
    print(f"together * own against the share: {float(difference.mean()):.4f}, mean; within 0.01")
    assert float(difference.mean()) < 0.01


def test_a_view_alone_in_a_step_has_all_weight() -> None:
    """Though the place belongs to a view that is not drawn: it holds still what it may not move."""
    together, own = Ownership(pool(0, 60)).of([0])
    print(f"near the other's middle: share {float(together[0, 80, 145]):.1e}, weight {float(own[0, 80, 145]):.3f}")
    assert float(together[0, 80, 145]) < 0.01 and float(own[0, 80, 145]) > 0.99
